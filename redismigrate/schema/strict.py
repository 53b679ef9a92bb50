"""Frozen pydantic values whose mistakes are SchemaErrors, and text that may hold any bytes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.foreign_text import readable as readable  # noqa: PLC0414 - those who encode import it here

_MOST_ITEMS = 100_000
# Characters of a key in a message.
LONGEST_KEY_SHOWN = 200


def _as_text(value: object) -> str:
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        # YAML 1.1 reads on, no and 12 as a boolean and a number.
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
            f"should be text, got {shown_value(value)} ({type(value).__name__}); "
            "quote it if it comes from YAML"
        )
    # As a plain text: a subclass can compare as it likes.
    text = str.__str__(text)
    try:
        encode(text)
    except UnicodeEncodeError:
        raise ValueError(
            f"{shown_value(value)} can't be stored: it is neither UTF-8 nor escaped bytes"
        ) from None
    if "\0" in text:
        raise ValueError(f"{shown_value(value)} holds a NUL byte, where Redis Search would cut it")
    return text


def _as_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError(
            f"{shown_value(text)} holds a line break, which FT.INFO does not tell from a backslash and a "
            "letter"
        )
    return text


def _as_name(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def as_items(value: Any) -> Any:
    """The items of an iterable, which may have no end; what is none is given back.

    Raises:
        ValueError: There are more than any index has.
    """
    is_plain = type(value) in {list, tuple} or isinstance(value, str | bytes | Mapping)
    if is_plain or not isinstance(value, Iterable):
        return value
    items = tuple(islice(value, _MOST_ITEMS + 1))
    if len(items) > _MOST_ITEMS:
        raise ValueError(f"has more than {_MOST_ITEMS:,} items, or no end")
    return items


Text = Annotated[str, PlainValidator(_as_text)]
"""Text of Redis: a str in which bytes that are not UTF-8 are lone surrogates (`surrogateescape`).

Given as str or bytes. pydantic's own str refuses lone surrogates; json.dumps escapes them, json.loads gives
them back.
"""
Line = Annotated[Text, AfterValidator(_as_line)]
"""A `Text` without line breaks."""
Name = Annotated[Line, AfterValidator(_as_name)]
"""A `Line` that is not empty."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of things, as others may have stored it: Redis and JSON hold no larger one."""


def encode(text: str) -> bytes:
    """The bytes that a `Text` stands for."""
    return text.encode("utf-8", "surrogateescape")


def readable_key(key: str | bytes) -> str:
    """A key on one line of a message: an empty one in quotes, a long one by its beginning and its length."""
    text = readable(key)
    if len(text) > LONGEST_KEY_SHOWN:
        size_bytes = len(key if isinstance(key, bytes) else encode(key))
        return f"{text[:LONGEST_KEY_SHOWN]}… ({size_bytes:,} bytes)"
    return text or '""'


class Strict(BaseModel):
    """A frozen model that refuses unknown attributes and reports every mistake at once as one SchemaError."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise self._as_schema_error(error, data) from None

    @classmethod
    @abstractmethod
    def _describe(cls, data: dict[str, Any]) -> str:
        """What an error message calls the value that was to be made of this data."""

    @classmethod
    def _as_schema_error(cls, error: ValidationError, data: dict[str, Any]) -> SchemaError:
        problems, hints = [], []
        for mistake in error.errors(include_url=False):
            where = ".".join(str(part) for part in mistake["loc"])
            if mistake["type"] == "extra_forbidden":
                problems.append(f"no attribute {where!r}{did_you_mean(where, cls.model_fields)}")
                hints = [f"Valid attributes: {', '.join(sorted(cls.model_fields))}."]
            elif mistake["type"] == "missing":
                problems.append(f"{where!r} is missing")
            elif mistake["type"] == "value_error":
                reason = str(mistake["ctx"]["error"])
                problems.append(f"{where}: {reason}" if where else reason)
            else:
                given = mistake["input"]
                problems.append(
                    f"{where}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}, got {shown_value(given)}"
                )
        return SchemaError(f"{cls._describe(data)}: {'; '.join(problems)}.", "".join(hints))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is nearest, to stand after a message; empty when none is near."""
    from difflib import get_close_matches  # only errors need it

    near = get_close_matches(name.lower(), list(known), n=3)
    matches = [match for match in near if _differ_little(name.lower(), match)]
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def _differ_little(name: str, known: str) -> bool:
    """Whether more is alike than the last word: key_field is no score_field."""
    from difflib import get_close_matches

    own, _, own_word = name.rpartition("_")
    other, _, other_word = known.rpartition("_")
    if not (own and other and get_close_matches(own_word, [other_word])):
        return True
    return bool(get_close_matches(own, [other]))
