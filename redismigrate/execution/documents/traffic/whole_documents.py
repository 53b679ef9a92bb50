"""Whole documents: the commands that read them, and those that make one of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from redismigrate.documents.whole import NEVER, Document, Found, Hash
from redismigrate.execution.documents.traffic.expiries import let_expire
from redismigrate.redis_server.wire import render_for_keys
from redismigrate.schema.fields import StorageType

# Of one command: a script can't hand over more than some thousand.
MOST_WORDS = 1000


def reading_commands(storage_type: StorageType, keys: Sequence[bytes]) -> bytes:
    """Commands that read whole documents, one for each key."""
    return render_for_keys(b"HGETALL" if storage_type == "hash" else b"JSON.GET", keys, ())


def document_of(storage_type: StorageType, reply: Any) -> Document | None:
    """The document of a reply; None when there is none."""
    if storage_type == "hash":
        items = iter(reply)
        return dict(zip(items, items, strict=True)) or None
    document: bytes | None = reply
    return document


def commands_between(key: bytes, before: Found, after: Found) -> list[tuple[bytes, ...]]:
    """The commands that make of what is at a key what should be there.

    Args:
        key: Where.
        before: What is there.
        after: What should be: a document of the same type, or none where it should be gone.
    """
    document = after.document
    if document is None:
        return [(b"DEL", key)] if before.exists else []
    commands: list[tuple[bytes, ...]] = []
    if isinstance(document, dict):
        old = before.document if isinstance(before.document, dict) else {}
        commands += _changes_of_fields(key, old, document)
    elif document != before.document:
        commands.append((b"JSON.SET", key, b"$", document))
    current = before.expires_ms if before.exists else NEVER
    if after.expires_ms > 0 and after.expires_ms != current:
        commands.append((b"PEXPIREAT", key, b"%d" % after.expires_ms))
    elif after.expires_ms == NEVER and current > 0:
        commands.append((b"PERSIST", key))
    if after.expiries or before.expiries:
        commands += _changes_of_lifetimes(key, before, after)
    return commands


def _changes_of_fields(key: bytes, old: Hash, new: Hash) -> Iterator[tuple[bytes, ...]]:
    words = [word for name, value in new.items() if old.get(name) != value for word in (name, value)]
    for start in range(0, len(words), MOST_WORDS):
        yield (b"HSET", key, *words[start : start + MOST_WORDS])
    gone = [name for name in old if name not in new]
    for start in range(0, len(gone), MOST_WORDS):
        yield (b"HDEL", key, *gone[start : start + MOST_WORDS])


def _changes_of_lifetimes(key: bytes, before: Found, after: Found) -> Iterator[tuple[bytes, ...]]:
    """Let fields expire when they should."""
    old = before.document if isinstance(before.document, dict) else {}
    new = after.document if isinstance(after.document, dict) else {}
    for name, value in new.items():
        current, wanted = before.expiries.get(name, NEVER), after.expiries.get(name, NEVER)
        yield from let_expire(key, name, current, wanted, is_written=old.get(name) != value)


def render_first_hash(key: bytes, fields: bytes, count: int) -> tuple[bytes, bytes]:
    """The command that writes a hash where nothing is, in pieces.

    Args:
        key: Where.
        fields: As `marks.rendered` gives them.
        count: How many fields.
    """
    return b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n" % (2 + 2 * count, len(key), key), fields
