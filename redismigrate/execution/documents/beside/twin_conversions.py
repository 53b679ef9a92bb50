"""What each value of a twin becomes at the other path: the same, or vectors in another form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from redismigrate.documents.batch import Batch
from redismigrate.documents.conversion import Quantizations, transform_of
from redismigrate.documents.fitting import MakeTransform
from redismigrate.documents.rewrite import Recoding
from redismigrate.documents.twins import Twin
from redismigrate.execution.documents.beside.second_forms import SecondField
from redismigrate.execution.documents.beside.twin_marks import TwinValue
from redismigrate.execution.documents.beside.twin_verdicts import TwinForms
from redismigrate.execution.documents.traffic.aside import Aside, TransformValues

_Pair = tuple[TwinValue | None, TwinValue | None]


@dataclass(frozen=True)
class TwinConversion:
    """One twin, and both ways between its values.

    Attributes:
        twin: Which.
        second: The conversions; None where both values are the same.
        is_json: The values are of JSON documents.
        fills_up: Vectors that get components back which nobody has any more get zeros; else they are refused.
        plainly_cut: As the way there may have made the new form as well: truncated, and not given length 1.
    """

    twin: Twin
    second: SecondField | None = None
    is_json: bool = False
    fills_up: bool = False
    plainly_cut: TransformValues | None = None

    @classmethod
    def of(
        cls,
        twin: Twin,
        quantizations: Quantizations,
        make_transform: MakeTransform = transform_of,
        *,
        is_json: bool = False,
        fills_up: bool = False,
    ) -> TwinConversion:
        """The conversions that a twin asks for.

        Args:
            twin: Which.
            quantizations: How integers are made, by the path of the recoding.
            make_transform: Makes the transform of a recoding.
            is_json: The values are of JSON documents.
            fills_up: What was cut off and is nowhere any more becomes zeros.

        Raises:
            ValueError: It makes integers, and nobody says how.
        """
        if twin.recoding is None:
            return cls(twin, None, is_json)
        second = SecondField.of(twin.recoding, twin.new, quantizations, make_transform)
        if not twin.recoding.is_way_back:
            return cls(twin, second, is_json)
        # As the way there has made it, which tells whether the value that it was made of still stands.
        there = replace(twin.recoding.reversed(), new_path=None, is_way_back=False)
        second = replace(second, back=make_transform((there,), quantizations))
        plainly = make_transform((replace(there, renormalize=False),), quantizations) if there.cuts else None
        return cls(twin, second, is_json, fills_up=fills_up, plainly_cut=plainly)

    @property
    def is_slow(self) -> bool:
        """Whether one of the ways takes longer than keys should be watched."""
        return self.second is not None and self.second.is_slow

    @cached_property
    def is_lossless(self) -> bool:
        """Whether the new value tells all that the old one does."""
        return self.twin.recoding is None or self.twin.recoding.is_lossless

    @cached_property
    def is_back_lossless(self) -> bool:
        """Whether the old value tells all that the new one does."""
        return self.twin.recoding is None or self.twin.recoding.reversed().is_lossless

    def forms_of(self, pairs: Sequence[_Pair], wanted: Sequence[bool], aside: Aside) -> list[TwinForms]:
        """The values with what the conversions make of them.

        Args:
            pairs: Old and new value, document by document.
            wanted: Whether anybody asks for the conversions.
            aside: What slow ones have made already.

        Raises:
            NotMadeYet: A slow one has to run first.
        """
        if self.second is None:
            return [TwinForms(old, new, old, new, is_json=self.is_json) for old, new in pairs]
        second = self.second.remembering(aside)
        olds = [pair[0] if is_wanted else None for pair, is_wanted in zip(pairs, wanted, strict=True)]
        news = [pair[1] if is_wanted else None for pair, is_wanted in zip(pairs, wanted, strict=True)]
        forth, reasons = _converted(second.forward, second.recoding.path, olds)
        back: Sequence[TwinValue | None] = [None] * len(pairs)
        if second.back is not None:
            back, _ = _converted(second.back, second.recoding.path, news)
        if self.plainly_cut is not None:
            plain, _ = _converted(self.plainly_cut, second.recoding.path, news)
            back = [other if other == old else one for old, one, other in zip(olds, back, plain, strict=True)]
        if second.recoding.grows and not self.fills_up:
            forth = [None] * len(pairs)
            reasons = dict.fromkeys(range(len(pairs)), _cut_off(second.recoding))
        yields = second.recoding.is_way_back
        return [
            TwinForms(old, new, forth[row], back[row], reasons.get(row), self.is_json, yields)
            for row, (old, new) in enumerate(pairs)
        ]


def _cut_off(recoding: Recoding) -> str:
    return (
        f"{recoding.path} was written with {recoding.dims} numbers, and {recoding.new_path} does not have "
        "the others: --allow-lossy fills up with zeros"
    )


def _converted(
    transform: TransformValues, path: str, values: Sequence[TwinValue | None]
) -> tuple[list[TwinValue | None], dict[int, str]]:
    """What a transform makes of values, whose lifetimes go along; row by row why nothing of others."""
    made: list[TwinValue | None] = [None] * len(values)
    rows = [row for row, value in enumerate(values) if value is not None]
    if not rows:
        return made, {}
    found = [value for value in values if value is not None]
    transformed = transform(Batch([b""] * len(rows), {path: [value.content for value in found]}))
    for row, value, content in zip(rows, found, transformed.columns[path], strict=True):
        made[row] = None if content is None else TwinValue(content, value.expires_ms)
    return made, {rows[at]: reason for at, reason in transformed.failures}
