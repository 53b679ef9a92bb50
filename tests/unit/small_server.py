"""A Redis small enough to be a value: a few keys, three moments, EXEC as it is, and refusals where one likes.

It executes the commands as they are rendered for the real server, and answers as that does. EXEC keeps what
was done before a refusal and goes on behind it; the script that writes documents apart stops at the first
refusal of each. A key or a field whose moment has come is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import hiredis

NEVER = -1
SECOND_MS = 1000
# Tells one server from another.
RUN_ID = b"0" * 40


class Form(NamedTuple):
    """What is at a key; no key is None.

    Attributes:
        kind: "hash", "json" or "string".
        content: Of a hash (name, value, moment of expiry) in the order of names, else a text.
        lifetime: The moment at which the key expires.
    """

    kind: str
    content: Any
    lifetime: int = NEVER

    def at(self, clock: int) -> Form | None:
        """What is left of it at a moment."""
        if 0 <= self.lifetime <= clock:
            return None
        if self.kind != "hash":
            return self
        left = tuple(field for field in self.content if not 0 <= field[2] <= clock)
        return self._replace(content=left) if left else None

    def fields(self) -> dict[bytes, tuple[bytes, int]]:
        """Name of a hash field -> value, moment of expiry; JSON is one field without a name."""
        if self.kind != "hash":
            return {b"": (self.content, NEVER)}
        return {name: (value, moment) for name, value, moment in self.content}


def hash_of(fields: dict[bytes, tuple[bytes, int]], lifetime: int = NEVER) -> Form | None:
    """A hash; None where no field is left."""
    if not fields:
        return None
    return Form("hash", tuple((name, *fields[name]) for name in sorted(fields)), lifetime)


class ForeignKeyRead(AssertionError):
    """A mark of another run was read or written."""


def _refused(text: str) -> hiredis.ReplyError:
    return hiredis.ReplyError(text)


_WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Server:
    """The model while commands are executed.

    Args:
        keys: What is where.
        clock: The moment.
        evicted: How many keys were evicted.
        refused: Which of the writes within EXEC is refused, from 0; None for none.
        forbidden: How the keys begin that nobody may touch, but for those that begin as `allowed`.
        before_exec: Is called with the server before EXEC, once: another client's write.

    Attributes:
        writes: How many writes within EXEC there were.
        written: The keys that were written.
    """

    def __init__(
        self,
        keys: dict[bytes, Form],
        clock: int,
        evicted: int = 0,
        refused: int | None = None,
        forbidden: bytes = b"\0",
        allowed: bytes = b"",
        before_exec: Callable[[Server], None] | None = None,
    ) -> None:
        self.keys = keys
        self.clock = clock
        self.writes = 0
        self.written: set[bytes] = set()
        self._evicted = evicted
        self._refused = refused
        self._forbidden, self._allowed = forbidden, allowed
        self._before_exec = before_exec
        self._watched: dict[bytes, Form | None] = {}
        self._queue: list[list[bytes]] | None = None
        self._reader = hiredis.Reader()
        self._replies: list[Any] = []

    # The wire.

    def send(self, *commands: Any) -> None:
        for part in commands:
            self._reader.feed(bytes(part))
        while (words := self._reader.gets()) is not False:
            self._replies.append(self._take(words))

    def receive(self, count: int, *, precedes_column: bool = False) -> list[Any]:
        replies, self._replies = self._replies[:count], self._replies[count:]
        if len(replies) != count:
            raise AssertionError(f"{count} replies were awaited, {len(replies)} came")
        return replies

    def receive_exactly(self, expected: bytes) -> bool:
        return False

    def close(self) -> None:
        pass

    @property
    def is_drained(self) -> bool:
        """Whether all replies were received, and no transaction is open."""
        return not self._replies and self._queue is None

    def _take(self, words: list[bytes]) -> Any:
        name = words[0]
        if name == b"EXEC":
            queue, self._queue = self._queue or [], None
            if self._before_exec is not None:
                self._before_exec(self)
                self._before_exec = None
            watched, self._watched = self._watched, {}
            if any(self.keys.get(key) != form for key, form in watched.items()):
                return None
            return [self._execute(command) for command in queue]
        if self._queue is not None:
            self._queue.append(words)
            return "QUEUED"
        if name == b"MULTI":
            self._queue = []
            return "OK"
        if name == b"WATCH":
            self._watched |= {key: self.keys.get(key) for key in words[1:]}
            return "OK"
        if name == b"UNWATCH":
            self._watched = {}
            return "OK"
        if name in _WRITES or name == b"EVAL":
            raise AssertionError(f"{name!r} outside of a transaction")
        return self._execute(words)

    def _execute(self, words: list[bytes]) -> Any:
        name = words[0]
        if name == b"EVAL":
            return self._write_apart(words)
        write = _WRITES.get(name)
        if write is None:
            return _READS[name](self, words)
        self.writes += 1
        if self.writes - 1 == self._refused:
            return _refused("ERR the model refuses this one")
        return write(self, words)

    def _write_apart(self, words: list[bytes]) -> list[Any]:
        """What the script of `apart` does, which can't run here."""
        declared = set(words[3 : 3 + int(words[2])])
        rest = iter(words[3 + int(words[2]) :])
        answers: list[Any] = []
        for _ in range(int(next(rest))):
            refused: bytes | None = None
            for _ in range(int(next(rest))):
                command = [next(rest) for _ in range(int(next(rest)))]
                if refused is not None:
                    continue
                if command[1] not in declared:
                    raise AssertionError(f"the script writes {command[1]!r} and does not say so")
                reply = self._execute(command)
                if isinstance(reply, hiredis.ReplyError):
                    refused = str(reply).encode()
            for _ in range(int(next(rest))):
                command = [next(rest) for _ in range(int(next(rest)))]
                if refused is not None:
                    self._execute(command)
            answers.append(1 if refused is None else refused)
        return answers

    # Keys.

    def _get(self, key: bytes) -> Form | None:
        self._require_own(key)
        return self.keys.get(key)

    def _put(self, key: bytes, form: Form | None) -> None:
        self._require_own(key)
        self.written.add(key)
        left = None if form is None else form.at(self.clock)
        if left is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = left

    def _require_own(self, key: bytes) -> None:
        if key.startswith(self._forbidden) and not key.startswith(self._allowed):
            raise ForeignKeyRead(f"{key!r} is of another run")

    # Reads.

    def _exists(self, words: list[bytes]) -> int:
        return sum(self._get(key) is not None for key in words[1:])

    def _mget(self, words: list[bytes]) -> list[bytes | None]:
        return [self._string(key) for key in words[1:]]

    def _string(self, key: bytes) -> bytes | None:
        form = self._get(key)
        return form.content if form is not None and form.kind == "string" else None

    def _hgetall(self, words: list[bytes]) -> Any:
        form = self._get(words[1])
        if form is None:
            return []
        if form.kind != "hash":
            return _refused(_WRONG_TYPE)
        return [word for name, value, _ in form.content for word in (name, value)]

    def _hmget(self, words: list[bytes]) -> Any:
        form = self._get(words[1])
        if form is not None and form.kind != "hash":
            return _refused(_WRONG_TYPE)
        fields = {} if form is None else form.fields()
        return [fields[name][0] if name in fields else None for name in words[2:]]

    def _json_get(self, words: list[bytes]) -> Any:
        form = self._get(words[1])
        if form is None:
            return None
        return form.content if form.kind == "json" else _refused("Existing key has wrong Redis type")

    def _pexpiretime(self, words: list[bytes]) -> int:
        form = self._get(words[1])
        return -2 if form is None else _milliseconds(form.lifetime)

    def _hpexpiretime(self, words: list[bytes]) -> Any:
        form = self._get(words[1])
        if form is not None and form.kind != "hash":
            return _refused(_WRONG_TYPE)
        fields = {} if form is None else form.fields()
        return [_milliseconds(fields[name][1]) if name in fields else -2 for name in words[4:]]

    def _time(self, _: list[bytes]) -> list[bytes]:
        return [b"%d" % self.clock, b"1000"]

    def _info(self, words: list[bytes]) -> bytes:
        if words[1] == b"stats":
            return b"# Stats\r\nevicted_keys:%d\r\n" % self._evicted
        if words[1] == b"server":
            return b"# Server\r\nrun_id:%b\r\n" % RUN_ID
        expiring = sum(
            form.kind == "hash" and any(moment != NEVER for _, _, moment in form.content)
            for form in self.keys.values()
        )
        return b"# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0,subexpiry=%d\r\n" % expiring

    # Writes.

    def _hash(self, key: bytes) -> tuple[dict[bytes, tuple[bytes, int]], int] | None:
        """A hash's fields and its lifetime, none where nothing is; None for another type."""
        form = self._get(key)
        if form is None:
            return {}, NEVER
        return (form.fields(), form.lifetime) if form.kind == "hash" else None

    def _hset(self, words: list[bytes]) -> Any:
        found = self._hash(words[1])
        if found is None:
            return _refused(_WRONG_TYPE)
        for name, value in zip(words[2::2], words[3::2], strict=True):
            found[0][name] = value, NEVER
        self._put(words[1], hash_of(*found))
        return 1

    def _hdel(self, words: list[bytes]) -> Any:
        found = self._hash(words[1])
        if found is None:
            return _refused(_WRONG_TYPE)
        for name in words[2:]:
            found[0].pop(name, None)
        self._put(words[1], hash_of(*found))
        return 1

    def _hpexpireat(self, words: list[bytes]) -> Any:
        return self._set_moments(words[1], words[5:], int(words[2]) // SECOND_MS)

    def _hpersist(self, words: list[bytes]) -> Any:
        return self._set_moments(words[1], words[4:], NEVER)

    def _set_moments(self, key: bytes, names: list[bytes], moment: int) -> Any:
        found = self._hash(key)
        if found is None:
            return _refused(_WRONG_TYPE)
        for name in names:
            if name in found[0]:
                found[0][name] = found[0][name][0], moment
        self._put(key, hash_of(*found))
        return [1] * len(names)

    def _pexpireat(self, words: list[bytes]) -> int:
        return self._set_lifetime(words[1], int(words[2]) // SECOND_MS)

    def _persist(self, words: list[bytes]) -> int:
        return self._set_lifetime(words[1], NEVER)

    def _set_lifetime(self, key: bytes, moment: int) -> int:
        form = self._get(key)
        if form is None:
            return 0
        self._put(key, form._replace(lifetime=moment))
        return 1

    def _delete(self, words: list[bytes]) -> int:
        for key in words[1:]:
            self._put(key, None)
        return 1

    def _set(self, words: list[bytes]) -> str:
        for key, value in zip(words[1::2], words[2::2], strict=True):
            self._put(key, Form("string", value))
        return "OK"

    def _json_set(self, words: list[bytes]) -> Any:
        form = self._get(words[1])
        if form is not None and form.kind != "json":
            return _refused("Existing key has wrong Redis type")
        self._put(words[1], Form("json", words[3], NEVER if form is None else form.lifetime))
        return "OK"


def _milliseconds(moment: int) -> int:
    return NEVER if moment == NEVER else moment * SECOND_MS


_READS: dict[bytes, Callable[[Server, list[bytes]], Any]] = {
    b"EXISTS": Server._exists,
    b"MGET": Server._mget,
    b"GET": lambda server, words: server._string(words[1]),
    b"HGETALL": Server._hgetall,
    b"HMGET": Server._hmget,
    b"JSON.GET": Server._json_get,
    b"PEXPIRETIME": Server._pexpiretime,
    b"HPEXPIRETIME": Server._hpexpiretime,
    b"TIME": Server._time,
    b"INFO": Server._info,
}
_WRITES: dict[bytes, Callable[[Server, list[bytes]], Any]] = {
    b"HSET": Server._hset,
    b"HDEL": Server._hdel,
    b"HPEXPIREAT": Server._hpexpireat,
    b"HPERSIST": Server._hpersist,
    b"PEXPIREAT": Server._pexpireat,
    b"PERSIST": Server._persist,
    b"DEL": Server._delete,
    b"UNLINK": Server._delete,
    b"SET": Server._set,
    b"MSET": Server._set,
    b"JSON.SET": Server._json_set,
}
