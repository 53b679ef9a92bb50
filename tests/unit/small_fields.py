"""Every state of one vector that has a second field, while two releases write and a migration goes on.

As `small_cases`, for the other kind of second form: what the vector is, is always what its owner has written
at the declared field, in the old form or in the new one.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from small_looks import Broken
from small_server import NEVER, Form, Server, hash_of

from redismigrate.documents.rewrite import Recoding
from redismigrate.errors import FenceLost
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.beside.second_forms import FieldAim, SecondField
from redismigrate.execution.documents.traffic.optimistic import Turn
from redismigrate.execution.documents.traffic.synchronising import SynchronisingWork
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.state.fence import Fence

KEY, DECLARED, SECOND, OTHER = b"p:1", b"v", b"w", b"x"
FENCE_KEY, TOKEN = b"{p}:fence", b"7"
OLD_FORMS = tuple(struct.pack("<f", number) for number in (1.0, 1.0001))
NEW_FORMS = tuple(struct.pack("<e", number) for number in (1.0, 2.0))
FIELD = SecondField.of(Recoding("v", 1, "L2", "FLOAT32", "FLOAT16"), "w", {})
SCHEMA = IndexSchema(
    name="p",
    prefixes=("p:",),
    fields=(VectorField(name="v", algorithm="flat", datatype="float32", dims=1, distance_metric="l2"),),
)
NEXT = {"beside": "promoted", "promoted": "removed"}


class State(NamedTuple):
    """One document and the migration.

    Attributes:
        form: The document.
        clock: The moment.
        aim: Of the migration.
        safe: Old forms that are in the backup, or were made by the run.
    """

    form: Form | None = None
    clock: int = 0
    aim: str = "beside"
    safe: frozenset[bytes] = frozenset()


class Originals:
    """Takes what is about to be lost."""

    def __init__(self) -> None:
        self.kept: set[bytes] = set()

    def keep(self, keys: list[bytes], lost: dict[str, Any], written: dict[str, Any]) -> None:
        self.kept |= {value for column in lost.values() for value in column if value is not None}

    def close(self) -> None:
        pass


def forward(value: bytes) -> bytes:
    return struct.pack("<e", *struct.unpack("<f", value))


def back(value: bytes) -> bytes:
    return struct.pack("<f", *struct.unpack("<e", value))


def _is_old(value: bytes) -> bool:
    return len(value) == len(OLD_FORMS[0])


def wanted(form: Form | None, aim: str) -> Form | None:
    """What a look has to make of a document."""
    if form is None:
        return None
    fields = form.fields()
    declared = fields.get(DECLARED)
    fields.pop(SECOND, None)
    if declared is not None:
        value, moment = declared
        old, new = (value, forward(value)) if _is_old(value) else (back(value), value)
        fields[DECLARED] = (old if aim in {"beside", "reverted"} else new), moment
        if aim in {"beside", "promoted"}:
            fields[SECOND] = new, moment
    return hash_of(fields, form.lifetime)


Event = Callable[[dict[bytes, tuple[bytes, int]]], dict[bytes, tuple[bytes, int]]]


def _events(old_forms: tuple[bytes, ...], new_forms: tuple[bytes, ...]) -> Iterator[tuple[str, Event]]:
    for name, values in (("old", old_forms), ("new", new_forms)):
        for number, value in enumerate(values):
            one = {DECLARED: (value, NEVER)}
            yield f"HSET v {name} {number}", lambda fields, one=one: fields | one
            yield f"DEL, HSET v {name} {number}", lambda _, one=one: dict(one)
    yield "HDEL v", lambda fields: {name: value for name, value in fields.items() if name != DECLARED}
    yield "HSET x", lambda fields: fields | {OTHER: (b"1", NEVER)}
    for moment in (NEVER, 1):
        yield (
            f"v expires at {moment}",
            lambda fields, moment=moment: (
                fields | {DECLARED: (fields[DECLARED][0], moment)} if DECLARED in fields else fields
            ),
        )
    yield "DEL", lambda _: {}


@dataclass
class FieldsExplorer:
    """Walks over all states.

    Args:
        old_forms: What is written in the old form.
        new_forms: In the new one.
        refuses: Each write may be refused.
    """

    old_forms: tuple[bytes, ...] = OLD_FORMS
    new_forms: tuple[bytes, ...] = NEW_FORMS
    refuses: bool = False
    transitions: int = 0
    parents: dict[State, tuple[State, str] | None] = field(default_factory=dict)

    def walk(self) -> int:
        """Look at every state; how many there are.

        Raises:
            Broken: Something does not hold; with the shortest way there.
        """
        waiting = deque([State()])
        self.parents = {State(): None}
        while waiting:
            state = waiting.popleft()
            try:
                for event, after in self._steps(state):
                    self.transitions += 1
                    if after not in self.parents:
                        self.parents[after] = state, event
                        waiting.append(after)
            except AssertionError as error:
                raise Broken(self._told(state, error)) from error
        return len(self.parents)

    def _told(self, state: State, error: AssertionError) -> str:
        events = []
        at: State | None = state
        while at is not None and (parent := self.parents[at]) is not None:
            at = parent[0]
            events.append(parent[1])
        return "\n  ".join([str(error), *reversed(events), f"before that: {state}"])

    def _steps(self, state: State) -> Iterator[tuple[str, State]]:
        for name, event in _events(self.old_forms, self.new_forms):
            fields = event({} if state.form is None else state.form.fields())
            if state.clock == 0 or name != "v expires at 1":
                yield name, state._replace(form=hash_of(fields))
        if state.clock == 0:
            form = None if state.form is None else state.form.at(1)
            yield "time passes", state._replace(clock=1, form=form)
        yield "a look", self._looked(state, state.aim)
        yield "rollback", State(self._looked(state, "reverted").form, state.clock)
        if state.aim in NEXT:
            yield "the next step", state._replace(aim=NEXT[state.aim])
        else:
            yield "the run ends", State(self._looked(state, "removed").form, state.clock)

    def _looked(self, state: State, aim: str) -> State:
        form, kept, writes = self._look(state, aim)
        if form != wanted(state.form, aim):
            raise Broken(f"{aim}: {form} instead of {wanted(state.form, aim)}")
        self._require_safe(state, form, kept)
        after = state._replace(form=form, safe=self._safe(state, form, kept))
        if self._look(after, aim)[2]:
            raise Broken(f"I6: {aim}: one more look writes")
        if writes:
            self._require_fenced(state, aim)
        if writes and self.refuses:
            for number in range(writes):
                refused, is_named = self._refused(state, aim, number)
                if not is_named:
                    raise Broken(f"I5: {aim}: what was refused is not named")
                self._require_safe(state, refused, kept)
        return after

    def _safe(self, state: State, form: Form | None, kept: set[bytes]) -> frozenset[bytes]:
        made = {back(value) for value in self._values(state.form) if not _is_old(value)}
        return frozenset(state.safe | kept | (made & self._values(form)))

    def _values(self, form: Form | None) -> set[bytes]:
        fields = {} if form is None else form.fields()
        return {fields[name][0] for name in (DECLARED, SECOND) if name in fields}

    def _require_safe(self, state: State, form: Form | None, kept: set[bytes]) -> None:
        declared = None if state.form is None else state.form.fields().get(DECLARED)
        if declared is None:
            return
        now = None if form is None else form.fields().get(DECLARED)
        if now is None:
            raise Broken(f"I2: the vector is gone of {form}")
        value = declared[0]
        is_safe = value in self._values(form) | state.safe | kept
        if not is_safe and (_is_old(value) or forward(now[0]) != value):
            raise Broken(f"I3: {value!r} went without a backup, now {form}")

    def _look(self, state: State, aim: str, **how: Any) -> tuple[Form | None, set[bytes], int]:
        server, turn, originals = self._turn(state, aim, **how)
        turn.ask()
        turn.write()
        if not turn.is_done():
            turn.repeat()
        if not server.is_drained or turn.outcome.failures:
            raise Broken(f"replies are left over, or it is named: {turn.outcome.failures}")
        return server.keys.get(KEY), originals.kept, server.writes

    def _refused(self, state: State, aim: str, number: int) -> tuple[Form | None, bool]:
        server, turn, _ = self._turn(state, aim, refused=number)
        turn.ask()
        turn.write()
        if not turn.is_done():
            turn.repeat()
        return server.keys.get(KEY), bool(turn.outcome.failures)

    def _require_fenced(self, state: State, aim: str) -> None:
        server, turn, _ = self._turn(state, aim, token=b"8")
        turn.ask()
        try:
            turn.write()
        except FenceLost:
            if not server.written:
                return
        raise Broken(f"I8: {aim}: a process without the lock goes on")

    def _turn(
        self, state: State, aim: FieldAim, *, token: bytes = TOKEN, refused: int | None = None
    ) -> tuple[Server, Any, Originals]:
        keys = {FENCE_KEY: Form("string", token)}
        if state.form is not None:
            keys[KEY] = state.form
        server, originals = Server(keys, state.clock, refused=refused), Originals()
        mirror = SecondFields(SCHEMA, (FIELD,), aim, originals=originals)
        return server, Turn(server, SynchronisingWork(mirror, [KEY]), Fence(FENCE_KEY, TOKEN)), originals
