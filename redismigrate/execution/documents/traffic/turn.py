"""One batch on one connection: watched, read, decided, and written if nobody else wrote meanwhile.

A batch is watched, with the fence, read, decided, and written in MULTI and EXEC. If one of its keys was
written, deleted or has expired meanwhile, EXEC does nothing and the batch is tried again in halves. That
costs the server less than comparing the values in Lua. So it is when the server refuses to read or to queue
because of one document: it is found and told, and the others are done.

EXEC does not undo what it did before a command of it was refused. So the replies are looked at one by one: no
refusal is taken for one of its neighbours, and the batch decides what has to follow it.

A transform that takes long runs before anything is watched: its batch is read twice, see `aside`.
"""

from __future__ import annotations

import re
import time
from collections import deque
from functools import lru_cache
from typing import Any, Generic

import hiredis
import redis

from redismigrate.documents.columns import FixedWidth
from redismigrate.execution.documents.traffic.aside import Aside, NotMadeYet
from redismigrate.execution.documents.traffic.decisions import (
    Asks,
    OutcomeT,
    Reader,
    Work,
    WritesT,
    Written,
)
from redismigrate.redis_server.wire import (
    Wire,
    concerns_one_document,
    first_refusal,
    raise_refusal,
    refusal,
    render,
)
from redismigrate.state.fence import Fence

# A single key that is written faster than it can be read is given up after so many attempts.
MOST_ATTEMPTS = 30
# At a batch before its parts are tried: a slow transform, one back and forth, and one more for what was
# written meanwhile. A single key of a slow batch is given up then.
MOST_LOOKS = 5
_UNWATCH = render(b"UNWATCH")
_MULTI = render(b"MULTI")
_EXEC = render(b"EXEC")
_KEYSPACE = render(b"INFO", b"keyspace")
# A server before 7.4 knows no such fields and says nothing of them.
_EXPIRING_FIELDS = re.compile(rb"^db0:.*subexpiry=(?!0\b)", re.MULTILINE)


