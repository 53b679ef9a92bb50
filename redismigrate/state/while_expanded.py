"""The key `:while_expanded`: what became of documents while there are two forms of them, in one run.

Whoever follows adds to it, with the lock or without: one script looks whether it still may, and whether
nobody has added something meanwhile. It is deleted together with the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import redis

from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.state.fence import Fence
from redismigrate.state.keys import StateKeys
from redismigrate.state.lua_scripts import REPLACE_COUNTS
from redismigrate.state.typed import typed

LISTED_DOCUMENTS = 100


@dataclass(frozen=True)
class WhileExpanded:
    """What became of documents from the moment when all had their second form.

    One that was written several times counts as often, but for what is listed.

    Attributes:
        born: Got a second form, having had none.
        changed: Were written in one form, and so in the other.
        deleted: Were deleted in one form, and so in the other.
        conflicts: Were written in both forms, differently; each counts once.
        failed: Can't have the other form, which came up since; each counts once.
        listed: The first of the last two: `key`, with bytes that are not UTF-8 as `surrogateescape` has them,
            `reason`, and `is_conflict`.
    """

    born: int = 0
    changed: int = 0
    deleted: int = 0
    conflicts: int = 0
    failed: int = 0
    listed: tuple[Mapping[str, Any], ...] = ()

    def __bool__(self) -> bool:
        return self != WhileExpanded()

    def plus(self, other: WhileExpanded) -> WhileExpanded:
        """Both together; a document that both have listed counts once."""
        known = {_name(document) for document in self.listed}
        new = tuple(document for document in other.listed if _name(document) not in known)
        again = [document for document in other.listed if _name(document) in known]
        conflicts_again = sum(bool(document.get("is_conflict")) for document in again)
        return WhileExpanded(
            self.born + other.born,
            self.changed + other.changed,
            self.deleted + other.deleted,
            self.conflicts + other.conflicts - conflicts_again,
            self.failed + other.failed - (len(again) - conflicts_again),
            (*self.listed, *new)[:LISTED_DOCUMENTS],
        )


def _name(document: Mapping[str, Any]) -> tuple[object, bool]:
    return document.get("key"), bool(document.get("is_conflict"))


def read_while_expanded(server: Server, keys: StateKeys, run: str) -> WhileExpanded | None:
    """What became of documents while a run has two forms of them; None where nothing was counted.

    Args:
        server: The connection.
        keys: The project's keys.
        run: Its id.
    """
    try:
        return _counts_in(server.execute("GET", keys.while_expanded), run)
    except redis.ResponseError:  # of another type: it counts for nothing
        return None


def add_while_expanded(
    server: Server, keys: StateKeys, fence: Fence, run: str, counts: WhileExpanded
) -> bool:
    """Add to what became of documents.

    Args:
        server: The connection.
        keys: The project's keys.
        fence: Of this process.
        run: The id of its run.
        counts: What became of documents since it was added to last.

    Returns:
        Whether that was done: not where another process has just added to it, or this one may not any more.
    """
    text = server.execute("GET", keys.while_expanded) or b""
    total = (_counts_in(text, run) or WhileExpanded()).plus(counts)
    content = json.dumps({"run": run, "counts": asdict(total)})
    with server.translated_errors():
        done = server.client.eval(
            REPLACE_COUNTS, 3, fence.key, keys.run, keys.while_expanded, fence.token, run, text, content
        )
    return bool(done)


def _counts_in(text: bytes | None, run: str) -> WhileExpanded | None:
    """What a text says of a run; what concerns another one, or can't be read, counts for nothing."""
    try:
        content = parse_json(text or b"{}")
        return typed(WhileExpanded, content["counts"]) if content["run"] == run else None
    except (UnreadableDocument, KeyError, TypeError):
        return None
