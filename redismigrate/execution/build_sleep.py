"""The server's setting by which it sleeps while it builds indexes: read, written, and given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import redis
from pydantic import BaseModel, ConfigDict, Field

from redismigrate.errors import AuthenticationFailed
from redismigrate.redis_server.connection import Server

SETTING = "search-bg-index-sleep-duration-us"
# As the server admits them.
LONGEST_US = 999_999
_Microseconds = Annotated[int, Field(ge=1, le=LONGEST_US)]


class BuildSleep(BaseModel):
    """What a run has made of the setting. It is written to the state before the server has it.

    Attributes:
        before: Microseconds, as they were before the run; given back at the end.
        ours: What the run has set, and what it is about to set: whatever else the server has is not ours.
    """

    model_config = ConfigDict(frozen=True)

    before: _Microseconds
    ours: tuple[_Microseconds, ...]

    def to(self, microseconds: int) -> BuildSleep:
        """This while another value is being set: a process that dies leaves the one or the other."""
        return BuildSleep(before=self.before, ours=(self.ours[-1], microseconds))


class CannotBeSet(Exception):
    """The server lacks the setting, or refuses it."""


def read_sleep(server: Server) -> int:
    """What the server has, in microseconds.

    Raises:
        CannotBeSet: It does not say; the text is the end of a sentence.
        ConnectionFailed: The server can't be reached.
    """
    if server.capabilities.is_cluster:
        # Each node has its own, and a node may be another one tomorrow.
        raise CannotBeSet("each node of a cluster has a setting of its own for that")
    try:
        reply = server.execute("CONFIG", "GET", SETTING)
    except (redis.ResponseError, AuthenticationFailed) as error:
        raise CannotBeSet("this server does not let its configuration be read") from error
    pairs = reply.items() if isinstance(reply, Mapping) else _in_pairs(reply)
    for _, value in pairs:
        return int(value)
    raise CannotBeSet(f"this server has no {SETTING}")


def write_sleep(server: Server, microseconds: int) -> None:
    """Let the server have another value, until it is restarted.

    Raises:
        CannotBeSet: It refuses that; the text is the end of a sentence.
        ConnectionFailed: The server can't be reached.
    """
    try:
        server.execute("CONFIG", "SET", SETTING, microseconds)
    except (redis.ResponseError, AuthenticationFailed) as error:
        raise CannotBeSet(f"this server does not let {SETTING} be set") from error


def give_back(server: Server, sleep: BuildSleep) -> bool:
    """Let the server have what it had before a run, unless it is somebody else's value by now.

    No condition can go with CONFIG SET, and no script may call it: who changes it between the two commands
    is overwritten.

    Returns:
        Whether it was given back; False where it is no longer ours.

    Raises:
        CannotBeSet: The server refuses it by now.
        ConnectionFailed: The server can't be reached.
    """
    if read_sleep(server) not in sleep.ours:
        return False
    write_sleep(server, sleep.before)
    return True


def by_hand(sleep: BuildSleep, reason: object) -> str:
    """What to tell where it can't be given back."""
    return f"{SETTING} was {sleep.before} and may be more by now: {reason}. Set it with CONFIG SET"


def _in_pairs(reply: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    flat = iter(reply)
    return zip(flat, flat, strict=False)
