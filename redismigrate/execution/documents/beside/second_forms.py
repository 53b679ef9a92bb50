"""What the two fields of a vector should hold, the declared one and the second one, by what they hold now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column
from redismigrate.documents.conversion import Quantizations, encoding_after, encoding_before, transform_of
from redismigrate.documents.fitting import MakeTransform
from redismigrate.documents.resized_arrays import odd_array
from redismigrate.documents.rewrite import Recoding
from redismigrate.execution.documents.traffic.aside import Aside, TransformValues

FieldAim = Literal["beside", "promoted", "removed", "reverted"]


@dataclass(frozen=True, slots=True)
class SecondField:
    """One vector field and its second form.

    Attributes:
        recoding: What differs between the two.
        name: The hash field or JSON path of the second form.
        forward: From the old form to the new; reads and writes the path of the recoding alone.
        back: The way back; None where there is none, as with integers.
        is_slow: They take longer than keys should be watched.
    """

    recoding: Recoding
    name: str
    forward: TransformValues
    back: TransformValues | None
    is_slow: bool = False

    @classmethod
    def of(
        cls,
        recoding: Recoding,
        name: str,
        quantizations: Quantizations,
        make_transform: MakeTransform = transform_of,
    ) -> SecondField:
        """The second form that a recoding asks for.

        Args:
            recoding: Between float datatypes, or to integers that have a quantization.
            name: The hash field or JSON path of the second form.
            quantizations: How integers are made, by the path of the recoding.
            make_transform: Makes the transform of the recoding.

        Raises:
            ValueError: It makes integers, and nobody says how; or it comes to other values each time, while
                second fields are compared with what it makes at every look.
        """
        forward = make_transform((recoding,), quantizations)
        if not forward.reads:
            raise ValueError(f"{recoding} needs a quantization")
        if not forward.is_deterministic:
            raise ValueError(f"{recoding} beside needs a deterministic transform, {forward} is none")
        back = None if recoding.has_integers or recoding.cuts else forward.back
        is_slow = forward.is_slow or (back is not None and back.is_slow)
        return cls(recoding, name, forward, back, is_slow)

    def remembering(self, aside: Aside) -> SecondField:
        """The same; where it is slow, what was made while nothing was watched is taken from there."""
        if not self.is_slow:
            return self
        path, back = self.recoding.path, self.back
        return replace(
            self,
            forward=aside.of_values(self.forward, path),
            back=None if back is None else aside.of_values(back, path),
        )


@dataclass(slots=True)
class Forms:
    """Both forms of a column of documents, as they are or as they should be.

    Attributes:
        declared: What the declared field holds.
        second: What the second one holds.
        problems: Row -> why that document has no second form.
        turned_back: Rows whose old form follows from the new one.
        only_new: Rows whose old form can't follow.
        kept: Rows whose second form is not the conversion of the old one, and stays.
    """

    declared: Column
    second: Column
    problems: dict[int, str]
    turned_back: Sequence[int] = ()
    only_new: Sequence[int] = ()
    kept: Sequence[int] = ()


def forms_of(field: SecondField, aim: FieldAim, declared: Column, second: Column) -> Forms:
    """What both fields should hold."""
    none: list[bytes | None] = [None] * len(declared)
    recoding = field.recoding
    if aim == "removed":
        if recoding.has_one_width:
            return Forms(declared, none, _odd_lengths(field, declared))
        # What was written in the old form since it was followed last.
        forms = forms_of(field, "promoted", declared, none)
        forms.second = none
        return forms
    old = declared
    if any(value is None or not recoding.is_old_form(value) for value in declared):
        old = [value if value is not None and recoding.is_old_form(value) else None for value in declared]
    new, problems, kept = (none, {}, []) if aim == "reverted" else _new_forms(field, aim, old, second)
    forms = Forms(declared, new, problems, kept=kept)
    if old is not declared:
        _take_new_forms(field, forms, old)
    if aim == "promoted":
        # The new forms at the declared path are the second ones, too, by now.
        forms.declared = [after or before for before, after in zip(declared, forms.second, strict=True)]
        forms.turned_back = forms.only_new = ()
    if aim == "reverted":
        forms.second, forms.problems = none, {}
    return forms


def lost_values(field: SecondField, declared: Column, second: Column, after: Forms) -> Column:
    """What no field of a document would hold any more, and no conversion would give again.

    Vectors in the old form that are replaced by the new one; and those in the new form that say more than
    the old one which stays. What the application itself has overwritten since is not among them.

    Args:
        field: The field.
        declared: What the declared field holds.
        second: What the second one holds.
        after: What both shall hold.
    """
    lost: list[bytes | None] = [None] * len(declared)
    in_new_form: list[int] = []
    rows = zip(declared, second, after.declared, after.second, strict=True)
    for row, (value, beside, *wanted) in enumerate(rows):
        if value is not None and value not in wanted:
            lost[row] = value
            if not field.recoding.is_old_form(value):
                in_new_form.append(row)
        elif value is not None and beside is not None and beside not in wanted:
            lost[row] = beside
            in_new_form.append(row)
    if in_new_form:
        stay = [after.declared[row] for row in in_new_form]
        says_more = _say_more(field, [lost[row] for row in in_new_form], stay)
        for row, is_lost in zip(in_new_form, says_more, strict=True):
            lost[row] = lost[row] if is_lost else None
    return lost


def _say_more(field: SecondField, new: Column, old: Column) -> list[bool]:
    """Which vectors in the new form have become others in the old form, and do not follow from these."""
    again, _ = _made(field, field.forward, old)
    say_more = [before != after for before, after in zip(new, again, strict=True)]
    if field.back is None or not any(say_more):
        return [False] * len(new)
    backs, _ = _made(field, field.back, new)
    return [is_other and back == value for is_other, back, value in zip(say_more, backs, old, strict=True)]


def _made(field: SecondField, transform: TransformValues, values: Column) -> tuple[Column, dict[int, str]]:
    """What a transform makes of values of a field, and row by row why nothing of others."""
    path = field.recoding.path
    made = transform(Batch([b""] * len(values), {path: values}))
    return made.columns[path], dict(made.failures)


def _new_forms(
    field: SecondField, aim: FieldAim, old: Column, second: Column
) -> tuple[Column, dict[int, str], list[int]]:
    """The new form of every vector in the old form, why some have none, and which are no conversions."""
    converted, problems = _made(field, field.forward, old)
    if not any(second):
        return converted, problems, []
    new = list(converted)
    differing = [
        row
        for row, (before, after) in enumerate(zip(second, new, strict=True))
        if before is not None and before != after and old[row] is not None
    ]
    kept: list[int] = []
    backs: Column = [None] * len(differing)
    if field.back is not None and differing:
        # A client of the new form may have written what the old one can't tell.
        backs, _ = _made(field, field.back, [second[row] for row in differing])
    for row, back in zip(differing, backs, strict=True):
        is_promoted = aim == "promoted" and field.recoding.has_one_width and second[row] == old[row]
        if is_promoted or (back is not None and back == old[row]):
            new[row] = second[row]
            kept.append(row)
            problems.pop(row, None)
    return new, problems, kept


def _odd_lengths(field: SecondField, declared: Column) -> dict[int, str]:
    """The rows whose vectors are in no form, and why."""
    recoding = field.recoding
    return {
        row: _odd_length(field, value)
        for row, value in enumerate(declared)
        if value is not None and not (recoding.is_old_form(value) or recoding.is_new_form(value))
    }


def _odd_length(field: SecondField, value: bytes) -> str:
    recoding = field.recoding
    if recoding.is_json:
        return f"{recoding.path}: {odd_array(recoding, value)} or {recoding.dims_after}"
    alternative = f" or {recoding.bytes_after} ({encoding_after(recoding)})"
    expected = f"{recoding.bytes_before} ({encoding_before(recoding)})"
    return (
        f"{recoding.path}: {len(value)} bytes, expected {expected}"
        f"{'' if recoding.has_one_width else alternative}"
    )


def _take_new_forms(field: SecondField, forms: Forms, old: Column) -> None:
    """Look at the declared values that are not in the old form."""
    recoding, declared = field.recoding, forms.declared
    second, turned = list(forms.second), list(declared)
    rows = []
    for row, value in enumerate(declared):
        if value is None or old[row] is not None:
            continue
        if recoding.is_new_form(value):
            rows.append(row)
            second[row] = value
            continue
        forms.problems[row] = _odd_length(field, value)
    backs: Column = [None] * len(rows)
    if field.back is not None and rows:
        backs, _ = _made(field, field.back, [declared[row] for row in rows])
    for row, back in zip(rows, backs, strict=True):
        if back is not None:
            turned[row] = back
    forms.second, forms.declared = second, turned
    forms.turned_back = [row for row, back in zip(rows, backs, strict=True) if back is not None]
    forms.only_new = [row for row, back in zip(rows, backs, strict=True) if back is None]
