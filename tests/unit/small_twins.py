"""Every state of one document with two values of a twin, while two releases write and a migration goes on.

As `small_cases`, for values at two paths of one document. What a look has to come to is said by `_wanted`,
from what was there when both were last in step: by values, where the real code goes by digests in its mark.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import redis
from small_looks import Broken
from small_server import NEVER, Form, Server, hash_of

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.twins import Twin
from redismigrate.errors import FenceLost
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.beside.twin_batch import TwinAim
from redismigrate.execution.documents.beside.twin_conversions import TwinConversion
from redismigrate.execution.documents.beside.twin_values import TwinValues
from redismigrate.execution.documents.traffic.synchronising import SynchronisingWork
from redismigrate.execution.documents.traffic.turn import Turn
from redismigrate.schema import IndexSchema, TagField
from redismigrate.state.fence import Fence

KEY, MARKS, OTHER_MARKS = b"p:1", b"{p}:mark:run-1:way:", b"{p}:mark:"
FENCE_KEY, TOKEN = b"{p}:fence", b"7"
OTHER = b"x"
Value = tuple[bytes, int] | None
Pair = tuple[Value, Value]
NOTHING: Pair = (None, None)
AIMS: dict[str, TwinAim] = {
    "filling": "beside",
    "expanded": "beside",
    "serving": "serving",
    "removing": "old_removed",
}
NEXT = {"filling": "expanded", "expanded": "serving", "serving": "removing"}


class TwinState(NamedTuple):
    """One document and the migration.

    Attributes:
        form: The document.
        mark: Of the run.
        phase: Of the migration.
        known: Both values when they were last in step; None where nobody has looked at them.
        is_occupied: They never were in step.
        is_made: The new value goes when the change is taken back.
        others: What else the document had when it was looked at last.
        clock: The moment.
    """

    form: Form | None = None
    mark: bytes | None = None
    phase: str = "filling"
    known: Pair | None = None
    is_occupied: bool = False
    is_made: bool = True
    others: tuple[bytes, ...] = ()
    clock: int = 0


def _json_member(server: Server, words: list[bytes]) -> Any:
    form = server._get(words[1])
    fields = {} if form is None else form.fields()
    if form is None:
        return None
    return b"[%s]" % fields[words[2]][0] if words[2] in fields else b"[]"


@dataclass
class TwinExplorer:
    """Walks over all states.

    Args:
        kind: Of the document.
        values: That are written.
        has_moments: Fields may expire.
        refuses: Each write may be refused.
        races: Each event may come between reading and writing.
    """

    kind: str = "hash"
    values: tuple[bytes, ...] = (b"1", b"2")
    has_moments: bool = False
    refuses: bool = False
    races: bool = False
    transitions: int = 0
    parents: dict[TwinState, tuple[TwinState, str] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.old, self.new = (b"$.a", b"$.b") if self.kind == "json" else (b"a", b"b")
        twin = Twin(self.old.decode(), self.new.decode())
        self._conversions = (TwinConversion.of(twin, {}, is_json=self.kind == "json"),)
        path = {"path": "$.a"} if self.kind == "json" else {}
        self._schema = IndexSchema(
            name="p",
            storage_type=self.kind,
            prefixes=("p:",),
            fields=(TagField(name="a", **path),),
        )

    def walk(self) -> int:
        """Look at every state; how many there are.

        Raises:
            Broken: Something does not hold; with the shortest way there.
        """
        waiting = deque([TwinState()])
        self.parents = {TwinState(): None}
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

    def _told(self, state: TwinState, error: AssertionError) -> str:
        events = []
        at: TwinState | None = state
        while at is not None and (parent := self.parents[at]) is not None:
            at = parent[0]
            events.append(parent[1])
        return "\n  ".join([str(error), *reversed(events), f"before that: {state}"])

    # What may happen.

    def _steps(self, state: TwinState) -> Iterator[tuple[str, TwinState]]:
        for name, event in self._events(state):
            yield name, state._replace(form=event(state.form))
        if self.has_moments and state.clock == 0:
            form = None if state.form is None else state.form.at(1)
            yield "time passes", state._replace(clock=1, form=form)
        yield "a look", self._looked(state, AIMS[state.phase])
        if state.phase in {"filling", "expanded"}:
            self._looked(state, "new_removed")
        if state.phase in NEXT:
            # All documents are looked at before the next phase begins.
            yield "the next phase", self._looked(state, AIMS[state.phase])._replace(phase=NEXT[state.phase])

    def _events(self, state: TwinState) -> Iterator[tuple[str, Callable[[Form | None], Form | None]]]:
        def changing(change: Callable[[dict[bytes, tuple[bytes, int]]], object]) -> Any:
            def event(form: Form | None) -> Form | None:
                fields = {} if form is None else form.fields()
                change(fields)
                return hash_of(fields)

            return event

        for path in (self.old, self.new):
            for value in self.values:
                one = {path: (value, NEVER)}
                yield f"set {path!r} {value!r}", changing(lambda fields, one=one: fields.update(one))
                yield f"whole {path!r} {value!r}", lambda _, one=one: hash_of(dict(one))
            yield f"remove {path!r}", changing(lambda fields, path=path: fields.pop(path, None))
            if self.has_moments and state.clock == 0:
                yield (
                    f"{path!r} expires",
                    changing(
                        lambda fields, path=path: fields.update(
                            {path: (fields[path][0], 1)} if path in fields else {}
                        )
                    ),
                )
        yield "delete", lambda _: None
        yield "set another", changing(lambda fields: fields.update({OTHER: (b"1", NEVER)}))

    # What a look has to come to.

    def _pair(self, form: Form | None) -> Pair:
        fields = {} if form is None else form.fields()
        return fields.get(self.old), fields.get(self.new)

    def _restores(self, state: TwinState) -> bool:
        """Whether a value that is gone may have gone with the whole document."""
        return self.kind == "json" or tuple(self._others(state.form)) != state.others

    def _wanted(self, state: TwinState, aim: TwinAim) -> Pair:
        """Both values after a look, before any goes for good."""
        old, new = self._pair(state.form)
        known = state.known
        if known is None and state.phase != "filling":
            known = NOTHING
        if known is None or state.is_occupied:
            return (old, old) if new is None else (old, new)
        carries_back = aim in {"beside", "new_removed"}
        is_old_changed, is_new_changed = old != known[0], new != known[1]
        if old == new or not (is_old_changed or is_new_changed):
            return old, new
        restores = self._restores(state)
        if new is None:
            if is_old_changed or restores or aim == "new_removed":
                return old, old
            return (None, None) if carries_back else (old, None)
        if old is None and not is_new_changed:
            if not restores:
                return None, None
            return (new, new) if carries_back else (None, new)
        if not is_new_changed:
            return old, old
        return (new, new) if carries_back else (old, new)

    def _after(self, state: TwinState, aim: TwinAim) -> tuple[Pair, TwinState]:
        """Both values when a look is over, and what is known of them then."""
        old, new = self._pair(state.form)
        wanted = self._wanted(state, aim)
        known, is_occupied, is_made = state.known, state.is_occupied, state.is_made
        if known is None and state.phase != "filling":
            known = NOTHING
        if known is None or is_occupied:
            is_occupied = old is not None and new is not None and old != new
            known, is_made = wanted, new is None
        elif wanted[0] == wanted[1]:
            # What comes where nothing was is made, by the run or since it began.
            is_made = is_made or new is None or wanted == NOTHING
            known = wanted
        elif aim in {"serving", "old_removed"} and (old, new) != known:
            is_conflict = new is not None and old is not None and old != known[0] and new != known[1]
            is_left = self._restores(state) and old is None and new == known[1]
            is_seen_gone = old is None and new is not None and new != known[1]
            known = (old if is_conflict or is_left or is_seen_gone else known[0], known[1])
        if aim == "old_removed" and not is_occupied:
            is_deleted = wanted[1] is None and wanted[0] is not None and known[1] is not None
            if wanted[1] is not None or is_deleted:
                known = NOTHING if is_deleted else (None, known[1])
                wanted = (None, wanted[1])
        if known == NOTHING:
            # Of what is gone nothing is remembered: while not all were looked at, it was never met.
            known, is_made = (None if state.phase == "filling" else NOTHING), True
        others = tuple(self._others(state.form))
        return wanted, state._replace(known=known, is_occupied=is_occupied, is_made=is_made, others=others)

    # Looks.

    def _looked(self, state: TwinState, aim: TwinAim) -> TwinState:
        server, kept, named, unproved = self._look(state, aim)
        form = server.keys.get(KEY)
        if aim == "new_removed":
            self._require_taken_back(state, form, kept)
            return state
        pair, after = self._after(state, aim)
        if self._pair(form) != pair:
            raise Broken(f"{aim}: {self._pair(form)} instead of {pair}")
        if (form is None) != (state.form is None or (not self._others(state.form) and pair == NOTHING)):
            raise Broken(f"{aim}: {form} of {state.form}")
        if self._others(form) != self._others(state.form):
            raise Broken(f"{aim}: others than the two values are changed: {form}")
        if bool(named) != after.is_occupied:
            raise Broken(f"I5: {aim}: {named} of one that is occupied: {after.is_occupied}")
        self._require_safe(state, form, kept)
        mark = server.keys.get(MARKS + KEY)
        after = after._replace(form=form, mark=None if mark is None else mark.content)
        again, more, _, more_unproved = self._look(after, aim)
        if again.writes or more or more_unproved:
            raise Broken(f"I6: {aim}: one more look writes, or backs up {more}")
        self._require_counted(state, form, unproved)
        self._require_fenced(state, aim, server.writes)
        for number in range(server.writes if self.refuses else 0):
            self._require_bearable(state, aim, number)
        for name, event in self._events(state) if self.races else ():
            self._require_met(state, aim, name, event)
        return after

    def _others(self, form: Form | None) -> dict[bytes, Any]:
        fields = {} if form is None else form.fields()
        return {name: value for name, value in fields.items() if name not in (self.old, self.new)}

    def _require_safe(self, state: TwinState, form: Form | None, kept: set[Any]) -> None:
        """What an application has written since they were in step is there, or in the backup."""
        before, now = self._pair(state.form), self._pair(form)
        known = state.known or NOTHING
        for value, was in zip(before, known, strict=True):
            if value is None or value in now or value in kept:
                continue
            if value != was:
                raise Broken(f"I3: {value} went without a backup, now {form}")
            if now == NOTHING:
                raise Broken(f"I2: {value} is gone of {form}, and in no backup")

    def _require_counted(self, state: TwinState, form: Form | None, unproved: set[bytes]) -> None:
        """What goes because the other one is gone is counted."""
        before, now = self._pair(state.form), self._pair(form)
        if now == NOTHING and before != NOTHING and None in before and not unproved:
            raise Broken("a value that goes with the other one is not counted")

    def _require_taken_back(self, state: TwinState, form: Form | None, kept: set[Any]) -> None:
        before, now = self._pair(state.form), self._pair(form)
        wanted, after = self._after(state, "new_removed")
        is_untouched = state.known is None and state.phase == "filling"
        if is_untouched and form != state.form:
            raise Broken(f"taken back where nothing was made: {form}")
        if after.is_occupied or is_untouched or not after.is_made:
            if now[1] != before[1] and wanted != NOTHING:
                raise Broken(f"the new value was there before: {now}")
            return
        if now != (wanted[0], None):
            raise Broken(f"taken back: {now} instead of {(wanted[0], None)}")
        self._require_safe(state, form, kept)

    def _require_bearable(self, state: TwinState, aim: TwinAim, number: int) -> None:
        """A refusal is named, and neither it nor the look after it loses anything."""
        server, kept, named, _ = self._look(state, aim, refused=number)
        if not named:
            raise Broken(f"I5: {aim}: what was refused is not named")
        mark = server.keys.get(MARKS + KEY)
        refused = state._replace(form=server.keys.get(KEY), mark=None if mark is None else mark.content)
        again, more, _, _ = self._look(refused, aim)
        self._require_safe(state, again.keys.get(KEY), kept | more)

    def _require_met(
        self, state: TwinState, aim: TwinAim, name: str, event: Callable[[Form | None], Form | None]
    ) -> None:
        """What is written between reading and writing is met as if it had been written before."""

        def interfere(server: Server) -> None:
            form = event(server.keys.get(KEY))
            if form is None:
                server.keys.pop(KEY, None)
            else:
                server.keys[KEY] = form

        server, _, _, _ = self._look(state, aim, before_exec=interfere)
        if server.is_interfered:
            wanted, _ = self._after(state._replace(form=event(state.form)), aim)
            if self._pair(server.keys.get(KEY)) != wanted:
                raise Broken(f"{name} between reading and writing: {server.keys.get(KEY)}")

    def _require_fenced(self, state: TwinState, aim: TwinAim, writes: int) -> None:
        try:
            server, _, _, _ = self._look(state, aim, token=b"8")
        except FenceLost:
            return
        raise Broken(f"I8: {aim}: a process without the lock goes on and writes {server.written}")

    def _look(
        self,
        state: TwinState,
        aim: TwinAim,
        *,
        refused: int | None = None,
        token: bytes = TOKEN,
        before_exec: Callable[[Server], None] | None = None,
    ) -> tuple[Any, set[Any], list[str], set[bytes]]:
        keys = {FENCE_KEY: Form("string", token), OTHER_MARKS + b"run-0:way:" + KEY: Form("string", b"x")}
        if state.form is not None:
            keys[KEY] = state.form
        if state.mark is not None:
            keys[MARKS + KEY] = Form("string", state.mark)
        server: Any = TwinServer(keys, state.clock, 0, refused, OTHER_MARKS, MARKS, before_exec)
        kept: list[Replaced] = []
        removals = Removals(are_values=True)
        mirror = TwinValues(
            self._schema,
            self._conversions,
            MARKS,
            aim,
            state.phase == "filling",
            keep=kept.extend,
            removals=removals,
        )
        turn = Turn(server, SynchronisingWork(mirror, [KEY]), Fence(FENCE_KEY, TOKEN))
        stopped: list[str] = []
        try:
            turn.ask()
            turn.write()
            if not turn.is_done():
                turn.repeat()
        except redis.ResponseError as error:
            if refused is None:
                raise Broken(f"a look fails: {error}") from error
            stopped.append(str(error))
        if not stopped and not server.is_drained:
            raise Broken("replies are left over")
        values = {
            (value, _moment(each.original.expiries.get(name)))
            for each in kept
            for name, value in (each.original.document or {}).items()  # type: ignore[union-attr]
        }
        named = [each.reason for each in turn.outcome.failures]
        return server, values, named + stopped, removals.unproved


class TwinServer(Server):
    """The model, with members of JSON documents where others have fields of hashes.

    Attributes:
        is_interfered: Another client has written before EXEC.
    """

    is_interfered = False

    def _execute(self, words: list[bytes]) -> Any:
        name = words[0]
        if name == b"JSON.GET":
            return _json_member(self, words)
        if name == b"JSON.SET":
            return super()._execute([b"HSET", words[1], words[2], words[3]])
        if name == b"JSON.DEL":
            return super()._execute([b"HDEL", *words[1:]])
        return super()._execute(words)

    def _take(self, words: list[bytes]) -> Any:
        if words[0] == b"EXEC" and self._before_exec is not None:
            self.is_interfered = True
        return super()._take(words)


def _moment(expires_ms: int | None) -> int:
    return NEVER if expires_ms is None else expires_ms // 1000
