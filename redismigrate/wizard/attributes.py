"""Questions about the attributes of fields: what there is, what it is now, and what it is for."""

from __future__ import annotations

import re
from functools import cache
from inspect import cleandoc
from typing import Any, Literal, get_args, get_origin

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT
from redismigrate.schema import Field, VectorField
from redismigrate.schema.compare import VECTOR_DEFAULTS
from redismigrate.schema.fields import FieldBase, StorageType
from redismigrate.wizard.questions import Choice, Question

_NOT_ASKED = frozenset({"name", "type"})
_DESCRIPTION = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)
_SIZES = {
    str(datatype): f"{size} byte{'s' if size > 1 else ''} for each dimension"
    for datatype, size in BYTES_PER_COMPONENT.items()
}
_YES_OR_NO = (Choice("yes"), Choice("no"))
TYPES: dict[str, type[FieldBase]] = {
    cls.model_fields["type"].default: cls for cls in get_args(get_args(Field)[0])
}


def required_attributes(type_: str) -> tuple[str, ...]:
    """What has to be said of a new field of a type, besides its name."""
    fields = TYPES[type_].model_fields
    return tuple(name for name, info in fields.items() if info.is_required() and name not in _NOT_ASKED)


def offered(field: Field, storage_type: StorageType) -> tuple[Choice, ...]:
    """The attributes of a field that mean something as it is, each with what it is now."""
    cls = type(field)
    base = FieldBase.model_fields
    own = [name for name in cls.model_fields if name not in base]
    meaningless = cls.inapplicable(field.__dict__)
    return tuple(
        Choice(name, shown(field, name, storage_type))
        for name in (*own, *base)
        if name not in _NOT_ASKED and name not in meaningless
    )


def shown(field: Field, attribute: str, storage_type: StorageType) -> str:
    """What an attribute of a field is, for people."""
    value = getattr(field, attribute)
    if attribute == "path":
        return field.path_in(storage_type)
    if value is None and isinstance(field, VectorField):
        default = VECTOR_DEFAULTS[field.algorithm].get(attribute)
        return "default" if default is None else f"{default:g} (default)"
    if value is None:
        return "default"
    return _text_of(value)


def value_question(cls: type[FieldBase], attribute: str, current: str | None = None) -> Question:
    """What an attribute of a field shall be.

    Args:
        cls: The class of the field.
        attribute: Its name; one that the class lacks is for the class to refuse.
        current: What it is; None for a new field.
    """
    info = cls.model_fields.get(attribute)
    names = () if info is None else _literals(info.annotation)
    is_yes_or_no = info is not None and info.annotation is bool
    return Question(
        "value" if current is not None else attribute,
        attribute,
        _YES_OR_NO if is_yes_or_no else tuple(Choice(name, _SIZES.get(name, "")) for name in names),
        current,
        about=descriptions(cls).get(attribute, ""),
        is_open=not names or current is not None,
        if_empty="back to the menu" if current is None else "",
        has_default=info is not None and not info.is_required(),
    )


@cache
def descriptions(cls: type[FieldBase]) -> dict[str, str]:
    """What the attributes of a class are for, as its documentation says."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        documentation = cleandoc(vars(base).get("__doc__") or "")
        for match in _DESCRIPTION.finditer(documentation.partition("Attributes:\n")[2]):
            found[match[1]] = " ".join(match[2].replace("`", "").split())
    return found


def _literals(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(name for part in get_args(annotation) for name in _literals(part))


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
