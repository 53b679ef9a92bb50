"""The key `:follower`: signs of life of a process that keeps old and new in step, its only state."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.state.keys import StateKeys
from redismigrate.state.typed import typed

# As long as the lock's lease: who has given no sign of life for longer is not there.
LASTS_MS = 15_000


@dataclass(frozen=True)
class FollowerReport:
    """What a process that follows says of itself, in the key `:follower`.

    Attributes:
        run: The run that is expanded.
        revision: Its revision.
        by: Who follows.
        host: Where.
        pid: In which process.
        since: When it began, ISO 8601.
        heartbeat: Its last sign of life, ISO 8601.
        documents: Looked at by the pass over all of them at the beginning.
        written: Second forms written since it began.
        turned_back: Documents written in the new form whose old form was made of it.
        only_new: Documents written in the new form whose old form can't be made.
        failed: Documents that can't have the new form.
    """

    run: str
    revision: str
    by: str
    host: str
    pid: int
    since: str
    heartbeat: str
    documents: int = 0
    written: int = 0
    turned_back: int = 0
    only_new: int = 0
    failed: int = 0


def write_follower(server: Server, keys: StateKeys, report: FollowerReport) -> None:
    """Give a sign of life."""
    server.execute("SET", keys.follower, json.dumps(asdict(report)), "PX", str(LASTS_MS))


def read_follower(server: Server, keys: StateKeys) -> FollowerReport | None:
    """What a process that follows said last; None when none does, or what stands there is no such report."""
    text = server.execute("GET", keys.follower)
    try:
        return None if text is None else typed(FollowerReport, parse_json(text))
    except (UnreadableDocument, TypeError):
        return None


def forget_follower(server: Server, keys: StateKeys) -> None:
    """Delete the report: nobody follows any more."""
    server.execute("DEL", keys.follower)
