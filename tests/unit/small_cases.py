"""Every state of one document that is reachable while two releases write and a migration goes on.

Walks breadth first over a model of Redis. What decides is the real code: `Copies`, and the driver that reads,
writes in MULTI and EXEC, and names what was refused. What a look has to lead to says `small_rules`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from small_looks import BESIDE, NEW, OLD, Broken, Looked, Looks, backed_up, form_of, safe_after
from small_rules import Ledger, Look, Pairs, expected, pairs
from small_server import NEVER, Form, hash_of
from small_world import (
    State,
    Words,
    crashed,
    events_of,
    next_run,
    of_another,
    of_the_world,
    with_new,
    with_old,
)

AIMS = {"expanded": "beside", "serving": "serving", "removing": "originals_removed"}
# How what is named that the original can not get begins to end: it is done with all the same.
NOT_CARRIED_BACK = "which can't be carried back"


@dataclass
class Explorer:
    """Walks over all states.

    Args:
        words: What may happen.
        most: States to look at; None for all.
    """

    words: Words
    most: int | None = None
    transitions: int = 0
    parents: dict[State, tuple[State, str] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._events = events_of(self.words)
        self._looks_at = Looks(self.words.kind, is_slow=self.words.is_slow)
        self._kinds = {self.words.kind}

    def walk(self) -> int:
        """Look at every state; how many there are.

        Raises:
            Broken: Something does not hold; with the shortest way there.
        """
        value = self.words.values[0]
        first = Form("json", value) if self.words.kind == "json" else hash_of({b"a": (value, NEVER)})
        waiting = deque([State(), State(old=first)])
        self.parents = dict.fromkeys(waiting)
        while waiting:
            state = waiting.popleft()
            self._doing = "an application writes"
            try:
                for event, after in self._steps(state):
                    self.transitions += 1
                    if after not in self.parents:
                        self.parents[after] = state, event
                        waiting.append(after)
            except AssertionError as error:
                raise Broken(self._told(state, error)) from error
            if self.most is not None and len(self.parents) > self.most:
                break
        return len(self.parents)

    def _told(self, state: State, error: AssertionError) -> str:
        events = []
        at: State | None = state
        while at is not None and (parent := self.parents[at]) is not None:
            at = parent[0]
            events.append(parent[1])
        events = [*reversed(events), self._doing]
        way = "\n".join(f"  {number}. {name}" for number, name in enumerate(events, 1))
        return f"{error}\nat first: {at and at.old}\n{way}\nbefore that: {state}"

    def _steps(self, state: State) -> Iterator[tuple[str, State]]:
        yield from of_the_world(state, self.words, self._events)
        yield "another process goes on", crashed(state)
        aim = AIMS[state.phase]
        yield from self._looks(state, "pass", aim, reported=False)
        if state.told:
            yield from self._looks(state, "follow", aim, reported=True)
        if state.phase == "expanded":
            yield "the names move", state._replace(phase="serving", told=False)
        if state.phase != "removing":
            for name, after in self._looks(state, "rollback", "copies_removed", reported=False):
                yield name, next_run(after)
        if state.phase == "serving":
            for name, after in self._looks(state, "removal", "originals_removed", reported=False):
                yield name, after._replace(phase="removing")
        if state.phase == "removing":
            yield "the run ends", next_run(state)
            yield (
                "the run ends, and the way back begins",
                next_run(state._replace(old=state.new, new=state.old)),
            )
        yield "the state is lost, another run begins", self._abandoned(state)

    def _abandoned(self, state: State) -> State:
        mark = state.mark if self._looks_at.are_marks_shared else None
        return next_run(state)._replace(mark=of_another(mark))

    # Looks.

    def _looks(self, state: State, name: str, aim: str, *, reported: bool) -> Iterator[tuple[str, State]]:
        self._doing = name
        is_document = state.old is not None and state.old.kind in self._kinds
        is_met = state.mark is not None if aim == "copies_removed" else is_document or state.mark is not None
        if not (is_met or reported):
            yield name, state._replace(told=False)
            return
        looked = self._looks_at.look(state, aim, reported=reported)
        after = self._checked(state, aim, looked, reported=reported)
        self._require_stable(state, after, aim, looked, reported=reported)
        yield name, after
        if looked.writes and self.words.has_refusals:
            for number in range(looked.writes + 1):
                yield self._refused(state, name, aim, number, reported=reported)
        if looked.writes and self.words.has_races and not reported:
            self._race(state, aim)

    def _checked(self, state: State, aim: str, looked: Looked, *, reported: bool) -> State:
        """The state after a look, if that has led to what the table says."""
        look = Look(state.old, state.new, state.clock, state.evicted, aim, reported, self.words.kind)
        right = list(expected(look, state.ledger))
        kept = self._kept(state, looked)
        for each in right:
            if (each.old, each.new) == (looked.old, looked.new):
                break
        else:
            wanted = " or ".join(f"{each.old} and {each.new}" for each in right)
            raise Broken(f"{aim}: {looked.old} and {looked.new} instead of {wanted}")
        if each.is_named != bool(looked.named):
            raise Broken(f"{aim}: named {looked.named}")
        if each.is_conflict and not looked.is_listed:
            raise Broken(f"{aim}: it is not listed as a conflict")
        if each.is_conflict and (OLD, state.old) not in kept:
            raise Broken(f"{aim}: the original is not in the backup, it was {state.old}")
        if each.is_unproved and not looked.is_unproved:
            raise Broken(f"{aim}: that it goes without proof is not counted")
        self._require_safe(state, looked)
        ledger = _with_seen(each.ledger, looked, safe_after(state, looked, each.ledger.safe))
        return state._replace(old=looked.old, new=looked.new, mark=looked.mark, told=False, ledger=ledger)

    def _kept(self, state: State, looked: Looked) -> list[tuple[bytes, Form | None]]:
        return [(each.key, form_of(each)) for each in looked.kept]

    def _require_safe(self, state: State, looked: Looked) -> None:
        """What an original has lost was safe before (I3); nothing is lost that nobody took away (I2).

        And what the new release has written is in one of both (I1).
        """
        gone = self._pairs(state.old) - pairs(looked.old)
        unsafe = gone - state.ledger.safe - backed_up(looked) - self._pairs(looked.new)
        if unsafe:
            raise Broken(f"I3: {sorted(unsafe)} went without a backup, now {looked.old} and {looked.new}")
        base, ledger = state.ledger.base, state.ledger
        written = self._pairs(state.new) - self._pairs(base)
        lost = written - self._pairs(looked.old) - self._pairs(looked.new)
        if lost:
            raise Broken(f"I1: {sorted(lost)} of the copy is lost, now {looked.old} and {looked.new}")
        before = {name for name, _ in self._pairs(state.old) | self._pairs(state.new)}
        after = {name for name, _ in self._pairs(looked.old) | self._pairs(looked.new)}
        olds, news = ({name for name, _ in self._pairs(form)} for form in (state.old, state.new))
        for name in before - after:
            known = base is not None and name in base.fields()
            by_old = name not in olds and (not ledger.is_old_evicted or looked.is_unproved)
            by_new = name not in news and not ledger.is_new_evicted
            is_told = looked.is_listed and (OLD, state.old) in self._kept(state, looked)
            if not (known and (by_old or by_new)) and not is_told:
                raise Broken(
                    f"I2: field {name!r} was taken away by nobody, now {looked.old} and {looked.new}"
                )

    def _pairs(self, form: Form | None) -> Pairs:
        return pairs(form) if form is not None and form.kind in self._kinds else frozenset()

    def _require_stable(
        self, state: State, after: State, aim: str, looked: Looked, *, reported: bool
    ) -> None:
        """One more look writes nothing (I6); a process without the lock changes nothing (I8)."""
        if aim == "copies_removed":
            return
        again = self._looks_at.look(after, aim, reported=False)
        # What is taken for deleted field by field is, after an eviction, no more proved as a whole.
        if again.writes and not (state.evicted and after.new is None):
            raise Broken(f"I6: one more look writes, and leaves {again.old} and {again.new} of {after}")
        if looked.writes and self.words.has_stale:
            self._looks_at.require_fenced(state, aim, reported=reported)

    def _refused(
        self, state: State, name: str, aim: str, number: int, *, reported: bool
    ) -> tuple[str, State]:
        """A look of which one write is refused, at a second document, too."""
        looked = self._looks_at.look(state, aim, reported=reported, refused=number, is_beside=True)
        self._doing = told = f"{name}, write {number} refused"
        copy, has_mark, is_named = looked.others
        if looked.is_stopped:
            is_done = None
        else:
            is_done = copy == BESIDE[self.words.kind] and has_mark
            if aim != "copies_removed" and is_done == is_named:
                raise Broken(
                    f"{told}: the document beside it is {copy}, its mark {has_mark}, named {is_named}"
                )
        self._require_safe(state, looked)
        # Of a run that was stopped some documents may be done.
        refused = [why for why in looked.named if NOT_CARRIED_BACK not in why]
        is_whole = looked.mark != state.mark if looked.is_stopped else not refused
        if is_named or is_whole:
            after = self._checked(state, aim, looked, reported=reported)
            return told, crashed(after) if looked.is_stopped else after
        counted = bool(is_done) * (2 if aim == "originals_removed" else 1)
        is_first = state.mark is None and state.new is None
        if not looked.is_stopped and looked.done > counted and not is_first:
            raise Broken("I5: it counts as done")
        ledger = state.ledger
        if looked.mark not in {state.mark, None}:
            if not (aim == "originals_removed" and looked.old is not None):
                raise Broken("I5: it is marked as in step")
            # That the original goes was noted, and it stands: it counts as written since.
            look = Look(state.old, state.new, state.clock, state.evicted, aim, reported, self.words.kind)
            ledger = next(each.ledger for each in expected(look, ledger))
        elif aim == "originals_removed" and state.old is not None and looked.old is None:
            raise Broken("I5: the original went, and nothing has noted that")
        ledger = _with_seen(ledger, looked, safe_after(state, looked, ledger.safe))
        after = state._replace(old=looked.old, new=looked.new, mark=looked.mark, told=False, ledger=ledger)
        return told, crashed(after) if looked.is_stopped else after

    def _race(self, state: State, aim: str) -> None:
        """Another client writes between reading and writing: as if it had written before."""
        for side, key, event in self._raced(state):
            after_world = (with_old if side == "old" else with_new)(state, event)
            raced = self._looks_at.look_anew(
                state,
                aim,
                reported=False,
                before_exec=lambda server, key=key, event=event: (
                    server.keys.pop(key, None) if event is None else server.keys.__setitem__(key, event)
                ),
            )
            straight = self._looks_at.look(after_world, aim, reported=False)
            if raced[:3] != straight[:3]:
                raise Broken(f"a write between reading and writing: {raced} instead of {straight}")

    def _raced(self, state: State) -> Iterator[tuple[str, bytes, Form | None]]:
        for _, event in self._events[:3]:
            for side, key, form in (("old", OLD, state.old), ("new", NEW, state.new)):
                after = event(form, state.clock)
                if after != form:
                    yield side, key, after


def _with_seen(ledger: Ledger, looked: Looked, safe: Pairs) -> Ledger:
    """What is there was not evicted."""
    return ledger._replace(
        safe=safe,
        is_old_evicted=ledger.is_old_evicted and looked.old is None,
        is_new_evicted=ledger.is_new_evicted and looked.new is None,
        is_new_over=ledger.is_new_over and looked.new is None,
    )
