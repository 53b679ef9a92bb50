"""A transform that has to see all vectors before it can convert the first: fit on a pass, then apply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from redismigrate.documents.batch import Batch
from redismigrate.documents.conversion import (
    Quantizations,
    calibrations_of,
    encoding_before,
    quantizations_of,
)
from redismigrate.documents.rewrite import Recoding
from redismigrate.documents.transform import Transform
from redismigrate.documents.vectors import calibrate
from redismigrate.schema.quantization import Quantization

MakeTransform = Callable[[Sequence[Recoding], Quantizations], Transform]
"""Makes the transform of some recodings, once it is known how integers are made."""


class Fit:
    """Sees the documents, batch by batch, and tells how their integers are made.

    Args:
        recodings: What is to be done.
        make_transform: Makes the transform of them.

    Attributes:
        probe: Tells of a document whether it can be converted, before all were seen: that does not depend on
            the scale.
    """

    def __init__(self, recodings: Sequence[Recoding], make_transform: MakeTransform) -> None:
        self._recodings = recodings
        self._calibrations = calibrations_of(recodings)
        stand_in = Quantization("int8_per_vector")
        self.probe = make_transform(
            [
                replace(recoding, after="INT8") if recoding.path in self._calibrations else recoding
                for recoding in recodings
            ],
            {recoding.path: stand_in for recoding in recodings if recoding.makes_integers},
        )

    def see(self, batch: Batch) -> None:
        """Look at documents; vectors that can't be converted are passed over."""
        for recoding in self._recodings:
            if recoding.path in self._calibrations:
                calibration = self._calibrations[recoding.path]
                calibrate(calibration, batch.columns[recoding.path], encoding_before(recoding))

    def quantizations(self) -> Quantizations:
        """How the integers of every field are made, by all that were seen.

        Raises:
            PlanBlocked: The vectors can't be quantized as asked for.
        """
        return quantizations_of(self._recodings, self._calibrations)
