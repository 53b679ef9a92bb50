"""How far the server's build is slowed down, what is written before, and when somebody else is left alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from redismigrate.errors import AuthenticationFailed, FenceLost
from redismigrate.execution.build_sleep import LONGEST_US, SETTING, BuildSleep, give_back
from redismigrate.execution.held_run import HeldRun
from redismigrate.execution.pace import build_brake
from redismigrate.execution.pace.build_brake import BuildBrake
from redismigrate.execution.progress import Watcher
from redismigrate.state.keys import OWNERS_KEY, StateKeys


@dataclass
class World:
    """A server with the setting, a state, and a latency that is over its limit or not."""

    microseconds: int | None = 1
    keys: int = 1000
    is_over: bool = True
    is_cluster: bool = False
    refused: Any = None
    values: dict[str, bytes] = field(default_factory=dict)
    recorded: BuildSleep | None = None
    told: list[str] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)
    dies_before_set: bool = False
    run_id: str | None = "a1"
    address: str | None = "10.0.0.1:6379"
    is_fenced: bool = False

    @property
    def capabilities(self) -> Any:
        return SimpleNamespace(is_cluster=self.is_cluster)

    def execute(self, *command: Any) -> Any:  # noqa: C901 - a table
        match command:
            case ("CONFIG", "GET", name):
                assert name == SETTING
                return [] if self.microseconds is None else [name.encode(), b"%d" % self.microseconds]
            case ("CONFIG", "SET", name, value):
                assert name == SETTING
                if self.refused is not None:
                    raise self.refused
                if self.dies_before_set:
                    raise KeyboardInterrupt
                # Whoever finds the record finds what the server has in it, and what it had.
                assert self.recorded is not None
                assert value in (*self.recorded.ours, self.recorded.before)
                self.microseconds = value
                self.log.append(value)
                return b"OK"
            case ("DBSIZE",):
                return self.keys
            case ("INFO", "server"):
                return {"redis_version": "8.2.0"} | ({"run_id": self.run_id} if self.run_id else {})
            case ("CLIENT", "INFO"):
                if self.address is None:
                    raise AuthenticationFailed("no right")
                return f"id=7 addr=10.0.0.9:4000 laddr={self.address} fd=8\n".encode()
            case ("GET", key):
                return self.values.get(key)
            case ("TYPE", _):
                return b"string"
        raise AssertionError(command)

    def over_latency(self) -> Any:
        return object() if self.is_over else None

    def record(self, sleep: BuildSleep | None) -> None:
        if self.is_fenced:
            raise FenceLost("lost")
        self.recorded = sleep

    def brake(self, project: str = "shop") -> BuildBrake:
        return BuildBrake(
            self,  # type: ignore[arg-type]
            StateKeys(project),
            self,  # type: ignore[arg-type]
            lambda: SimpleNamespace(build_sleep=self.recorded),  # type: ignore[arg-type,return-value]
            self.record,
            self.told.append,
        )


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_brake, "BUILD_LOOK_SECONDS", 0.0)


def test_it_is_raised_by_steps_up_to_what_the_build_may_take_longer():
    world = World(keys=100_000)
    brake = world.brake()
    with brake.building(seconds=40):
        for _ in range(10):
            brake.look()
        # 2,000 sleeps within the 120 seconds that it may take longer.
        assert world.log == [1000, 4000, 16000, 60000]
        assert brake.text == f"the build is slowed down: {SETTING} 1 -> 60000"
    assert (world.microseconds, world.recorded, brake.text) == (1, None, None)


def test_no_sleep_is_longer_than_the_server_admits():
    world = World(keys=1)
    brake = world.brake()
    with brake.building(seconds=1000):
        for _ in range(10):
            brake.look()
        assert world.log[-1] == LONGEST_US


def test_it_is_lowered_when_the_latency_stays_within_its_limit():
    world = World()
    brake = world.brake()
    with brake.building(seconds=10):
        for _ in range(3):
            brake.look()
        assert world.log == [1000, 4000, 16000]
        world.is_over = False
        for _ in range(build_brake.CALM_LOOKS - 1):
            brake.look()
        assert world.microseconds == 16000
        brake.look()
        assert world.microseconds == 4000
        for _ in range(10 * build_brake.CALM_LOOKS):
            brake.look()
        assert (world.microseconds, world.recorded) == (1, None)


def test_without_a_reason_nothing_is_asked():
    world = World(is_over=False, microseconds=None)
    brake = world.brake()
    with brake.building(seconds=10):
        brake.look()
    assert (world.log, world.told, world.recorded) == ([], [], None)


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (World(microseconds=None), f"this server has no {SETTING}"),
        (World(is_cluster=True), "each node of a cluster has a setting of its own for that"),
        (World(refused=redis.ResponseError("immutable")), f"this server does not let {SETTING} be set"),
        (World(refused=AuthenticationFailed("no right")), f"this server does not let {SETTING} be set"),
        (
            World(microseconds=LONGEST_US),
            "with so many keys, or so long a sleep already, it would take too long",
        ),
        (World(keys=10**12), "with so many keys, or so long a sleep already, it would take too long"),
    ],
)
def test_where_it_can_not_be_raised_that_is_told_once_and_nothing_fails(world: World, reason: str):
    brake, before = world.brake(), world.microseconds
    for _ in range(2):
        with brake.building(seconds=1):
            for _ in range(3):
                brake.look()
            assert brake.text == f"the build can't be slowed down: {reason}"
    assert world.told == [f"the build can't be slowed down: {reason}"]
    assert (world.microseconds, world.recorded) == (before, None)


def test_a_refusal_after_the_first_step_still_gives_back_what_was_set():
    world = World()
    brake = world.brake()
    with brake.building(seconds=10):
        brake.look()
        world.refused = redis.ResponseError("no more")
        brake.look()
        assert world.recorded == BuildSleep(before=1, ours=(1, 1000), server="a1", address="10.0.0.1:6379")
        world.refused = None
    assert (world.microseconds, world.recorded) == (1, None)


def test_what_can_not_be_given_back_is_told():
    world = World()
    brake = world.brake()
    with brake.building(seconds=10):
        brake.look()
        world.refused = AuthenticationFailed("no right")
    assert world.microseconds == 1000
    assert world.told[-1].startswith(f"{SETTING} was 1 and may be more by now: this server does not let ")


OLDER = BuildSleep(before=1, ours=(1, 1000))
RAISED = BuildSleep(before=1, ours=(1, 1000), server="a1", address="10.0.0.1:6379")
UNPLACED = BuildSleep(before=1, ours=(1, 1000), server="a1")


@pytest.mark.parametrize(
    ("recorded", "world", "told"),
    [
        (
            RAISED,
            World(run_id="b2", address="10.0.0.2:6379"),
            "the run raised it on the server at 10.0.0.1:6379, and this is another one",
        ),
        (
            UNPLACED,
            World(run_id="b2", address=None),
            "the server has changed since the run raised it, by a restart or a failover",
        ),
    ],
)
def test_after_a_failover_the_new_master_is_left_alone_and_the_old_one_named(
    recorded: BuildSleep, world: World, told: str
):
    """It has a value of its own, which may be one that was set by the run elsewhere."""
    world.recorded = recorded
    world.brake().let_go()
    assert world.told == [
        f"{SETTING} was 1 and may be more by now: {told}. Set it there with CONFIG SET {SETTING} 1"
    ]
    assert (world.microseconds, world.log, world.recorded) == (1, [], None)


@pytest.mark.parametrize(
    ("recorded", "world"),
    [
        (RAISED, World(microseconds=1000)),
        (RAISED, World(microseconds=1000, run_id=None)),
        (OLDER, World(microseconds=1000, run_id=None, address=None)),
        (UNPLACED, World(microseconds=1000, address=None)),
    ],
)
def test_where_it_is_the_same_server_or_that_is_not_told_it_is_given_back(recorded: BuildSleep, world: World):
    world.recorded = recorded
    assert give_back(world, recorded)  # type: ignore[arg-type]
    assert world.microseconds == 1


def test_a_server_that_was_restarted_has_what_its_configuration_says():
    world = World(microseconds=1000, run_id="b2", recorded=RAISED)  # by CONFIG REWRITE
    assert give_back(world, RAISED)  # type: ignore[arg-type]
    assert (world.microseconds, world.told) == (1, [])


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_process_that_dies_between_the_record_and_the_setting_leaves_what_is_given_back(steps: int):
    world = World()
    brake = world.brake()
    waiting = brake.building(seconds=10)
    waiting.__enter__()
    for _ in range(steps):
        brake.look()
    world.dies_before_set = True
    with pytest.raises(KeyboardInterrupt):
        brake.look()
    assert world.recorded is not None
    world.dies_before_set = False
    world.brake().let_go()
    assert (world.microseconds, world.recorded) == (1, None)


def test_who_has_lost_the_lock_sets_nothing_any_more():
    world = World()
    brake = world.brake()

    def wait() -> None:
        with brake.building(seconds=10):
            brake.look()
            world.is_fenced = True
            brake.look()

    with pytest.raises(FenceLost):
        wait()
    assert (world.microseconds, world.log) == (1000, [1000])


def test_what_ends_the_wait_gives_it_back_first():
    world = World()
    brake = world.brake()

    def wait() -> None:
        with brake.building(seconds=10):
            brake.look()
            raise ValueError("vanished")

    with pytest.raises(ValueError, match="vanished"):
        wait()
    assert (world.microseconds, world.recorded) == (1, None)


@pytest.mark.parametrize("note", ["progress", "run"])
@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"build_sleep": {"before": 0}}'])
def test_where_another_project_does_not_tell_what_it_has_set_nothing_is_raised(note: str, damage: bytes):
    world = World(microseconds=4000)
    world.values = {OWNERS_KEY: json.dumps({"articles": "news"}).encode()}
    world.values[getattr(StateKeys("news"), note)] = damage
    brake = world.brake()
    with brake.building(seconds=10):
        brake.look()
    assert (world.microseconds, world.log, world.recorded) == (4000, [], None)
    assert world.told == [
        "the build can't be slowed down: whether a run of another project has raised it can't be read"
    ]


def test_what_another_project_has_noted_in_its_record_counts_as_well():
    """Its progress is empty where the record itself was written last."""
    world = World(microseconds=4000)
    theirs = {"build_sleep": {"before": 1, "ours": [1000, 4000]}}
    world.values = {
        OWNERS_KEY: json.dumps({"articles": "news"}).encode(),
        StateKeys("news").progress: b"{}",
        StateKeys("news").run: json.dumps(theirs).encode(),
    }
    brake = world.brake()
    with brake.building(seconds=10):
        brake.look()
    assert (world.microseconds, world.log, world.recorded) == (4000, [], None)


def test_no_run_ends_before_the_setting_is_given_back():
    """With it goes the note of what it was, which a lost connection may have kept from being heeded."""
    world = World(microseconds=4000, recorded=BuildSleep(before=1, ours=(1, 4000)))
    had: list[Any] = []
    written: Any = SimpleNamespace(
        writer=None, run=None, write=None, end=lambda *_: had.append((world.microseconds, world.recorded))
    )
    server = SimpleNamespace(capabilities=SimpleNamespace(runs_search_in_scripts=True))
    steps: Any = SimpleNamespace(server=server, build_brake=world.brake())
    nobody: Any = None
    held = HeldRun(written, StateKeys("shop"), Watcher(), nobody, steps, nobody)
    held.end(nobody, {"event": "undone"})
    assert had == [(1, None)]


def test_a_value_that_another_project_has_raised_is_never_taken_for_what_it_was():
    world = World(microseconds=4000)
    theirs = {"version": 3, "layout": 1, "build_sleep": {"before": 1, "ours": [1000, 4000]}}
    owners = {"products": "shop", "articles": "news"}
    world.values = {OWNERS_KEY: json.dumps(owners).encode()}
    world.values[StateKeys("news").progress] = json.dumps(theirs).encode()
    brake = world.brake()
    with brake.building(seconds=10):
        brake.look()
        assert brake.text == "project news slows down builds of indexes on this server already"
        assert (world.log, world.recorded) == ([], None)
        # Once that has given it back, it is our turn.
        world.values.pop(StateKeys("news").progress)
        world.microseconds = 1
        brake.look()
        assert world.microseconds == 1000
    assert world.microseconds == 1
