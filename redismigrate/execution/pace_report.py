"""What the `:progress` document says of the speed of a run, and how long the rest of it will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from redismigrate.planning.plan import Step

RATE_SECONDS = 10.0


class PaceReport(BaseModel):
    """How fast a run is, and what holds it up.

    Attributes:
        rate: Documents in a second, over the last ten.
        latency_ms: Milliseconds of a round trip to the server, 99th percentile; None when not measured yet.
        brakes: The limits that are exceeded now, each with its numbers.
        is_paused: No batch of documents is begun.
        is_cutover_postponed: All is done but the cutover, which is put off.
        writers: That writers are ahead of the run, and by how much; None while they are not.
        build: How far the server's own build is slowed down, or why it can't be; None where nothing asks.
        seconds_left: Of the revision at work, estimated; None when that can't be told.
    """

    model_config = ConfigDict(frozen=True)

    rate: float = 0.0
    latency_ms: float | None = None
    brakes: tuple[str, ...] = ()
    is_paused: bool = False
    is_cutover_postponed: bool = False
    writers: str | None = None
    build: str | None = None
    seconds_left: float | None = None


class Rate:
    """Counts documents of one step over the last seconds.

    Args:
        now: When the step begins.
    """

    def __init__(self, now: float) -> None:
        self._counts: deque[tuple[float, int]] = deque([(now, 0)])

    def note(self, documents: int, now: float) -> None:
        """So many are done by now. With fewer than before another pass has begun."""
        if documents < self._counts[-1][1]:
            self._counts.clear()
        self._counts.append((now, documents))
        while len(self._counts) > 1 and self._counts[1][0] <= now - RATE_SECONDS:
            self._counts.popleft()

    def per_second(self, now: float) -> float:
        """Documents in a second, up to now: it falls while nothing is done."""
        begun_at, before = self._counts[0]
        return (self._counts[-1][1] - before) / (now - begun_at) if now > begun_at else 0.0


def seconds_left(
    steps: Sequence[Step], position: int, documents: int, rate: float, most_per_second: float | None
) -> float | None:
    """How long the rest of a revision will take.

    Args:
        steps: All its steps.
        position: The step at work.
        documents: How many documents of it are left.
        rate: Documents in a second.
        most_per_second: What the run may do of them; None for no limit.

    Returns:
        Seconds; None when the step at work does not move.
    """
    here = 0.0
    if documents > 0:
        if rate <= 0:
            return None
        here = documents / rate
    for step in steps[position + 1 :]:
        limited = 0.0
        if most_per_second and step.life.has("keeps_to_rate"):
            limited = step.estimate.documents / most_per_second
        here += max(step.estimate.seconds, limited)
    return here
