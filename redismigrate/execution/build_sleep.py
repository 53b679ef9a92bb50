"""The server's setting by which it sleeps while it builds indexes: read, written, and given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import redis
from pydantic import BaseModel, ConfigDict, Field

from redismigrate.errors import AuthenticationFailed
from redismigrate.redis_server.capabilities import BUILD_SLEEP_SETTING
from redismigrate.redis_server.connection import Server

SETTING = BUILD_SLEEP_SETTING
# As the server admits them.
LONGEST_US = 999_999
_Microseconds = Annotated[int, Field(ge=1, le=LONGEST_US)]


class BuildSleep(BaseModel):
    """What a run has made of the setting. It is written to the state before the server has it.

    Attributes:
        before: Microseconds, as they were before the run; given back at the end.
        ours: What the run has set, and what it is about to set: whatever else the server has is not ours.
        server: The run_id of the server that has it, as INFO says; None where that does not tell, and in
            records of versions that did not ask.
        address: Where that server listens, as it sees itself; None likewise.
    """

    model_config = ConfigDict(frozen=True)

    before: _Microseconds
    ours: tuple[_Microseconds, ...]
    server: str | None = None
    address: str | None = None

    def to(self, microseconds: int) -> BuildSleep:
        """This while another value is being set: a process that dies leaves the one or the other."""
        return self.model_copy(update={"ours": (self.ours[-1], microseconds)})


class CannotBeSet(Exception):
    """The server lacks the setting, or refuses it.

    Attributes:
        place: Where a person is to set it, behind a verb; nothing for the server of the connection.
    """

    place = ""


class RaisedElsewhere(CannotBeSet):
    """Another server has what the run has set, such as the master before a failover."""

    place = " there"


def begin_sleep(server: Server, microseconds: int) -> BuildSleep:
    """What is to be noted before the setting is raised for the first time.

    Args:
        server: The connection.
        microseconds: What the server has.
    """
    return BuildSleep(
        before=microseconds, ours=(microseconds,), server=_run_id(server), address=_address(server)
    )


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
        CannotBeSet: The server refuses it by now, or another one has it.
        ConnectionFailed: The server can't be reached.
    """
    _require_same(server, sleep)
    if read_sleep(server) not in sleep.ours:
        return False
    write_sleep(server, sleep.before)
    return True


def by_hand(sleep: BuildSleep, reason: CannotBeSet) -> str:
    """What to tell where it can't be given back."""
    command = f"CONFIG SET {SETTING} {sleep.before}"
    return (
        f"{SETTING} was {sleep.before} and may be more by now: {reason}. Set it{reason.place} with {command}"
    )


def _require_same(server: Server, sleep: BuildSleep) -> None:
    """Raise where another server may have what was set, as the one that was the master before a failover.

    One at the same address was restarted since: what it has is all there is to be given back.
    """
    if sleep.server is None or _run_id(server) in (None, sleep.server):
        return
    if sleep.address is None:
        raise RaisedElsewhere("the server has changed since the run raised it, by a restart or a failover")
    if _address(server) != sleep.address:
        raise RaisedElsewhere(f"the run raised it on the server at {sleep.address}, and this is another one")


def _run_id(server: Server) -> str | None:
    """What a server is called from its start to its end."""
    try:
        reply = server.execute("INFO", "server")
    except (redis.ResponseError, AuthenticationFailed):
        return None
    return reply.get("run_id") if isinstance(reply, Mapping) else None


def _address(server: Server) -> str | None:
    """Where it is, by the connection."""
    try:
        reply = server.execute("CLIENT", "INFO")
    except (redis.ResponseError, AuthenticationFailed):
        return None
    words = reply.split() if isinstance(reply, bytes) else ()
    return next((word[6:].decode() for word in words if word.startswith(b"laddr=")), None)


def _in_pairs(reply: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    flat = iter(reply)
    return zip(flat, flat, strict=False)
