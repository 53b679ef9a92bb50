"""When writers count as ahead of a run, and when that is told or ends it."""

from __future__ import annotations

import pytest

from redismigrate.execution.pace.busy_writers import Backlog, BusyWriters, WritersAhead


class Clock:
    """Looks ten times a second for so long: what waits, what was written, and what was converted."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.writers = BusyWriters(self.told.append)
        self.now = self.written = self.done = self.waiting = 0.0

    def run(
        self,
        seconds: float,
        written: float,
        done: float,
        *,
        grows: float = 0.0,
        is_passing: bool = False,
        limit: float | None = None,
    ) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.written += written / 10
            self.done += done / 10
            self.waiting = max(0.0, self.waiting + grows / 10)
            backlog = Backlog(int(self.waiting), int(self.written), int(self.done), is_passing)
            self.writers.look("products", backlog, limit, self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_run_that_keeps_up_is_never_told_of(clock: Clock) -> None:
    clock.waiting = 40
    clock.run(600, 2000, 2000, limit=5)
    assert clock.told == []
    assert clock.writers.text is None


def test_it_is_told_after_half_a_minute_and_again_when_that_has_doubled(clock: Clock) -> None:
    clock.waiting = 5000
    clock.run(200, 3000, 300)
    assert [text.split(" for ")[1].split(" s now")[0] for text in clock.told] == ["30", "60", "120"]
    assert "5,000 keys wait, 3,000 a second are written and 300 converted" in clock.told[0]
    assert clock.writers.text is not None


def test_a_limit_ends_it(clock: Clock) -> None:
    clock.waiting = 5000
    with pytest.raises(WritersAhead) as ended:
        clock.run(60, 3000, 300, limit=20)
    assert clock.now == pytest.approx(22, abs=1)
    assert "the run may wait 20 s" in ended.value.message
    assert "--max-wait" in (ended.value.hint or "")


def test_what_is_worked_off_does_not_end_however_long_it_takes(clock: Clock) -> None:
    clock.waiting = 300_000
    for _ in range(10):
        clock.run(15, 100, 10_000, grows=-clock.waiting / 28, limit=20)
    assert clock.told == []


def test_while_all_documents_are_passed_over_only_the_rates_count(clock: Clock) -> None:
    clock.run(3600, 900, 1000, grows=80, is_passing=True, limit=60)
    assert clock.told == []
    with pytest.raises(WritersAhead):
        clock.run(100, 1000, 300, grows=80, is_passing=True, limit=60)


def test_what_is_paused_is_not_ahead(clock: Clock) -> None:
    clock.waiting = 5000
    clock.run(15, 3000, 300, limit=20)
    clock.now += 600
    clock.run(15, 3000, 300, limit=20)


def test_another_follower_counts_anew(clock: Clock) -> None:
    clock.waiting = 50
    clock.run(10, 1000, 1000)
    clock.written = clock.done = 0
    clock.run(30, 1000, 1000, limit=5)
    assert clock.told == []


def test_writers_may_be_ahead_of_an_index(clock: Clock) -> None:
    def scan(seconds: int, scanned: int, written: int) -> None:
        for _ in range(seconds):
            clock.now += 1
            clock.done += scanned
            clock.written += written
            left, done = int(100_000 - clock.done), int(clock.done)
            clock.writers.look_at_index("products", left, done, int(clock.written), 30, clock.now)

    scan(100, scanned=900, written=100)
    with pytest.raises(WritersAhead) as ended:
        scan(60, scanned=100, written=900)
    assert "ahead of the index that is built for products" in ended.value.message
    assert "900 a second are written and 100 looked at" in ended.value.message


def test_passes_over_what_was_written_meanwhile_may_take_too_long(clock: Clock) -> None:
    clock.writers.look_at_pass("products", 500, 10.0, 20)
    with pytest.raises(WritersAhead, match="500 documents"):
        clock.writers.look_at_pass("products", 500, 21.0, 20)
