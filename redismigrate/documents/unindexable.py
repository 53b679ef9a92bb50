"""Why a document can't be indexed, as far as its values tell; the server names its last failure alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT
from redismigrate.schema import Field, IndexSchema, VectorField
from redismigrate.schema.strict import readable

# As strtod reads it.
_NUMBER = re.compile(rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|0x[0-9a-f]+)", re.IGNORECASE)
_PLACE = re.compile(rb"\s*([+-]?[\d.]+)\s*[, ]\s*([+-]?[\d.]+)\s*")
_WIDEST, _HIGHEST = 180.0, 85.06
_LONGEST_SHOWN = 40


def reasons_in_hash(schema: IndexSchema, values: Mapping[str, bytes | None]) -> Iterator[str]:
    """What of a hash does not fit the index, each as a phrase.

    Args:
        schema: Of the index.
        values: Hash field -> what the document has there.
    """
    for field in schema.fields:
        value = values.get(field.path_in("hash"))
        problem = None if value is None else _problem_with_bytes(field, value)
        if problem is not None:
            yield f"field {field.name} {problem}"


def reasons_in_json(schema: IndexSchema, values: Mapping[str, Iterable[Any]]) -> Iterator[str]:
    """What of a JSON document does not fit the index, each as a phrase.

    Args:
        schema: Of the index.
        values: JSON path -> what is found there.
    """
    for field in schema.fields:
        for value in values.get(field.path_in("json"), ()):
            problem = None if value is None else _problem_with_json(field, value)
            if problem is not None:
                yield f"field {field.name} {problem}"
                break


def _problem_with_bytes(field: Field, value: bytes) -> str | None:
    if isinstance(field, VectorField):
        wanted = field.dims * BYTES_PER_COMPONENT[field.datatype]
        return None if len(value) == wanted else f"has {len(value):,} bytes instead of {wanted:,}"
    if field.type == "numeric":
        return None if _NUMBER.fullmatch(value.strip()) else f"is no number: {_shown(value)}"
    if field.type == "geo":
        return None if _is_place(value) else f"is no longitude and latitude: {_shown(value)}"
    return None


def _is_place(value: bytes) -> bool:
    found = _PLACE.fullmatch(value)
    try:
        longitude, latitude = map(float, found.groups()) if found else (_WIDEST + 1, 0.0)
    except ValueError:
        return False
    return abs(longitude) <= _WIDEST and abs(latitude) <= _HIGHEST


def _problem_with_json(field: Field, value: Any) -> str | None:
    if isinstance(field, VectorField):
        return _problem_with_numbers(field, value)
    fits = _FITS.get(field.type)
    several = value if isinstance(value, list) else [value]
    if fits is None or all(each is None or fits(each) for each in several):
        return None
    return f"is no {_WORDS[field.type]}: {_shown(value)}"


def _problem_with_numbers(field: VectorField, value: Any) -> str | None:
    vectors = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    for vector in vectors:
        if not isinstance(vector, list) or not all(map(_is_number, vector)):
            return f"is no list of numbers: {_shown(vector)}"
        if len(vector) != field.dims:
            return f"has {len(vector):,} numbers instead of {field.dims:,}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "tag": lambda value: isinstance(value, str | bool),
    "numeric": _is_number,
    "geo": lambda value: isinstance(value, str) and _is_place(value.encode("utf-8", "surrogateescape")),
}
_WORDS = {"text": "text", "tag": "text", "numeric": "number", "geo": "longitude and latitude"}


def _shown(value: Any) -> str:
    text = readable(value) if isinstance(value, bytes) else readable(str(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
