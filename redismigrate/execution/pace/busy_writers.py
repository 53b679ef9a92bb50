"""Tells when writers are ahead of a run that follows them, and ends it where it would wait for too long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from redismigrate.errors import RedisMigrateError

# Rates are those of so many seconds, and are believed once they are of some.
_WINDOW_SECONDS = 10.0
SHORTEST_WINDOW_SECONDS = 2.0
SAMPLE_SECONDS = 0.2
# A backlog that is worked off so soon is none.
LAG_SECONDS = 1.0
FIRST_TOLD_SECONDS = 30.0
TOLD_AGAIN_FACTOR = 2.0
WAYS_OUT = (
    "pause writers, let the run end after a time with `redismigrate status --set max-wait=SECONDS`, or take "
    "another strategy"
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far behind the application's writes a follower is.

    Attributes:
        waiting: Keys that were written and are not synchronised yet; its own writes may be among them.
        written: Writes that others have made so far, about.
        converted: Documents that it has written so far.
        is_passing: It is passing over all documents, and what waits has to wait until that is over.
    """

    waiting: int
    written: int
    converted: int
    is_passing: bool


class WritersAhead(RedisMigrateError):
    """Writers were ahead of a run for longer than it may wait."""

    exit_code = 1


class Race:
    """Measures what writers write against what a run gets done, and since when they have been ahead.

    They are no longer ahead when what waits is worked off within a second. And what gets less and less ends
    some time: whenever half of it is left, the time begins anew. So it does when nobody has looked for long,
    as while the run is paused.

    Attributes:
        left: What waits, by the last look.
        written_rate: Writes in a second.
        done_rate: What is done in a second.
        text: That writers are ahead, and by how much; None while they are not.
        told_at: After how many seconds that is told the next time.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()
        self._since: float | None = None
        self._left_then = 0
        self.written_rate = self.done_rate = 0.0
        self.left = 0
        self.text: str | None = None
        self.told_at = FIRST_TOLD_SECONDS

    def look(self, now: float, left: int, written: int, done: int, *, by_rate: bool) -> float:
        """For how many seconds writers have been ahead; 0 if they are not.

        Args:
            now: Of a monotonic clock, seconds.
            left: What waits to be done.
            written: Writes so far.
            done: What is done so far.
            by_rate: They are ahead if they write faster than is done; else if too much waits.
        """
        samples, self.left = self._samples, left
        if samples and now - samples[-1][0] > _WINDOW_SECONDS:
            samples.clear()
            self._since = None
        if samples and (written < samples[-1][1] or done < samples[-1][2]):
            samples.clear()  # somebody else counts by now
        if not samples or now - samples[-1][0] >= SAMPLE_SECONDS:
            samples.append((now, written, done))
        while len(samples) > 1 and samples[1][0] <= now - _WINDOW_SECONDS:
            samples.popleft()
        begun, written_then, done_then = samples[0]
        seconds = now - begun
        if seconds < SHORTEST_WINDOW_SECONDS:
            return 0.0 if self._since is None else now - self._since
        self.written_rate = (written - written_then) / seconds
        self.done_rate = (done - done_then) / seconds
        if by_rate:
            is_ahead = self.written_rate > self.done_rate
        else:
            is_ahead = left > max(1.0, self.done_rate) * LAG_SECONDS
        if not is_ahead:
            self._since = None
            return 0.0
        if self._since is None or 2 * left <= self._left_then:
            self._since, self._left_then = now, left
        # What waits behind a pass over all documents grows until that is over.
        self._left_then = max(self._left_then, left) if by_rate else self._left_then
        return now - self._since


class BusyWriters:
    """Watches writers on behalf of a run.

    Args:
        warn: Told that they are ahead: after half a minute, and again each time that this has doubled.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._documents, self._index, self._passes = Race(), Race(), Race()

    @property
    def text(self) -> str | None:
        """That writers are ahead, and by how much; None while they are not."""
        return self._documents.text or self._index.text or self._passes.text

    def look(self, index: str, backlog: Backlog, limit_seconds: float | None, now: float) -> None:
        """Look how far behind the conversion of documents is.

        Args:
            index: The served name.
            backlog: What waits.
            limit_seconds: For how long writers may be ahead; None for as long as they are.
            now: Of a monotonic clock, seconds.

        Raises:
            WritersAhead: They have been for that long.
        """
        race = self._documents
        seconds = race.look(
            now, backlog.waiting, backlog.written, backlog.converted, by_rate=backlog.is_passing
        )
        self._judge(
            race,
            seconds,
            f"writers of {index} are ahead: {race.left:,} keys wait, {race.written_rate:,.0f} a second are "
            f"written and {race.done_rate:,.0f} converted",
            limit_seconds,
        )

    def look_at_index(
        self, index: str, left: int, scanned: int, written: int, limit_seconds: float | None, now: float
    ) -> None:
        """Look how far behind the scan of an index is.

        Args:
            index: The served name.
            left: Keys that it has not scanned.
            scanned: Keys that it has.
            written: Writes so far.
            limit_seconds: As for `look`.
            now: As for `look`.

        Raises:
            WritersAhead: Writers have been ahead for that long.
        """
        race = self._index
        seconds = race.look(now, left, written, scanned, by_rate=True)
        self._judge(
            race,
            seconds,
            f"writers are ahead of the index that is built for {index}: it has {left:,} keys to look at, "
            f"{race.written_rate:,.0f} a second are written and {race.done_rate:,.0f} looked at",
            limit_seconds,
        )

    def look_at_pass(self, index: str, found: int, seconds: float, limit_seconds: float | None) -> None:
        """Look at passes that convert what was written during the one before.

        Args:
            index: The served name.
            found: Documents that the last one has found.
            seconds: Since the first one has begun.
            limit_seconds: As for `look`.

        Raises:
            WritersAhead: That is for too long.
        """
        rate = found / seconds if seconds else 0.0
        self._judge(
            self._passes,
            seconds,
            f"writers of {index} are ahead: the last pass has found {found:,} documents that were written "
            f"meanwhile, and {rate:,.0f} a second are converted",
            limit_seconds,
        )

    def _judge(self, race: Race, seconds: float, text: str, limit_seconds: float | None) -> None:
        race.text = f"{text}, for {seconds:.0f} s" if seconds >= LAG_SECONDS else None
        if limit_seconds is not None and seconds >= limit_seconds:
            raise WritersAhead(
                f"{text[0].upper()}{text[1:]}, and that for {seconds:.0f} s; the run may wait "
                f"{limit_seconds:g} s.",
                "Pause writers, let it wait for longer with --max-wait SECONDS, or take another strategy.",
            )
        if seconds < LAG_SECONDS:
            race.told_at = FIRST_TOLD_SECONDS
        elif seconds >= race.told_at:
            self._warn(f"{text}, for {seconds:.0f} s now; {WAYS_OUT}")
            race.told_at = seconds * TOLD_AGAIN_FACTOR
