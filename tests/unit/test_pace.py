"""What a run with limits takes from the server at a time, and how it measures what that does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.errors import UsageError
from redismigrate.execution.pace.batch_size import BatchSize, TokenBucket
from redismigrate.execution.pace.brakes import Brake, ReplicaLag
from redismigrate.execution.pace.latency import WINDOW_SECONDS, LatencyWindow
from redismigrate.execution.pace_report import Rate, seconds_left
from redismigrate.planning.plan import Estimate, Step
from redismigrate.state.control import Control, begun_with, settings_text
from redismigrate.state.limits import parse_setting

INTERVAL = 0.02
RATES = st.floats(1, 1e6)


def window_of(*round_trips: tuple[float, float]) -> LatencyWindow:
    """A window with PINGs: when each was asked, and how long it took."""
    window = LatencyWindow(INTERVAL)
    for asked_at, seconds in round_trips:
        window.asked(asked_at)
        window.answered(asked_at + seconds)
    return window


# Latency


def test_without_a_sample_nothing_is_measured():
    assert LatencyWindow(INTERVAL).percentile(100.0) == (0.0, 0)


def test_one_slow_round_trip_of_a_hundred_is_not_the_99th_percentile():
    quick = [(10 + number * INTERVAL, 0.001) for number in range(99)]
    window = window_of(*quick, (10 + 99 * INTERVAL, INTERVAL * 0.9))
    seconds, count = window.percentile(12.0)
    assert (pytest.approx(0.001), 100) == (seconds, count)


def test_two_slow_round_trips_of_a_hundred_are():
    quick = [(10 + number * INTERVAL, 0.001) for number in range(98)]
    window = window_of(*quick, (11.96, 0.015), (11.98, 0.015))
    assert window.percentile(12.0) == (pytest.approx(0.015), 100)


def test_a_blocked_server_counts_for_every_round_trip_that_was_due_meanwhile():
    window = window_of((10.0, 0.11))
    assert window.percentile(10.11) == (pytest.approx(0.11), 6)


def test_a_round_trip_under_way_counts_as_long_as_it_has_taken():
    window = window_of((10.0, 0.001))
    window.asked(10.02)
    assert window.percentile(10.03) == (pytest.approx(0.001), 1)
    assert window.percentile(11.03) == (pytest.approx(1.01), 52)


def test_a_round_trip_that_is_lost_counts_for_nothing():
    window = window_of((10.0, 0.001))
    window.asked(10.02)
    window.lost()
    assert window.percentile(11.0) == (pytest.approx(0.001), 1)


def test_old_round_trips_are_forgotten():
    window = window_of((10.0, 0.5), (11.0, 0.001))
    assert window.percentile(11.0, since=10.9) == (pytest.approx(0.001), 1)
    assert window.percentile(10.6 + WINDOW_SECONDS)[0] == pytest.approx(0.001)
    assert window.percentile(20.0) == (0.0, 0)


@given(st.floats(0, 3600))
def test_an_outage_of_any_length_makes_no_more_samples_than_a_window_has(seconds: float):
    window = window_of((10.0, seconds))
    measured, count = window.percentile(10.0 + seconds)
    assert count <= WINDOW_SECONDS / INTERVAL + 1
    assert measured <= seconds + 1e-9


# Sizes of batches


def test_batches_begin_with_one_document_and_grow_to_the_size_asked_for():
    size, sizes = BatchSize(), []
    for _ in range(80):
        sizes.append(size.of(500))
        size.grow(500)
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert sizes[60] == sizes[-1] == 500


def test_a_batch_that_took_too_long_says_how_large_the_next_one_may_be():
    size = BatchSize()
    for _ in range(80):
        size.grow(500)
    size.shrink(0.2)
    assert size.of(500) == 100
    size.shrink()
    assert size.of(500) == 50


@given(st.lists(st.one_of(st.none(), st.floats(0, 10))), st.integers(1, 1000))
def test_a_batch_has_at_least_one_document_and_never_more_than_asked_for(
    shares: list[float | None], most: int
):
    size = BatchSize()
    for share in shares:
        if share is None:
            size.grow(most)
        else:
            size.shrink(share)
        assert 1 <= size.of(most) <= most


@given(RATES, st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 0.5)), max_size=50))
def test_no_more_documents_are_admitted_than_the_rate_allows(rate: float, batches: list[tuple[int, float]]):
    now, bucket, taken, last = 1000.0, TokenBucket(1000.0), 0, 0
    for documents, pause in batches:
        now += pause
        size = min(documents, TokenBucket.burst(rate))
        now += bucket.seconds_until(size, rate, now) * (1 + 1e-9)
        bucket.take(size)
        taken, last = taken + size, size
    assert taken - last <= rate * (now - 1000) * (1 + 1e-6) + 1e-6


@given(RATES, RATES)
def test_another_rate_holds_at_once(before: float, after: float):
    bucket = TokenBucket(0.0)
    bucket.take(TokenBucket.burst(before))
    bucket.seconds_until(1, before, 0.0)
    missing = TokenBucket.burst(before) + TokenBucket.burst(after)
    assert bucket.seconds_until(TokenBucket.burst(after), after, 0.0) == pytest.approx(missing / after)


# Replicas


def replication(offset: int, *replicas: tuple[int, int], state: str = "online") -> dict[str, object]:
    """INFO replication of a server with replicas: the bytes each has taken, and seconds since it said so."""
    found: dict[str, object] = {"role": "master", "master_repl_offset": offset}
    for number, (taken, lag) in enumerate(replicas):
        found[f"slave{number}"] = {"ip": "10.0.0.1", "state": state, "offset": taken, "lag": lag}
    return found


def test_a_server_without_replicas_has_no_lag():
    assert ReplicaLag().seconds(replication(100), 10.0) == 0


def test_a_replica_that_says_nothing_is_behind_for_as_long_as_that():
    assert ReplicaLag().seconds(replication(100, (100, 0), (100, 7)), 10.0) == 7


def test_a_replica_that_answers_but_can_not_keep_up_is_behind_since_it_was_written_what_it_lacks():
    lag = ReplicaLag()
    assert lag.seconds(replication(1000, (1000, 0)), 10.0) == 0
    assert lag.seconds(replication(2000, (1500, 0)), 11.0) == 0
    assert lag.seconds(replication(3000, (1600, 0)), 12.0) == 1
    assert lag.seconds(replication(4000, (1700, 0)), 13.0) == 2
    assert lag.seconds(replication(4000, (4000, 0)), 14.0) == 0


def test_a_replica_that_is_being_synchronized_is_passed_over():
    assert ReplicaLag().seconds(replication(100, (0, 50), state="wait_bgsave"), 10.0) == 0


def test_a_server_that_begins_to_count_anew_makes_no_replica_late():
    lag = ReplicaLag()
    lag.seconds(replication(5000, (5000, 0)), 10.0)
    assert lag.seconds(replication(10, (10, 0)), 20.0) == 0


def test_a_brake_names_its_numbers():
    assert str(Brake("latency", 1234.56, 5.0, " ms")) == "latency 1,234.6 ms > 5 ms"


# What can be set


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max-latency=5", ("max_latency_ms", 5.0)),
        ("max_latency = 0.5", ("max_latency_ms", 0.5)),
        ("max-latency=off", ("max_latency_ms", None)),
        ("max-docs-per-second=2000", ("max_docs_per_second", 2000.0)),
        ("critical-latency=1000", ("critical_latency_ms", 1000.0)),
        ("max-replica-lag=10", ("max_replica_lag_seconds", 10.0)),
        ("max-memory=90", ("max_memory_percent", 90.0)),
        ("paused=on", ("paused", True)),
        ("postpone-cutover=off", ("postpone_cutover", False)),
    ],
)
def test_a_setting_is_given_as_name_and_value(text: str, expected: tuple[str, float | bool | None]):
    assert parse_setting(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "max-latency",
            "max-latency is nothing that can be set.",
            "Write NAME=VALUE with one of max-latency, ",
        ),
        ("speed=5", "speed=5 is nothing that can be set.", "Write NAME=VALUE with one of max-latency, "),
        ("max-latency=fast", "max-latency is fast.", "It has to be a number of at least 0.1, or off."),
        ("max-latency=0", "max-latency is 0.", "It has to be a number of at least 0.1, or off."),
        ("max-latency=nan", "max-latency is nan.", "It has to be a number of at least 0.1, or off."),
        ("max-latency=inf", "max-latency is inf.", "It has to be a number of at least 0.1, or off."),
        (
            "max-docs-per-second=0.5",
            "max-docs-per-second is 0.5.",
            "It has to be a number of at least 1, or off.",
        ),
        ("max-replica-lag=1", "max-replica-lag is 1.", "It has to be a number of at least 2, or off."),
        (
            "max-memory=101",
            "max-memory is 101.",
            "It has to be a number of at least 1 and at most 100, or off.",
        ),
        ("paused=yes", "paused is yes.", "It has to be on or off."),
    ],
)
def test_what_can_not_be_set_is_refused(text: str, message: str, hint: str):
    with pytest.raises(UsageError) as caught:
        parse_setting(text)
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)


def test_a_run_is_begun_with_the_limits_in_its_arguments():
    arguments = {"batch_size": 500, "max_latency_ms": 5.0, "postpone_cutover": True}
    assert begun_with(arguments) == Control(max_latency_ms=5.0, postpone_cutover=True)
    assert begun_with({}) == Control()


def test_what_a_later_version_can_set_is_passed_over():
    assert Control().with_changes({"max_temperature": 40, "paused": True}) == Control(paused=True)


def test_limits_are_shown_as_they_would_be_given():
    shown = settings_text(Control(max_latency_ms=5.0, max_memory_percent=90.0, paused=True))
    assert shown == "max-latency 5 ms, max-memory 90% of maxmemory, paused"
    assert settings_text(Control()) == ""


# How long it takes


def test_the_rate_is_that_of_the_last_seconds_of_a_step():
    rate = Rate(0.0)
    assert rate.per_second(0.0) == 0
    for second in range(1, 30):
        rate.note(100 * second if second < 15 else 1500 + 10 * (second - 15), float(second))
    assert rate.per_second(29.0) == pytest.approx(10)


def test_the_rate_falls_while_nothing_is_done():
    rate = Rate(0.0)
    rate.note(100, 1.0)
    assert rate.per_second(1.0) == 100
    assert rate.per_second(5.0) == 20


def test_another_pass_over_the_documents_counts_anew():
    rate = Rate(0.0)
    rate.note(1000, 1.0)
    rate.note(10, 2.0)
    rate.note(30, 3.0)
    assert rate.per_second(3.0) == 20


STEPS = (
    Step(kind="back_up_documents", estimate=Estimate(documents=1000, seconds=1)),
    Step(kind="rewrite_documents", estimate=Estimate(documents=1000, seconds=2)),
    Step(kind="wait_for_index", estimate=Estimate(documents=1000, seconds=4)),
)


def test_the_time_left_is_that_of_the_step_by_its_rate_and_of_the_others_by_the_plan():
    assert seconds_left(STEPS, 0, 500, 100.0, None) == pytest.approx(5 + 2 + 4)
    assert seconds_left(STEPS, 2, 0, 0.0, None) == 0


def test_the_time_left_of_a_run_with_a_limit_counts_on_the_limit():
    assert seconds_left(STEPS, 0, 500, 100.0, 50.0) == pytest.approx(5 + 20 + 4)


def test_how_long_a_run_that_does_not_move_will_take_is_not_told():
    assert seconds_left(STEPS, 0, 500, 0.0, None) is None
