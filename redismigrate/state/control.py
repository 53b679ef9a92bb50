"""How hard a run may press the server, changeable while it is under way: the key `:control`.

Whoever wants a run to slow down has no time to wait for its lock. So this key alone is written without the
lock, by one script that looks whether the run is still there. It says what was changed since the run began;
what it was begun with stands in the run's arguments. It is deleted together with the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import redis

from redismigrate.errors import RunInterrupted, UsageError
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.state.keys import StateKeys
from redismigrate.state.limits import SETTINGS
from redismigrate.state.lock import signature
from redismigrate.state.lua_scripts import CONTROL
from redismigrate.state.typed import typed_values

# Another one would have to change it in between as often.
_MOST_ATTEMPTS = 20


@dataclass(frozen=True)
class Control:
    """What a run has to keep to. None is no limit.

    Attributes:
        max_latency_ms: Milliseconds that a round trip to the server may take, as the 99th percentile.
        max_docs_per_second: Documents that are read or written in a second.
        max_wait_seconds: Seconds for which writers may be ahead of the run before that ends.
        critical_latency_ms: Milliseconds of a round trip that end the run when waiting doesn't help.
        max_replica_lag_seconds: Seconds by which a replica may be behind.
        max_memory_percent: Used memory, in percent of the server's maxmemory.
        paused: No batch of documents is begun.
        postpone_cutover: The served name does not move to its new index.
    """

    max_latency_ms: float | None = None
    max_docs_per_second: float | None = None
    max_wait_seconds: float | None = None
    critical_latency_ms: float | None = None
    max_replica_lag_seconds: float | None = None
    max_memory_percent: float | None = None
    paused: bool = False
    postpone_cutover: bool = False

    def with_changes(self, changes: Mapping[str, Any]) -> Control:
        """This with other values; what a later version may have added is ignored."""
        known = {name: value for name, value in changes.items() if name in self.__dataclass_fields__}
        return replace(self, **known)


def settings_text(control: Control) -> str:
    """What is set, as it would be given; empty when nothing is."""
    words = []
    for name, setting in SETTINGS.items():
        value = getattr(control, setting.attribute)
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words.append(f"{name} {value:g}{setting.unit}")
    return ", ".join(words)


def begun_with(arguments: Mapping[str, Any]) -> Control:
    """What a run was begun with, by its arguments."""
    return Control().with_changes(arguments)


def read_control(server: Server, keys: StateKeys, run: str, arguments: Mapping[str, Any]) -> Control:
    """What holds for a run now.

    Args:
        server: The connection.
        keys: The project's keys.
        run: Its id.
        arguments: What it was begun with.
    """
    try:
        text = server.execute("GET", keys.control)
    except redis.ResponseError:  # of another type since the run has looked: it counts for nothing
        text = None
    return begun_with(arguments).with_changes(_changes(text, run))


def write_control(server: Server, keys: StateKeys, run: str, changes: Mapping[str, Any]) -> None:
    """Change what holds for a run that is under way or interrupted. Takes no lock.

    Args:
        server: The connection.
        keys: The project's keys.
        run: Its id.
        changes: Attributes of `Control` with their values.

    Raises:
        UsageError: The run has ended.
        RunInterrupted: Others changed it all the time.
    """
    control = Control().with_changes(changes)
    told = ", ".join(f"{name}={value}" for name, value in asdict(control).items() if name in changes)
    event = ("event", "control", "run", run, "by", signature(), "reason", told)
    for _ in range(_MOST_ATTEMPTS):
        text = server.execute("GET", keys.control)
        content = {"run": run, "changes": {**_changes(text, run), **changes}}
        with server.translated_errors():
            done = server.client.eval(
                CONTROL,
                3,
                keys.run,
                keys.control,
                keys.journal,
                run,
                text or b"",
                json.dumps(content),
                *event,
            )
        if done == 1:
            return
        if done < 0:
            raise UsageError(f"Run {run} has ended.", "Look with `redismigrate status`.")
    raise RunInterrupted("Other processes change the limits of the run all the time.", "Try again.")


def _changes(text: bytes | None, run: str) -> dict[str, Any]:
    """What was changed since a run began; what concerns another run, or can't be read, counts for nothing."""
    try:
        content = parse_json(text or b"{}")
        changes = typed_values(Control, content["changes"]) if content["run"] == run else {}
    except (UnreadableDocument, KeyError, TypeError):
        return {}
    return {name: value for name, value in changes.items() if _can_be_set(name, value)}


def _can_be_set(attribute: str, value: Any) -> bool:
    """Whether a value is in the range of its setting, or switches it."""
    (setting,) = (each for each in SETTINGS.values() if each.attribute == attribute)
    return value is None or setting.least is None or setting.least <= value <= setting.most
