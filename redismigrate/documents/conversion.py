"""From the recodings of a rewrite to the transform that carries them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redismigrate.documents.integer_vectors import Calibration, needs_calibration
from redismigrate.documents.resized_arrays import ResizeArrays
from redismigrate.documents.rewrite import Recoding
from redismigrate.documents.transform import Transform
from redismigrate.documents.vectors import (
    ReEncodeVectors,
    VectorColumn,
    VectorConversion,
    VectorEncoding,
)
from redismigrate.schema.quantization import IntegerDatatype, Quantization

# Hash field, as it is called before the rewrite -> how its integers are made.
Quantizations = Mapping[str, Quantization]


def encoding_before(recoding: Recoding) -> VectorEncoding:
    """How the vectors are stored now."""
    return VectorEncoding(recoding.before, recoding.dims)


def encoding_after(recoding: Recoding) -> VectorEncoding:
    """How they shall be stored."""
    return VectorEncoding(recoding.after, recoding.dims_after)


def calibrations_of(recodings: Sequence[Recoding]) -> dict[str, Calibration]:
    """Accumulators for the fields whose quantization needs a look at all vectors."""
    return {
        recoding.path: Calibration()
        for recoding in recodings
        if (datatype := _integer(recoding)) and needs_calibration(datatype, recoding.distance_metric)
    }


def quantizations_of(
    recodings: Sequence[Recoding], calibrations: Mapping[str, Calibration]
) -> dict[str, Quantization]:
    """The quantization of every field that becomes integers.

    Raises:
        PlanBlocked: The data can't be quantized so: UINT8 of negative numbers for a metric but L2.
    """
    return {
        recoding.path: calibrations.get(recoding.path, Calibration()).quantization(
            datatype, recoding.distance_metric
        )
        for recoding in recodings
        if (datatype := _integer(recoding))
    }


def transform_of(recodings: Sequence[Recoding], quantizations: Quantizations) -> Transform:
    """The transform of whole batches, of hashes or of JSON documents.

    Args:
        recodings: What to re-encode; of JSON documents, where a column has the texts of arrays, all or none.
        quantizations: How to make integers.
    """
    if any(recoding.is_json for recoding in recodings):
        return ResizeArrays(tuple(recodings))
    return re_encoding_of(recodings, quantizations)


def re_encoding_of(recodings: Sequence[Recoding], quantizations: Quantizations) -> ReEncodeVectors:
    """The transform of whole batches of hashes.

    Args:
        recodings: What to re-encode.
        quantizations: How to make integers. A field that lacks one had no vector to find it from, and is left
            out.
    """
    return ReEncodeVectors(
        tuple(
            VectorColumn(
                recoding.path,
                VectorConversion(
                    encoding_before(recoding),
                    encoding_after(recoding),
                    recoding.quantization_before,
                    quantizations.get(recoding.path),
                    recoding.renormalize and recoding.dims_changed is not None,
                ),
            )
            for recoding in recodings
            if _integer(recoding) is None or recoding.path in quantizations
        )
    )


def _integer(recoding: Recoding) -> IntegerDatatype | None:
    if recoding.is_json:
        return None
    return recoding.after if recoding.after in ("INT8", "UINT8") else None
