"""Lets a run go only as fast as its limits allow: every batch of documents is admitted here first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from redismigrate.errors import RunInterrupted
from redismigrate.execution.pace.batch_size import BatchSize, TokenBucket
from redismigrate.execution.pace.brakes import Brake, ServerLoad
from redismigrate.execution.pace.busy_writers import Backlog, BusyWriters
from redismigrate.execution.pace.latency import PING_SECONDS, UNHURRIED_PING_SECONDS, LatencyProbe
from redismigrate.execution.pace_report import PaceReport, Rate, seconds_left
from redismigrate.execution.run import Run
from redismigrate.redis_server.connection import Server
from redismigrate.state.control import begun_with, read_control
from redismigrate.state.keys import StateKeys

_LOOK_SECONDS = 1.0
_POLL_SECONDS = 0.02
# A brake is let go when so many round trips in a row, made while the run waited, are within the limit.
SETTLED_SAMPLES = 10
# A round trip above the critical limit for so long, while the run waits, is not the run's doing.
CRITICAL_SECONDS = 10.0
# Brakes come and go with batches; one that stays for so long is worth a line.
TOLD_AFTER_SECONDS = 5.0
PAUSED = "the run is paused; `redismigrate status --resume` lets it go on"
POSTPONED = "the cutover is postponed; `redismigrate status --set postpone-cutover=off` lets it go on"


def _nothing() -> None:
    """What there is to do while a cutover is postponed, and before a batch, if nobody says otherwise."""


class Pace:
    """Owns what a run measures of the server, and makes it wait where that is over a limit.

    It is asked from one thread. Once a second it reads `:control`, so that limits can be changed at any time.

    Args:
        server: The connection.
        keys: The project's keys.
        run: Gives the run as it is now.
        beat: Writes a sign of life if the last one is a second old; called all the time while the run waits.
        warn: Is told of what holds the run up for longer.
        at_safe_point: Called before every batch, and all the time while the run waits; may end it by raising.
    """

    def __init__(
        self,
        server: Server,
        keys: StateKeys,
        run: Callable[[], Run],
        beat: Callable[[], None],
        warn: Callable[[str], None],
        at_safe_point: Callable[[], None] = _nothing,
    ) -> None:
        self._server, self._keys = server, keys
        self._run, self._beat, self._warn = run, beat, warn
        self._at_safe_point = at_safe_point
        now = time.monotonic()
        self._control = begun_with(run().arguments)
        self._most = int(run().arguments.get("batch_size", 1))
        self._next_look, self._is_first_look = 0.0, True
        self._probe, self._load, self._rate = LatencyProbe(server), ServerLoad(server), Rate(now)
        self._bucket = TokenBucket(now)
        self._reads, self._writes = BatchSize(), BatchSize()
        self._load_brakes: tuple[Brake, ...] = ()
        self._latency_brake: Brake | None = None
        self._critical_brake: Brake | None = None
        self._settles_since = self._critical_since = 0.0
        self._is_at_cutover = False
        self._writers = BusyWriters(warn)

    def close(self) -> None:
        """End the probes that measure the server."""
        self._probe.close()

    def in_batches(self, batches: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
        """The same keys, each batch when it may be read, in smaller ones where limits ask for that.

        Raises:
            RunInterrupted: The critical limit was exceeded for too long.
            ConnectionFailed: The server can't be reached.
        """
        self._reads = BatchSize()
        for keys in batches:
            start, count = 0, len(keys)
            while start < count:
                size = self._admit(count - start, self._reads)
                self._reads.grow(self._most)
                yield keys if size == count else keys[start : start + size]
                start += size

    def begin_writes(self) -> None:
        """Another pass of writes begins: what its documents cost is not known."""
        self._writes = BatchSize()

    def admit(self, documents: int) -> int:
        """Wait until a batch may be written.

        Args:
            documents: That are to be written.

        Returns:
            How many of them may be written now; ask again for the others.

        Raises:
            RunInterrupted: The critical limit was exceeded for too long.
            ConnectionFailed: The server can't be reached.
        """
        return self._admit(documents, self._writes)

    def is_held(self, documents: int) -> bool:
        """Whether `admit` would wait.

        Raises:
            RunInterrupted: The critical limit was exceeded for too long.
        """
        return self._holds(documents, self._writes)

    def took(self, seconds: float) -> None:
        """A batch that has written something took so long, from when it was sent to its reply.

        Others don't tell what the next one costs: a run that is taken up passes over what is done.
        """
        limit = self._control.max_latency_ms
        if limit is None:
            return
        if seconds * 1000 > limit:
            self._writes.shrink(limit / (seconds * 1000))
        else:
            self._writes.grow(self._most)

    def look_at_writers(self, index: str, backlog: Backlog) -> None:
        """Look how far behind writers the second forms of an index are.

        Raises:
            WritersAhead: They have been ahead for longer than the run may wait.
        """
        self._look_if_due()
        self._writers.look(index, backlog, self._max_wait_seconds, time.monotonic())

    def look_at_index(self, index: str, left: int, scanned: int, written: int) -> None:
        """Look how far behind writers the scan of an index is.

        Args:
            index: The served name.
            left: Keys that it has not scanned.
            scanned: Keys that it has.
            written: Writes so far.

        Raises:
            WritersAhead: They have been ahead for longer than the run may wait.
        """
        self._look_if_due()
        self._writers.look_at_index(index, left, scanned, written, self._max_wait_seconds, time.monotonic())

    def look_at_pass(self, index: str, found: int, seconds: float) -> None:
        """Look whether another pass over what writers have written may begin.

        Args:
            index: The served name.
            found: Documents that the last pass has found.
            seconds: Since the first one has begun.

        Raises:
            WritersAhead: That is longer than the run may wait.
        """
        self._look_if_due()
        self._writers.look_at_pass(index, found, seconds, self._max_wait_seconds)

    def over_latency(self) -> Brake | None:
        """The limit of the latency, if there is one and it is exceeded: for who waits for the server.

        Raises:
            ConnectionFailed: The server can't be reached.
        """
        self._look_if_due()
        limit = self._control.max_latency_ms
        self._latency_brake = None if limit is None else self._over_latency(limit, time.monotonic())
        return self._latency_brake

    @property
    def _max_wait_seconds(self) -> float | None:
        """For how long writers may be ahead. What is being undone has to be undone however long it takes."""
        return self._control.max_wait_seconds if self._run().failure is None else None

    def begin_step(self) -> None:
        """Another step begins. Blocks while the run is paused: the step may take an index away."""
        self._rate = Rate(time.monotonic())
        self._latency_brake = self._critical_brake = None
        self._look_if_due()
        if self._control.paused:
            self._warn(PAUSED)
            while self._control.paused:
                self._idle()

    def wait_for_cutover(self, meanwhile: Callable[[], object] = _nothing) -> None:
        """Block while the cutover is postponed or the run is paused, giving signs of life.

        To be called when all else is done, right before the served name moves to its new index.

        Args:
            meanwhile: Called all the time.

        Raises:
            ConnectionFailed: The server can't be reached.
            FenceLost: Another process has taken over.
        """
        self._look(time.monotonic())
        if not (self._control.postpone_cutover or self._control.paused):
            return
        self._warn(POSTPONED if self._control.postpone_cutover else PAUSED)
        self._is_at_cutover = True
        try:
            while self._control.postpone_cutover or self._control.paused:
                self._idle()
                meanwhile()
        finally:
            self._is_at_cutover = False

    def count(self, documents: int) -> None:
        """So many documents of the step are done by now."""
        self._rate.note(documents, time.monotonic())

    def report(self) -> PaceReport:
        """What the run tells of its speed."""
        self._look_if_due()
        run, most = self._run(), self._control.max_docs_per_second
        documents, of = run.progress or (0, 0)
        rate = self._rate.per_second(time.monotonic())
        latency, samples = self._probe.percentile_ms()
        left = seconds_left(run.steps, run.position, of - documents, rate, most)
        return PaceReport(
            rate=round(rate, 1),
            latency_ms=round(latency, 2) if samples else None,
            brakes=tuple(map(str, self._brakes())),
            is_paused=self._control.paused,
            is_cutover_postponed=self._is_at_cutover and self._control.postpone_cutover,
            writers=self._writers.text,
            seconds_left=None if self._control.paused else left,
        )

    def _admit(self, documents: int, size: BatchSize) -> int:
        if self._holds(documents, size):
            self._wait(documents, size)
        control = self._control
        admitted = self._next_size(documents, size)
        if control.max_docs_per_second is not None:
            self._bucket.take(admitted)
        return admitted

    def _next_size(self, documents: int, size: BatchSize) -> int:
        """How many documents the next batch has."""
        control = self._control
        if control.max_latency_ms is not None:
            documents = size.of(documents)
        if control.max_docs_per_second is not None:
            documents = min(documents, TokenBucket.burst(control.max_docs_per_second))
        return documents

    def _holds(self, documents: int, size: BatchSize) -> bool:
        self._at_safe_point()
        self._look_if_due()
        if self._control.paused:
            self._latency_brake = self._critical_brake = None
            return True
        now = time.monotonic()
        limit, critical = self._control.max_latency_ms, self._control.critical_latency_ms
        self._latency_brake = None if limit is None else self._over_latency(limit, now)
        self._critical_brake = None if critical is None else self._over_critical(critical, now)
        if self._latency_brake or self._critical_brake or self._load_brakes:
            return True
        rate = self._control.max_docs_per_second
        if rate is None:
            return False
        return self._bucket.seconds_until(self._next_size(documents, size), rate, now) > 0

    def _wait(self, documents: int, size: BatchSize) -> None:
        started, is_told = time.monotonic(), False
        while self._holds(documents, size):
            is_long = time.monotonic() - started >= TOLD_AFTER_SECONDS
            if not is_told and (self._control.paused or (is_long and self._brakes())):
                brakes = ", ".join(map(str, self._brakes()))
                self._warn(PAUSED if self._control.paused else f"the run waits: {brakes}")
                is_told = True
            self._beat()
            time.sleep(_POLL_SECONDS)

    def _idle(self) -> None:
        self._at_safe_point()
        time.sleep(_POLL_SECONDS)
        self._look_if_due()
        self._beat()

    def _brakes(self) -> tuple[Brake, ...]:
        """Those that are on now."""
        # Of both limits of the latency the critical one tells more.
        latency = self._critical_brake or self._latency_brake
        return self._load_brakes if latency is None else (latency, *self._load_brakes)

    def _look_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._look(now)

    def _look(self, now: float) -> None:
        """Read what was changed from outside, and ask the server for what has a limit."""
        self._next_look = now + _LOOK_SECONDS
        run = self._run()
        self._control = read_control(self._server, self._keys, run.id, run.arguments)
        self._load_brakes = self._load.brakes(self._control, now)
        has_limit = self._control.max_latency_ms is not None or self._control.critical_latency_ms is not None
        if has_limit:
            self._probe.start(PING_SECONDS)
        elif not self._is_first_look:  # most runs are over before
            self._probe.start(UNHURRIED_PING_SECONDS)
        self._is_first_look = False

    def _over_latency(self, limit: float, now: float) -> Brake | None:
        brake = self._latency_brake
        # Once it waits, what was measured before would hold it for as long as the window of samples is.
        measured, samples = self._probe.percentile_ms(self._settles_since)
        if brake is None:
            if measured <= limit:
                return None
            self._settles_since = now
            self._reads.shrink()
            self._writes.shrink()
        elif not samples:
            return brake
        elif measured <= limit and samples >= SETTLED_SAMPLES:
            return None
        return Brake("latency", measured, limit, " ms")

    def _over_critical(self, limit: float, now: float) -> Brake | None:
        measured, _ = self._probe.percentile_ms()
        if measured <= limit:
            return None
        if self._critical_brake is None:
            self._critical_since = now
        elif now - self._critical_since >= CRITICAL_SECONDS:
            raise RunInterrupted(
                f"The run stopped: for {now - self._critical_since:.0f} seconds, in which it waited, a round "
                f"trip to Redis took {measured:,.0f} ms (99th percentile); critical are {limit:g} ms.",
                "Nothing is lost. Run the same command again when the server is well, or set another limit "
                "with `redismigrate status --set critical-latency=MS` before.",
            )
        return Brake("critical latency", measured, limit, " ms")
