"""What is at some keys, as a batch has read it: documents with their lifetimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redismigrate.documents.whole import NEVER, Found
from redismigrate.execution.documents.traffic.decisions import Reader
from redismigrate.execution.documents.traffic.expiries import NO_SUCH_FIELD, read_own_expiries
from redismigrate.execution.documents.traffic.whole_documents import document_of
from redismigrate.redis_server.wire import is_of_another_type, raise_refusal, refusal
from redismigrate.schema.fields import StorageType

# What PEXPIRETIME answers for one.
NO_SUCH_KEY = -2
NO_EXPIRIES: Mapping[bytes, int] = {}


def found_at(
    storage_type: StorageType, keys: Sequence[bytes], replies: list[Any], reader: Reader
) -> list[Found]:
    """What is at some keys.

    Args:
        storage_type: Of documents.
        keys: Where to look.
        replies: The contents of all of them, then the times of expiry of all of them.
        reader: Asks for those of fields.
    """
    found = []
    for reply, moment in zip(replies[: len(keys)], replies[len(keys) :], strict=True):
        if is_of_another_type(reply):
            raise_refusal(moment)
            found.append(Found(expires_ms=moment, is_of_another_type=True))
            continue
        refused = refusal(moment) or refusal(reply)
        if refused is not None:
            found.append(Found(refused=refused))
            continue
        document = None if moment == NO_SUCH_KEY else document_of(storage_type, reply)
        found.append(Found(document, NEVER if document is None else moment, NO_EXPIRIES))
    if reader.fields_expire and storage_type == "hash":
        _read_expiries(keys, found, reader)
    return found


def _read_expiries(keys: Sequence[bytes], found: list[Found], reader: Reader) -> None:
    """Find out when fields expire; what has gone by now is taken out of the documents."""
    hashes = [
        (key, at.document, at) for key, at in zip(keys, found, strict=True) if isinstance(at.document, dict)
    ]
    expiries = read_own_expiries(reader, [(key, list(names)) for key, names, _ in hashes])
    for (_, names, at), moments in zip(hashes, expiries, strict=True):
        if all(moment == NEVER for moment in moments):
            continue
        named = dict(zip(names, moments, strict=True))
        left = {name: value for name, value in names.items() if named[name] != NO_SUCH_FIELD}
        at.document = left or None
        at.expiries = {name: moment for name, moment in named.items() if moment > 0}
