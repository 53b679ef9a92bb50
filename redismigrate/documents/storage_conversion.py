"""Makes a JSON document of a hash, and a hash of a JSON document, so that each comes back as it was.

What the index reads has a form in both: bytes there, a string, a number or an array here. Everything else of
a hash goes along as a string under its name. What one side can't say in its own form is remembered in the
document itself, under one name: how a hash has spelled a number (`1.50`), and the members of a JSON document
that a hash has no form for (objects, arrays, null). What is remembered counts only as long as the value is
still the one that it was remembered for, so whoever writes the other form needs to know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redismigrate.documents.json_documents import (
    RawJson,
    Unconvertible,
    kind_of,
    members_of,
    put_value,
    take_value,
    text_of_members,
    value_at,
)
from redismigrate.documents.json_numbers import number_of, number_text
from redismigrate.documents.json_vectors import numbers_text, vector_of
from redismigrate.documents.storage_change import StorageChange, StoredValue
from redismigrate.documents.vectors import VectorEncoding
from redismigrate.documents.whole import Document, Hash
from redismigrate.schema.strict import encode, readable

FROM_HASH = "__from_hash"
"""The member that remembers what a hash had that JSON says otherwise: field -> text."""
FROM_JSON = "__from_json"
"""The field that remembers what a JSON document had that a hash has no form for: JSON text."""
_MISSING = object()


@dataclass(frozen=True)
class StorageConversion:
    """Both ways of a change of storage.

    Attributes:
        values: What stands in both forms, see `StorageChange`.
    """

    values: tuple[StoredValue, ...]

    @classmethod
    def of(cls, change: StorageChange) -> StorageConversion:
        """The conversion of a change, whichever way that goes."""
        return cls(change.values)

    @cached_property
    def _by_field(self) -> Mapping[bytes, StoredValue]:
        return {encode(value.field): value for value in self.values}

    @cached_property
    def _tops(self) -> frozenset[str]:
        """The members of a document that hold values, or objects with values in them."""
        return frozenset(value.members[0] for value in self.values)

    def to_json(self, fields: Hash) -> bytes:
        """The text of the JSON document of a hash, members sorted by name.

        Raises:
            Unconvertible: There is none.
        """
        reasons: list[str] = []
        document = self._remembered_document(fields)
        homeless: dict[str, str] = {}
        for name, value in sorted(fields.items()):
            stored = self._by_field.get(name)
            try:
                if stored is None:
                    self._put_other(document, name, value, homeless)
                elif not _is_kept(stored, document, value):
                    put_value(document, stored.members, _json_of(stored, value))
                    if stored.form == "number" and encode(number_text(_number(value))) != value:
                        homeless[stored.field] = _text(value)
            except ValueError as error:
                reasons.append(f"{readable(name)}: {error}")
        for stored in self.values:
            if encode(stored.field) not in fields and value_at(document, stored.members) is not None:
                take_value(document, stored.members)
        if homeless:
            document[FROM_HASH] = homeless
        if reasons:
            raise Unconvertible("; ".join(reasons))
        return text_of_members(document)

    def to_hash(self, text: bytes) -> Hash:
        """The hash of a JSON document.

        Raises:
            Unconvertible: There is none.
        """
        try:
            return self._hash_of(members_of(text))
        except UnicodeEncodeError as error:
            raise Unconvertible(f"it holds text that is no UTF-8: {error.reason}") from error

    def rounded(self, text: bytes) -> bytes:
        """A JSON document with its vectors as they come back from a hash, which has no more digits of them.

        Args:
            text: As the application has written it; one that can't be a hash stays as it is.
        """
        try:
            document = members_of(text)
            for stored in self.values:
                value = value_at(document, stored.members)
                if stored.form == "vector" and isinstance(value, list):
                    encoding = _encoding(stored)
                    numbers = RawJson(numbers_text(vector_of(value, encoding), encoding))
                    put_value(document, stored.members, numbers)
            return text_of_members(document)
        except (Unconvertible, ValueError):
            return text

    def _hash_of(self, document: dict[str, Any]) -> Hash:
        remembered = document.pop(FROM_HASH, {})
        if not isinstance(remembered, dict) or not all(isinstance(each, str) for each in remembered.values()):
            raise Unconvertible(f"its member {FROM_HASH} is none that redismigrate has made")
        fields: Hash = {}
        reasons: list[str] = []
        for stored in self.values:
            try:
                value = _bytes_of(stored, value_at(document, stored.members))
            except ValueError as error:
                reasons.append(f"{readable(stored.path)}: {error}")
                continue
            if value is not None:
                fields[encode(stored.field)] = value
        if reasons:
            raise Unconvertible("; ".join(reasons))
        self._take_remembered(fields, remembered)
        rest = self._without_form(document, fields)
        if rest:
            fields[encode(FROM_JSON)] = text_of_members(rest)
        if not fields:
            raise Unconvertible("it has no member, and there is no hash without a field")
        return fields

    def _remembered_document(self, fields: Hash) -> dict[str, Any]:
        """The members that the hash remembers, to be changed."""
        text = fields.get(encode(FROM_JSON))
        if text is None:
            return {}
        try:
            return members_of(text)
        except Unconvertible as error:
            raise Unconvertible(f"its field {FROM_JSON} is none that redismigrate has made") from error

    def _put_other(
        self, document: dict[str, Any], name: bytes, value: bytes, homeless: dict[str, str]
    ) -> None:
        """A field that the index does not read, as a string under its name."""
        if name == encode(FROM_JSON):
            return
        member = _text(name)
        if member == FROM_HASH:
            raise ValueError("redismigrate remembers in a member of that name how a hash was")
        if member in self._tops:
            # Another value stands there; the hash gets it back from here.
            homeless[member] = _text(value)
        else:
            document[member] = _text(value)

    def _take_remembered(self, fields: Hash, remembered: Mapping[str, str]) -> None:
        """Give values the spelling that a hash had for them, and put back what had no place in JSON."""
        for name, text in remembered.items():
            field, value = encode(name), text.encode()
            stored = self._by_field.get(field)
            if stored is None:
                fields.setdefault(field, value)
            elif stored.form == "number" and field in fields and _is_same_number(fields[field], value):
                fields[field] = value

    def _without_form(self, document: dict[str, Any], fields: Hash) -> dict[str, Any]:
        """Take the members that a hash can have as fields; the others are what it has to remember."""
        for name in list(document):
            value, field = document[name], name.encode()
            is_free = name not in self._tops and field not in fields and field not in self._by_field
            if name == FROM_JSON:
                raise Unconvertible(f"redismigrate remembers in a field {FROM_JSON} how a JSON document was")
            if isinstance(value, str) and is_free:
                fields[field] = value.encode()
                del document[name]
        for stored in self.values:
            value = fields.get(encode(stored.field))
            if value is None:
                continue
            found = value_at(document, stored.members)
            if stored.form == "vector" or _is_made_again(stored, value, found):
                take_value(document, stored.members)
        for top in self._tops:
            self._drop_if_made_again(document, top, fields)
        return document

    def _drop_if_made_again(self, document: dict[str, Any], top: str, fields: Hash) -> None:
        """Drop objects of which nothing is left that `to_json` would not make of the fields alone."""
        inner = [
            stored.members
            for stored in self.values
            if stored.members[0] == top and len(stored.members) > 1 and encode(stored.field) in fields
        ]
        made: dict[str, Any] = {}
        for members in inner:
            put_value(made, members, None)
            take_value(made, members)
        if inner and document.get(top, _MISSING) == made.get(top):
            del document[top]


def without_memory(document: Document) -> Document:
    """A document without what it remembers of its other form, which may be of values that are gone by now."""
    if isinstance(document, dict):
        return {name: value for name, value in document.items() if name != FROM_JSON.encode()}
    if FROM_HASH.encode() not in document:
        return document
    try:
        members = members_of(document)
        members.pop(FROM_HASH, None)
        return text_of_members(members)
    except Unconvertible:
        return document


def _json_of(stored: StoredValue, value: bytes) -> Any:
    """What a JSON document has for the value of a hash field."""
    match stored.form:
        case "vector":
            return RawJson(numbers_text(value, _encoding(stored)))
        case "number":
            return _number(value)
        case "tags":
            return _text(value).split(stored.separator or ",")
    return _text(value)


def _is_made_again(stored: StoredValue, value: bytes, found: Any) -> bool:
    """Whether what a JSON document has comes back from the value of the hash field; not for vectors."""
    made = _json_of(stored, value)
    # In Python 1, 1.0 and True are equal.
    return type(made) is type(found) and (repr(made) == repr(found))


def _bytes_of(stored: StoredValue, value: Any) -> bytes | None:
    """What a hash has for a value of a JSON document; None: no field."""
    if value is None:
        return None
    match stored.form:
        case "vector" if isinstance(value, list):
            return vector_of(value, _encoding(stored))
        case "number" if type(value) in {int, float}:
            return encode(number_text(value))
        case "string" | "tags":
            return _joined(stored, value)
    raise ValueError(f"{kind_of(value)} where the index reads a {stored.form}")


def _joined(stored: StoredValue, value: Any) -> bytes:
    """A string, or several tags as one."""
    if not stored.is_tag:
        if isinstance(value, str):
            return value.encode()
        raise ValueError(f"{kind_of(value)} where a hash has a string")
    is_array = isinstance(value, list)
    tags = [tag for each in (value if is_array else [value]) if (tag := _tag(each)) is not None]
    separator = stored.separator or ","
    if is_array or stored.is_one_tag or stored.form == "tags":
        holding = next((tag for tag in tags if separator in tag), None)
        if holding is not None:
            raise ValueError(f"tag {readable(holding)} holds the separator {separator!r} of the hash")
    return separator.join(tags).encode()


def _tag(value: Any) -> str | None:
    """A tag as the index reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{kind_of(value)} where the index reads tags")


def _is_kept(stored: StoredValue, document: dict[str, Any], value: bytes) -> bool:
    """Whether what a hash remembers of a value is still what it has."""
    found = value_at(document, stored.members)
    if found is None or stored.form == "vector":
        return False
    try:
        return _bytes_of(stored, found) == value
    except ValueError:
        return False


def _is_same_number(text: bytes, other: bytes) -> bool:
    try:
        return repr(_number(text)) == repr(_number(other))
    except ValueError:
        return False


def _number(value: bytes) -> int | float:
    number = number_of(_text(value))
    if number is None:
        raise ValueError(f"{readable(value)} is no number that JSON has")
    return number


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("bytes that are no UTF-8, and JSON holds text alone") from None


def _encoding(stored: StoredValue) -> VectorEncoding:
    if stored.datatype is None:
        raise ValueError("its datatype is not known")
    return VectorEncoding(stored.datatype, stored.dims)
