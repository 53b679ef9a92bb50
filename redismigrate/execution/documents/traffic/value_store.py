"""How values are read and written, in fields of hashes or at paths of JSON documents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redismigrate.documents.array_texts import as_written
from redismigrate.execution.documents.traffic.decisions import REPLACED
from redismigrate.execution.documents.traffic.expiries import replace_values
from redismigrate.redis_server.wire import render, render_for_keys
from redismigrate.schema.fields import StorageType

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# KEYS: documents. ARGV: a path. Answers for each how many elements the array there has, -1 where there is
# none; the error where it can't be looked at.
_LENGTHS = b"""
local lengths = {}
for i, key in ipairs(KEYS) do
  local found = redis.pcall('JSON.ARRLEN', key, ARGV[1])
  local is_refused = type(found) == 'table' and found.err and string.find(found.err, '^NOPERM')
  local length = type(found) == 'table' and not found.err and found[1]
  lengths[i] = is_refused and found or (type(length) == 'number' and length or -1)
end
return lengths
"""


class ValueStore(ABC):
    """How values of documents of one type are read and written."""

    # What the server answers for a value that was written, as a rule.
    usual_reply: bytes
    # Whether one field of many documents may be read as a column, see `Wire.receive_column`.
    reads_columns: bool

    @abstractmethod
    def reads(self, keys: Sequence[bytes], names: Sequence[bytes]) -> tuple[bytes, int]:
        """Commands that read values of documents, and how many replies they have."""

    @abstractmethod
    def rows(self, replies: Sequence[Any], width: int) -> Sequence[Any]:
        """What each document has of so many values, None for what it lacks; an error where it was refused."""

    @abstractmethod
    def replace(
        self, key: bytes, values: Sequence[tuple[bytes, bytes]], moments: Mapping[bytes, int]
    ) -> Sequence[tuple[Sequence[ReadableBuffer], bytes]]:
        """Rendered commands, in pieces, that write over values of one document; each with its key.

        Args:
            key: Of the document.
            values: Names and values.
            moments: Name -> when it expires, as read.
        """

    @abstractmethod
    def changes(
        self, key: bytes, new: Sequence[tuple[bytes, bytes]], gone: Sequence[bytes]
    ) -> Iterator[tuple[bytes, ...]]:
        """The words of commands that write values of one document, or make new ones, and remove others.

        Args:
            key: Of the document.
            new: Names and values.
            gone: Names.
        """


class _HashFields(ValueStore):
    """Values are fields of hashes."""

    usual_reply = REPLACED
    reads_columns = True

    def reads(self, keys: Sequence[bytes], names: Sequence[bytes]) -> tuple[bytes, int]:
        """One HMGET per hash."""
        return render_for_keys(b"HMGET", keys, tuple(names)), len(keys)

    def rows(self, replies: Sequence[Any], width: int) -> Sequence[Any]:  # noqa: ARG002
        """As they are: one list, or one error, for each hash."""
        return replies

    def replace(
        self, key: bytes, values: Sequence[tuple[bytes, bytes]], moments: Mapping[bytes, int]
    ) -> Sequence[tuple[Sequence[ReadableBuffer], bytes]]:
        """One command, after which the fields expire as before."""
        return ((replace_values(key, values, moments), key),)

    def changes(
        self, key: bytes, new: Sequence[tuple[bytes, bytes]], gone: Sequence[bytes]
    ) -> Iterator[tuple[bytes, ...]]:
        """At most one HSET and one HDEL."""
        if new:
            yield (b"HSET", key, *(word for pair in new for word in pair))
        if gone:
            yield (b"HDEL", key, *gone)


class _JsonMembers(ValueStore):
    """Values are arrays of numbers at plain paths of JSON documents, as the server prints them."""

    usual_reply = b"+OK\r\n"
    reads_columns = False

    def reads(self, keys: Sequence[bytes], names: Sequence[bytes]) -> tuple[bytes, int]:
        """One JSON.GET per document and path: of several paths it does not say which comes first."""
        return b"".join(
            [render_for_keys(b"JSON.GET", (key,), (name,)) for key in keys for name in names]
        ), len(keys) * len(names)

    def rows(self, replies: Sequence[Any], width: int) -> Sequence[Any]:
        """The values at each document's paths, without the array that the server puts around one."""
        return [self._row(replies[start : start + width]) for start in range(0, len(replies), width)]

    def _row(self, replies: Sequence[Any]) -> Any:
        for reply in replies:
            if isinstance(reply, Exception):
                return reply
        return [None if reply is None or reply == b"[]" else bytes(reply[1:-1]) for reply in replies]

    def replace(
        self,
        key: bytes,
        values: Sequence[tuple[bytes, bytes]],
        moments: Mapping[bytes, int],  # noqa: ARG002 - members of a JSON document don't expire
    ) -> Sequence[tuple[Sequence[ReadableBuffer], bytes]]:
        """A command for each value; what else is in the document keeps its words and its order."""
        return [((render(*words),), key) for words in self.changes(key, values, ())]

    def changes(
        self, key: bytes, new: Sequence[tuple[bytes, bytes]], gone: Sequence[bytes]
    ) -> Iterator[tuple[bytes, ...]]:
        """A JSON.SET or JSON.DEL for each value; a new member is the last one of its object."""
        for name, value in new:
            yield (b"JSON.SET", key, name, as_written(value) or value)
        for name in gone:
            yield (b"JSON.DEL", key, name)


HASH_FIELDS: ValueStore = _HashFields()
JSON_MEMBERS: ValueStore = _JsonMembers()


def store_of(storage_type: StorageType) -> ValueStore:
    """Where the values of documents of a type are."""
    return JSON_MEMBERS if storage_type == "json" else HASH_FIELDS


def render_lengths(keys: Sequence[bytes], path: bytes) -> bytes:
    """The command that tells how many elements an array has in each of some JSON documents, -1 for none."""
    return render(b"EVAL", _LENGTHS, b"%d" % len(keys), *keys, path)
