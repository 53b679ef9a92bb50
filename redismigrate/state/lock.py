"""The lock of a project: a lease that a thread renews, with a fencing token for every holder.

After Martin Kleppmann, "How to do distributed locking" (2016): the lease alone can't stop a process that
sleeps through its end, so every write compares the token as well (see `state.scripts`).
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from redismigrate import __version__
from redismigrate.errors import LockError
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.state.key_types import require_types
from redismigrate.state.keys import StateKeys
from redismigrate.state.lua_scripts import ACQUIRE, BREAK, FOLLOW, RELEASE, RENEW
from redismigrate.state.typed import typed

LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0
POLL_SECONDS = 0.25
# More digits are no number of ours: somebody has written there.
_TOKEN_NUMBER = re.compile(rb"\d{1,15}(?!\d)")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        id: Random, one per attempt to lock.
        host: Its host name.
        pid: Its process id there.
        process: Tells this process from a later one of the same pid, and this host from one of the same name;
            empty where the system does not tell.
        by: user@host and the version of the tool.
        since: ISO 8601 with time zone.
    """

    id: str
    host: str
    pid: int
    process: str
    by: str
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """The holder that this process would be."""
        host = socket.gethostname()
        return cls(
            id=uuid.uuid4().hex,
            host=host,
            pid=os.getpid(),
            process=_process_identity(os.getpid()) or "",
            by=signature(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def from_text(cls, text: bytes) -> Holder:
        """Read what stands in the lock key."""
        try:
            return typed(cls, parse_json(text))
        except (UnreadableDocument, TypeError):
            return cls(id="", host="?", pid=0, process="", by="somebody unknown", since="?")

    def is_dead(self) -> bool:
        """Whether it ran in this host's process space and is gone; False when that can't be told."""
        if not self.process or self.host != socket.gethostname():
            return False
        space = _process_identity(os.getpid())
        if space is None or space.rpartition(":")[0] != self.process.rpartition(":")[0]:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass  # it lives, as another user, or no process has such a number
        # What can't be read (hidepid) may be alive: only another start time, or a zombie, tells.
        return _process_identity(self.pid) not in {self.process, None}

    def __str__(self) -> str:
        return f"{self.by}, process {self.pid}, since {self.since}"


def signature() -> str:
    """user@host and the version of the tool, for records."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} redismigrate {__version__}"


def _process_identity(pid: int) -> str | None:
    """`<boot>:<pid namespace>:<start time>` of a process, "zombie", or None when /proc does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        if fields[0] == "Z":
            return "zombie"
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - Path.stat says the same, longer
    except OSError:
        return None
    return f"{boot}:{namespace}:{fields[19]}"


class Lock:
    """Owns the lock key while it is entered.

    Args:
        server: The connection.
        keys: The project's keys.
        timeout_seconds: How long to wait for another holder.
        on_wait: Called once, with the holder, when waiting begins.
        while_waiting: Called all the time then; may end it by raising.
    """

    def __init__(
        self,
        server: Server,
        keys: StateKeys,
        timeout_seconds: float,
        on_wait: Callable[[Holder], None] | None = None,
        while_waiting: Callable[[], None] | None = None,
    ) -> None:
        self._server = server
        self._keys = keys
        self._timeout_seconds = timeout_seconds
        self._on_wait = on_wait
        self._while_waiting = while_waiting
        self._holder = Holder.this_process()
        self._owner = json.dumps(asdict(self._holder))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.token = ""

    def __enter__(self) -> Self:
        require_types(self._server, self._keys, ("lock", "fence"))
        deadline = time.monotonic() + self._timeout_seconds
        has_told = False
        while True:
            holder = self._try()
            if holder is None:
                break
            if not has_told and self._on_wait is not None:
                self._on_wait(holder)
                has_told = True
            if time.monotonic() >= deadline:
                raise LockError(
                    f"Another process works on this project: {holder}.",
                    "Wait for it (--lock-timeout), or free the lock with `redismigrate unlock` if it hangs.",
                )
            if self._while_waiting is not None:
                self._while_waiting()
            time.sleep(POLL_SECONDS)
        self._thread = threading.Thread(target=self._renew, name="redismigrate-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self._server.client.eval(RELEASE, 1, self._keys.lock, self._owner)
        except redis.RedisError:
            return  # the lease ends by itself; the error that brought us here matters more

    def _try(self) -> Holder | None:
        """Take the lock; who holds it when that can't be."""
        replaceable = b""
        while True:
            with self._server.translated_errors():
                got, value = self._server.client.eval(
                    ACQUIRE,
                    2,
                    self._keys.lock,
                    self._keys.fence,
                    self._owner,
                    int(LEASE_SECONDS * 1000),
                    replaceable,
                )
            if got:
                self.token = value.decode()
                return None
            holder = Holder.from_text(value)
            if value == replaceable or not holder.is_dead():
                return holder
            replaceable = value

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            try:
                held = self._server.client.eval(
                    RENEW,
                    2,
                    self._keys.lock,
                    self._keys.fence,
                    self._owner,
                    int(LEASE_SECONDS * 1000),
                    self.token,
                )
            except redis.RedisError:
                continue  # the lease may outlast a short outage; writes are fenced in any case
            if not held:
                return


def read_holder(server: Server, keys: StateKeys) -> Holder | None:
    """Who holds the lock now."""
    text = server.execute("GET", keys.lock)
    return None if text is None else Holder.from_text(text)


def break_lock(server: Server, keys: StateKeys) -> Holder | None:
    """Free the lock; its holder, whom this stops from writing.

    Raises:
        StateError: A key of the lock is of another type than ours.
    """
    require_types(server, keys, ("lock", "fence"))
    with server.translated_errors():
        text = server.client.eval(BREAK, 2, keys.lock, keys.fence)
    return None if text is None else Holder.from_text(text)


def last_token_number(server: Server, keys: StateKeys) -> int:
    """The number in the last fencing token that was given out; 0 when none was, as the scripts take it."""
    found = _TOKEN_NUMBER.match(server.execute("GET", keys.fence) or b"")
    return int(found[0]) if found else 0


def token_to_follow(server: Server, keys: StateKeys) -> bytes | None:
    """A fencing token for who works until somebody takes the lock; None while somebody holds it."""
    with server.translated_errors():
        token: bytes | None = server.client.eval(FOLLOW, 2, keys.lock, keys.fence)
    return token
