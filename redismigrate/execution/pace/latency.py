"""How long a round trip to the server takes by now, as a client of the application would see it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from contextlib import closing

import redis

from redismigrate.errors import RedisMigrateError
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import Wire, raise_refusal, render

PING_SECONDS = 0.02
# Without a limit it is only shown.
UNHURRIED_PING_SECONDS = 0.1
WINDOW_SECONDS = 2.0
RECONNECT_SECONDS = 1.0
PERCENTILE = 0.99
_PING = render(b"PING")


class LatencyWindow:
    """The round trips of the last seconds, one for every moment at which one was due.

    While the server is blocked no further PING is sent. Those that were due meanwhile would have taken what
    was left of that time, and are counted so: else a server that is blocked for half of the time, half a
    second at once, would show in one of 26 samples. (Gil Tene, "How NOT to Measure Latency", calls the
    mistake coordinated omission.)

    Attributes:
        interval_seconds: Between two moments.
    """

    def __init__(self, interval_seconds: float = PING_SECONDS) -> None:
        self.interval_seconds = interval_seconds
        self._samples: deque[tuple[float, float]] = deque()
        self._asked_at: float | None = None
        self._lock = threading.Lock()

    def asked(self, at: float) -> None:
        """A PING is sent now."""
        with self._lock:
            self._asked_at = at

    def answered(self, at: float) -> None:
        """The server has answered the PING."""
        with self._lock:
            if self._asked_at is not None:
                self._samples.extend(self._due(self._asked_at, at))
            self._asked_at = None
            while self._samples and self._samples[0][0] < at - WINDOW_SECONDS:
                self._samples.popleft()

    def lost(self) -> None:
        """The PING will not be answered."""
        with self._lock:
            self._asked_at = None

    def percentile(self, now: float, since: float = 0.0) -> tuple[float, int]:
        """The 99th percentile in seconds, the PING under way included, and of how many samples it is.

        Args:
            now: The present moment, of the monotonic clock.
            since: Older samples don't count.
        """
        since = max(since, now - WINDOW_SECONDS)
        with self._lock:
            seconds = [taken for at, taken in self._samples if at >= since]
            if self._asked_at is not None and now - self._asked_at > self.interval_seconds:
                seconds += [taken for at, taken in self._due(self._asked_at, now) if at >= since]
        if not seconds:
            return 0.0, 0
        seconds.sort()
        return seconds[math.ceil(PERCENTILE * len(seconds)) - 1], len(seconds)

    def _due(self, asked_at: float, answered_at: float) -> list[tuple[float, float]]:
        """The samples of one PING, oldest first: its own, and those of the ones that were due meanwhile."""
        missed = int((answered_at - asked_at) / self.interval_seconds)
        # What lies before the window need not be counted.
        first = max(0, missed - int(WINDOW_SECONDS / self.interval_seconds))
        moments = [asked_at + number * self.interval_seconds for number in range(first, missed + 1)]
        return [(at, answered_at - at) for at in moments]


class LatencyProbe:
    """Owns the connection and the thread that send PINGs.

    A server that can't be reached is not slow: it shows where the run itself talks to it.

    Args:
        server: The connection that this one is a copy of.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._window = LatencyWindow(UNHURRIED_PING_SECONDS)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, interval_seconds: float) -> None:
        """Send PINGs from now on, or more often or less often than up to now."""
        self._window.interval_seconds = interval_seconds
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="redismigrate-latency", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Send no more probes, and close their connection."""
        self._stop.set()
        if self._thread is not None:
            # A server that hangs must not hold up the end; the thread is a daemon.
            self._thread.join(timeout=1.0)
            self._thread = None

    def percentile_ms(self, since: float = 0.0) -> tuple[float, int]:
        """The 99th percentile in milliseconds since a moment, and of how many samples it is."""
        seconds, count = self._window.percentile(time.monotonic(), since)
        return seconds * 1000, count

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._server.translated_errors(), closing(Wire(self._server.client)) as wire:
                    self._ping(wire)
            except (redis.RedisError, RedisMigrateError):
                self._window.lost()
                self._stop.wait(RECONNECT_SECONDS)

    def _ping(self, wire: Wire) -> None:
        while not self._stop.is_set():
            asked_at = time.monotonic()
            self._window.asked(asked_at)
            wire.send(_PING)
            (reply,) = wire.receive(1)
            answered_at = time.monotonic()
            raise_refusal(reply)
            self._window.answered(answered_at)
            self._stop.wait(max(0.0, asked_at + self._window.interval_seconds - answered_at))