class Turn(Generic[WritesT, OutcomeT]):
    """One batch on one connection: asked, written, finished.

    Args:
        wire: The connection.
        work: The batch.
        fence: Checked in every attempt.

    Attributes:
        wire: The connection.
        work: The batch.
        outcome: What became of it, once it is written.
        sent_at: When the writes were sent, by the monotonic clock.
        seconds: From then to the reply of the first attempt; 0 where there was nothing to write.
    """

    def __init__(self, wire: Wire, work: Work[WritesT, OutcomeT], fence: Fence) -> None:
        self.wire = wire
        self.work = work
        self.outcome = work.new_outcome()
        self.sent_at = 0.0
        self.seconds = 0.0
        self._fence = fence
        self._part = work
        self._asks = Asks()
        self._aside = Aside()
        self._writes: WritesT | None = None
        # Why nothing of this part was written, where that concerns one document of it.
        self._refusal: Exception | None = None

    @property
    def has_written(self) -> bool:
        """Whether it had anything to write."""
        return self._writes is not None and self._writes.writes_anything

    def ask(self) -> None:
        """Watch, and ask for what has to be known; a slow batch is read before anything is watched."""
        self._send_asks(is_watched=not self._part.is_slow)

    def _send_asks(self, *, is_watched: bool) -> None:
        asks = self._part.asks()
        self._asks = asks if is_watched else asks._replace(watched=())
        self._aside.is_watched = is_watched
        # By itself: what is refused for one of the keys must not be taken for the fence.
        commands = render(b"WATCH", self._fence.key) if is_watched else _UNWATCH
        commands += render(b"GET", self._fence.key)
        if self._asks.watched:
            commands += render(b"WATCH", *asks.watched)
        if asks.replies:
            commands += _KEYSPACE + asks.commands
        self.wire.send(commands)

    def write(self) -> None:
        """Receive that, decide, and send the writes in one transaction.

        Raises:
            FenceLost: Another process has taken over the lock.
            redis.ResponseError: The server refused what it would refuse for every document.
        """
        self._writes = self._refusal = None
        for _ in range(MOST_LOOKS):
            self._require_fence()
            try:
                if self._decide():
                    break
            except NotMadeYet as missing:
                self.wire.send(_UNWATCH)
                raise_refusal(*self.wire.receive(1))
                self._aside.is_watched = False
                missing.make()
            except redis.ResponseError as error:
                if not concerns_one_document(error):
                    raise
                self._refusal = error
                break
            self._send_asks(is_watched=True)
        else:
            self._require_fence()
            self._receive_asked()
        self.sent_at = time.monotonic()
        writes = self._writes
        if writes is None or not writes.writes_anything:
            self.wire.send(_UNWATCH)
            return
        self.wire.send(b"".join([_MULTI, *writes.pieces, writes.last or b"", _EXEC]))

    def _require_fence(self) -> None:
        watched, token = self.wire.receive(2, precedes_column=self._asks.is_column)
        raise_refusal(watched, token)
        self._fence.require(token)

    def _receive_asked(self) -> tuple[list[Any], FixedWidth | list[Any]]:
        """Receive what was asked for: the replies to WATCH and INFO, and those to the commands that read."""
        asks = self._asks
        heads = self.wire.receive(bool(asks.watched) + bool(asks.replies), precedes_column=asks.is_column)
        receive = self.wire.receive_column if asks.is_column else self.wire.receive
        return heads, receive(asks.replies)

    def _decide(self) -> bool:
        """Decide by what was asked for; False where it was not watched, and has to be asked for again.

        Raises:
            NotMadeYet: Something has to be made first.
            redis.ResponseError: The server refused to read.
        """
        heads, replies = self._receive_asked()
        raise_refusal(*heads)
        fields_expire = bool(self._asks.replies) and _EXPIRING_FIELDS.search(heads[-1]) is not None
        reader = Reader(self.wire, fields_expire, self._aside)
        if not self._aside.is_watched:
            self._part.prepare(replies, reader)
            return False
        self._writes = self._part.decide(replies, reader)
        return True

    def is_done(self) -> bool:
        """Receive what became of the writes; False when nothing is decided yet, and they are to be repeated.

        One of the keys was written meanwhile, or a document was refused and it is not known which one.

        Raises:
            redis.ResponseError: The server refused what it would refuse for every document.
        """
        writes = self._writes
        if writes is None or not writes.writes_anything:
            raise_refusal(*self.wire.receive(1))
        if writes is None:
            return self._refusal is not None and self._is_left(self._refusal)
        written: Written | None = Written()
        if writes.writes_anything and not self._is_all_as_usual(writes):
            written = self._written(writes)
        if written is None:
            return self._refusal is not None and self._is_left(self._refusal)
        self._part.take(writes, written, self.outcome)
        return True

    def _is_all_as_usual(self, writes: WritesT) -> bool:
        """Whether every reply is the one that comes as a rule, which needs no parsing."""
        if writes.usual_reply is None or writes.last is not None:
            return False
        return self.wire.receive_exactly(_all_usual(writes.commands, writes.usual_reply))

    def _written(self, writes: WritesT) -> Written | None:
        """What became of the writes; None where nothing is decided, with the refusal if there is one."""
        # OK for MULTI, QUEUED for each command, and the results.
        *queued, results = self.wire.receive(writes.commands + (writes.last is not None) + 2)
        refused = first_refusal(queued)
        if refused is not None:  # EXEC has done nothing then
            self._refusal = refused
            return None
        raise_refusal(results)
        if results is None:
            return None
        answers = results.pop() if writes.last is not None else ()
        reasons = self._refused_inside(writes, results)
        if isinstance(answers, hiredis.ReplyError):
            # What was written stays, and is as wanted when the documents are looked at again.
            self._refusal = answers
            return None
        return Written(reasons, answers)

    def _refused_inside(self, writes: WritesT, results: list[object]) -> dict[bytes, str]:
        """The documents of which a command was refused inside of EXEC, once what has to follow is done."""
        if first_refusal(results) is None:
            return {}
        owners = writes.owner_of_each()
        refused = [
            (owner, reply)
            for owner, reply in zip(owners, results, strict=True)
            if isinstance(reply, hiredis.ReplyError)
        ]
        named = {owner: reply for owner, reply in refused if owner}
        commands = self._part.undo_refused(writes, named)
        if commands:
            self.wire.send(b"".join([_MULTI, *commands, _EXEC]))
            self.wire.receive(len(commands) + 2)
        reasons = {owner: refusal(reply) or "" for owner, reply in named.items()}
        raise_refusal(*(reply for owner, reply in refused if not owner))
        return reasons

    def _is_left(self, error: Exception) -> bool:
        """Name the document that was refused where it is alone.

        Raises:
            redis.ResponseError: The server would refuse the others as well.
        """
        reason = refusal(error) or ""
        if len(self._part.keys) != 1:
            return False
        self._part.refuse(self._part.keys[0], reason, self.outcome)
        return True

    def repeat(self) -> None:
        """Try again, in ever smaller batches."""
        attempts = 0
        work = deque([self.work])
        while work:
            self._part = part = work.popleft()
            self.ask()
            self.write()
            if self.is_done():
                continue
            attempts += self._refusal is None
            size = len(part.keys)
            if size > 1:
                half = size // 2
                work.extendleft((part.part(half, size), part.part(0, half)))
            elif not part.is_slow and attempts < MOST_ATTEMPTS + len(self.work.keys):
                work.append(part)
            else:
                part.give_up(self.outcome)


@lru_cache(maxsize=16)
def _all_usual(commands: int, reply: bytes) -> bytes:
    """The replies to a transaction of so many commands, each of which is answered with the same."""
    return b"+OK\r\n%s*%d\r\n%s" % (b"+QUEUED\r\n" * commands, commands, reply * commands)
