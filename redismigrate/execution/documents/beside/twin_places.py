"""Where the two values of a twin stand, in hashes and in JSON documents: read, and written, by their paths.

Of a JSON document only these members are read and written, so that the text of all others stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redismigrate.documents.array_texts import as_written, count_components
from redismigrate.documents.whole import NEVER
from redismigrate.execution.documents.beside.twin_marks import TwinValue, digest_of_rest
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.expiries import NO_SUCH_FIELD, let_expire, read_expiries
from redismigrate.redis_server.wire import is_of_another_type, raise_refusal, refusal, render, render_for_keys
from redismigrate.schema.fields import StorageType

TwinRow = Sequence[TwinValue | None]
"""The values of one document, path by path."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """What a document has at all paths; nothing where there is none, or a key of another type.

    Attributes:
        values: Path by path.
        refused: Why it can't be read; None where it can.
        rest: Digest of all else in it, of hashes.
    """

    values: TwinRow
    refused: str | None = None
    rest: int = 0


class TwinPlaces(Protocol):
    """Reads and writes the values at some paths of documents."""

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The commands that read all paths, and how many replies they have."""

    def rows(self, keys: Sequence[bytes], replies: Sequence[Any], reader: Reader) -> list[FoundRow]:
        """What the replies say, document by document."""

    def puts(self, key: bytes, before: TwinRow, after: TwinRow) -> Iterator[tuple[bytes, ...]]:
        """The commands that write what is there afterwards and differs."""

    def drops(self, key: bytes, before: TwinRow, after: TwinRow) -> Iterator[tuple[bytes, ...]]:
        """The commands that remove what is there no more."""


@dataclass(frozen=True, slots=True)
class HashPlaces:
    """Fields of hashes, with their lifetimes.

    Attributes:
        names: Of the fields.
    """

    names: tuple[bytes, ...]

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """All fields of each hash: what else it has tells whether it was written as a whole."""
        return render_for_keys(b"HGETALL", keys, ()), len(keys)

    def rows(self, keys: Sequence[bytes], replies: Sequence[Any], reader: Reader) -> list[FoundRow]:
        """The fields and their lifetimes; what has expired by now is not there."""
        if not reader.fields_expire:
            return [self._row(reply, None) for reply in replies]
        moments = read_expiries(reader, keys, self.names)
        return [self._row(reply, each) for reply, each in zip(replies, moments, strict=True)]

    def _row(self, reply: Any, moments: Sequence[int] | None) -> FoundRow:
        nothing = (None,) * len(self.names)
        if is_of_another_type(reply):
            return FoundRow(nothing)
        if (refused := refusal(reply)) is not None:
            return FoundRow(nothing, refused)
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        values = [fields.pop(name, None) for name in self.names]
        rest = digest_of_rest(fields)
        if moments is None:
            return FoundRow([None if value is None else TwinValue(value) for value in values], rest=rest)
        found = [
            None if value is None or moment == NO_SUCH_FIELD else TwinValue(value, max(moment, NEVER))
            for value, moment in zip(values, moments, strict=True)
        ]
        return FoundRow(found, rest=rest)

    def puts(self, key: bytes, before: TwinRow, after: TwinRow) -> Iterator[tuple[bytes, ...]]:
        """HSET of those with another value, and their lifetimes."""
        words: list[bytes] = []
        lifetimes: list[tuple[bytes, ...]] = []
        for name, old, new in zip(self.names, before, after, strict=True):
            if new is None or new == old:
                continue
            is_written = old is None or old.content != new.content
            if is_written:
                words += (name, new.content)
            current = NEVER if old is None else old.expires_ms
            lifetimes += let_expire(key, name, current, new.expires_ms, is_written=is_written)
        if words:
            yield (b"HSET", key, *words)
        yield from lifetimes

    def drops(self, key: bytes, before: TwinRow, after: TwinRow) -> Iterator[tuple[bytes, ...]]:
        """HDEL of all of them at once."""
        names = _gone(self.names, before, after)
        if names:
            yield (b"HDEL", key, *names)


@dataclass(frozen=True, slots=True)
class JsonPlaces:
    """Members of JSON documents, by plain paths.

    Attributes:
        names: The paths.
    """

    names: tuple[bytes, ...]

    def reads(self, keys: Sequence[bytes]) -> tuple[bytes, int]:
        """The members of each, one by one: so the server prints each as a text of its own."""
        commands = [render(b"JSON.GET", key, name) for key in keys for name in self.names]
        return b"".join(commands), len(commands)

    def rows(self, keys: Sequence[bytes], replies: Sequence[Any], reader: Reader) -> list[FoundRow]:  # noqa: ARG002
        """The texts of the members, as the server prints them."""
        width = len(self.names)
        return [_json_row(replies[at * width : (at + 1) * width]) for at in range(len(keys))]

    def puts(self, key: bytes, before: TwinRow, after: TwinRow) -> Iterator[tuple[bytes, ...]]:
        """JSON.SET of each with another value; vectors in words that the server reads as it prints them."""
        for name, old, new in zip(self.names, before, after, strict=True):
            if new is not None and new != old:
                is_vector = count_components(new.content) is not None
                text = as_written(new.content) if is_vector else None
                yield (b"JSON.SET", key, name, text or new.content)

    def drops(self, key: bytes, before: TwinRow, after: TwinRow) -> Iterator[tuple[bytes, ...]]:
        """JSON.DEL of each of them."""
        for name in _gone(self.names, before, after):
            yield (b"JSON.DEL", key, name)


def places_in(storage_type: StorageType, names: tuple[bytes, ...]) -> TwinPlaces:
    """What reads and writes some paths of documents of a type.

    Args:
        storage_type: Of the documents.
        names: Fields of hashes, or plain paths in JSON.
    """
    return HashPlaces(names) if storage_type == "hash" else JsonPlaces(names)


def _json_row(replies: Sequence[Any]) -> FoundRow:
    nothing = (None,) * len(replies)
    for reply in replies:
        if is_of_another_type(reply):
            raise_refusal(*(other for other in replies if not is_of_another_type(other)))
            return FoundRow(nothing)
        if (refused := refusal(reply)) is not None:
            return FoundRow(nothing, refused)
    # A path that begins with $ answers with an array of what it finds, here of one value or none.
    return FoundRow([None if reply in {None, b"[]"} else TwinValue(reply[1:-1]) for reply in replies])


def _gone(names: Sequence[bytes], before: TwinRow, after: TwinRow) -> list[bytes]:
    return [
        name for name, old, new in zip(names, before, after, strict=True) if old is not None and new is None
    ]
