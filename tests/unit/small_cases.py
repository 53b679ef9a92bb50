"""Every state of one document that is reachable while two releases write and a migration goes on.

Walks breadth first over a model of Redis. What decides is the real code: `Copies`, and the driver that reads,
writes in MULTI and EXEC, and names what was refused. What a look has to lead to says `small_rules`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from small_rules import ONLY_NEW, UNCONVERTIBLE, Look, Pairs, expected, pairs
from small_server import NEVER, RUN_ID, Form, Server, hash_of
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

from redismigrate.errors import FenceLost
from redismigrate.execution.documents import mark_store, synchronising
from redismigrate.execution.documents.batch import Failure
from redismigrate.execution.documents.copies import Copies
from redismigrate.execution.documents.fence import Fence
from redismigrate.execution.documents.marks import fence_of
from redismigrate.execution.documents.removals import Removals
from redismigrate.execution.documents.replaced import Replaced
from redismigrate.execution.documents.whole_documents import Documents, DocumentTransform
from redismigrate.schema import IndexSchema, TagField
from redismigrate.schema.moves import PrefixChange
from redismigrate.state.keys import StateKeys

OLD, NEW = b"product:1", b"shop:product:1"
BESIDE_OLD, BESIDE_NEW = b"product:2", b"shop:product:2"
BESIDE = {"hash": Form("hash", ((b"a", b"9", NEVER),)), "json": Form("json", b"9")}
CHANGE = PrefixChange("product:", "shop:product:")
STATE = StateKeys("p")
FENCE_KEY = STATE.fence.encode()
TOKEN = b"7"


AIMS = {"expanded": "beside", "serving": "serving", "removing": "originals_removed"}


class Looked(NamedTuple):
    """What a look has done.

    Attributes:
        old: The original.
        new: The copy.
        mark: The mark.
        kept: What was backed up.
        named: Why it is unfinished; none where it is not named.
        is_listed: As a conflict.
        is_unproved: It was counted among what goes without proof.
        done: How often it was counted as done.
        writes: How many writes there were.
        is_stopped: The run was stopped.
        others: What was at other documents' keys.
    """

    old: Form | None
    new: Form | None
    mark: bytes | None
    kept: tuple[Replaced, ...]
    named: tuple[str, ...]
    is_listed: bool
    is_unproved: bool
    done: int
    writes: int
    is_stopped: bool
    others: tuple[Any, ...]


class Broken(AssertionError):
    """What has to hold does not."""


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
    looks: dict[Any, Looked] = field(default_factory=dict)
    parents: dict[State, tuple[State, str] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._events = events_of(self.words)
        self._prefix = mark_store.mark_prefix(STATE, "run-1", "way")
        self._other_prefix = mark_store.mark_prefix(STATE, "run-0", "way")
        path = {"path": "$.a"} if self.words.kind == "json" else {}
        self._schema = IndexSchema(
            name="products",
            storage_type=self.words.kind,
            prefixes=("product:",),
            fields=(TagField(name="a", **path),),
        )
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
        mark = state.mark if self._prefix == self._other_prefix else None
        return next_run(state)._replace(mark=of_another(mark))

    # Looks.

    def _looks(self, state: State, name: str, aim: str, *, reported: bool) -> Iterator[tuple[str, State]]:
        self._doing = name
        is_document = state.old is not None and state.old.kind in self._kinds
        is_met = state.mark is not None if aim == "copies_removed" else is_document or state.mark is not None
        if not (is_met or reported):
            yield name, state._replace(told=False)
            return
        looked = self._look(state, aim, reported=reported)
        after = self._checked(state, aim, looked, reported=reported)
        self._require_stable(state, after, aim, looked, reported=reported)
        yield name, after
        if looked.writes and self.words.has_refusals:
            for number in range(looked.writes + 1):
                yield self._refused(state, name, aim, number, reported=reported)
        if looked.writes and self.words.has_races and not reported:
            self._race(state, aim)

    def _look(self, state: State, aim: str, **how: Any) -> Looked:
        key = (*state[:5], aim, *how.items())
        if key not in self.looks:
            self.looks[key] = self._look_anew(state, aim, **how)
        return self.looks[key]

    def _look_anew(
        self,
        state: State,
        aim: str,
        *,
        reported: bool,
        refused: int | None = None,
        is_beside: bool = False,
        before_exec: Callable[[Server], None] | None = None,
        token: bytes = TOKEN,
    ) -> Looked:
        marks = STATE.marks.encode()
        keys = {
            OLD: state.old,
            NEW: state.new,
            self._prefix + OLD: None if state.mark is None else Form("string", state.mark),
            FENCE_KEY: Form("string", token),
            BESIDE_OLD: BESIDE[self.words.kind] if is_beside else None,
        }
        if self._prefix != self._other_prefix:
            keys[self._other_prefix + OLD] = Form("string", b"of another run")
        server = Server(
            {name: form for name, form in keys.items() if form is not None},
            state.clock,
            int(state.evicted),
            refused,
            marks,
            self._prefix,
            before_exec,
        )
        kept: list[Replaced] = []
        copies = Copies(
            self._schema,
            self._schema.storage_type,
            (CHANGE,),
            _leaving_out(UNCONVERTIBLE),
            self._prefix,
            aim,
            _leaving_out(ONLY_NEW),
            fence_of(TOKEN),
            Removals(before=(RUN_ID, 0)),
            kept.extend,
            {OLD} if reported else set(),
        )
        batch = [OLD, BESIDE_OLD] if is_beside else [OLD]
        turn = synchronising._Turn(server, copies, batch, Fence(FENCE_KEY, TOKEN))
        is_stopped = False
        try:
            turn.ask()
            turn.write()
            if not turn.is_done():
                turn.repeat()
        except FenceLost:
            raise
        except Exception as error:
            if refused is None:
                raise Broken(f"a look at it fails: {error!r}") from error
            is_stopped = True
        if not is_stopped and not server.is_drained:
            raise Broken("replies are left over")
        result = turn.result
        done = (
            result.written,
            result.removed,
            result.turned_back,
            result.only_new,
            result.only_new_deleted,
            result.made_again,
        )
        mark = server.keys.get(self._prefix + OLD)
        beside = server.keys.get(BESIDE_NEW), self._prefix + BESIDE_OLD in server.keys
        named_beside = any(each.key == BESIDE_OLD for each in turn.failures)
        return Looked(
            server.keys.get(OLD),
            server.keys.get(NEW),
            None if mark is None else mark.content,
            tuple(kept),
            tuple(each.reason for each in turn.failures if each.key == OLD),
            any(each.key == OLD for each in turn.conflicts),
            OLD in copies.removals.unproved,
            sum(done),
            server.writes,
            is_stopped,
            (*beside, named_beside),
        )

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
        ledger = each.ledger._replace(safe=_safe(state, looked, each.ledger.safe))
        return state._replace(old=looked.old, new=looked.new, mark=looked.mark, told=False, ledger=ledger)

    def _kept(self, state: State, looked: Looked) -> list[tuple[bytes, Form | None]]:
        return [(each.key, _form_of(each, state)) for each in looked.kept]

    def _require_safe(self, state: State, looked: Looked) -> None:
        """What an original has lost was safe before (I3); nothing is lost that nobody took away (I2).

        And what the new release has written is in one of both (I1).
        """
        gone = self._pairs(state.old) - pairs(looked.old)
        unsafe = gone - state.ledger.safe - _backed_up(looked) - self._pairs(looked.new)
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
        again = self._look(after, aim, reported=False)
        # What is taken for deleted field by field is, after an eviction, no more proved as a whole.
        if again.writes and not (state.evicted and after.new is None):
            raise Broken(f"I6: one more look writes, and leaves {again.old} and {again.new} of {after}")
        if looked.writes:
            self._require_fenced(state, aim, reported=reported)

    def _require_fenced(self, state: State, aim: str, *, reported: bool) -> None:
        key = ("fenced", *state[:5], aim, reported)
        if key in self.looks:
            return
        self.looks[key] = self._look(state, aim, reported=reported)
        servers: list[Server] = []

        def take_over(server: Server) -> None:
            servers.append(server)
            server.keys[FENCE_KEY] = Form("string", b"8")

        for how in ({"token": b"8"}, {"before_exec": take_over}):
            try:
                self._look_anew(state, aim, reported=reported, **how)
            except FenceLost:
                continue
            raise Broken("I8: a process without the lock goes on")
        if servers and servers[0].written:
            raise Broken(f"I8: a process without the lock writes {servers[0].written}")

    def _refused(
        self, state: State, name: str, aim: str, number: int, *, reported: bool
    ) -> tuple[str, State]:
        """A look of which one write is refused, at a second document, too."""
        looked = self._look(state, aim, reported=reported, refused=number, is_beside=True)
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
        is_whole = looked.mark != state.mark if looked.is_stopped else not looked.named
        if is_named or is_whole:
            after = self._checked(state, aim, looked, reported=reported)
            return told, crashed(after) if looked.is_stopped else after
        counted = bool(is_done) * (2 if aim == "originals_removed" else 1)
        is_first = state.mark is None and state.new is None
        if not looked.is_stopped and looked.done > counted and not is_first:
            raise Broken("I5: it counts as done")
        if looked.mark not in {state.mark, None}:
            raise Broken("I5: it is marked as in step")
        ledger = state.ledger._replace(safe=_safe(state, looked, state.ledger.safe))
        after = state._replace(old=looked.old, new=looked.new, mark=looked.mark, told=False, ledger=ledger)
        return told, crashed(after) if looked.is_stopped else after

    def _race(self, state: State, aim: str) -> None:
        """Another client writes between reading and writing: as if it had written before."""
        for side, key, event in self._raced(state):
            after_world = (with_old if side == "old" else with_new)(state, event)
            raced = self._look_anew(
                state,
                aim,
                reported=False,
                before_exec=lambda server, key=key, event=event: (
                    server.keys.pop(key, None) if event is None else server.keys.__setitem__(key, event)
                ),
            )
            straight = self._look(after_world, aim, reported=False)
            if raced[:3] != straight[:3]:
                raise Broken(f"a write between reading and writing: {raced} instead of {straight}")

    def _raced(self, state: State) -> Iterator[tuple[str, bytes, Form | None]]:
        for _, event in self._events[:3]:
            for side, key, form in (("old", OLD, state.old), ("new", NEW, state.new)):
                after = event(form, state.clock)
                if after != form:
                    yield side, key, after


def _leaving_out(value: bytes) -> DocumentTransform:
    """The transform that changes nothing, and can't convert one value."""

    def transform(documents: Documents) -> Documents:
        contents, failures = list(documents.contents), []
        for row, document in enumerate(contents):
            if value in (document.values() if isinstance(document, dict) else {document}):
                contents[row] = None
                failures.append(Failure(row, "it is odd"))
        return Documents(contents, documents.expiries, failures) if failures else documents

    return transform


def _form_of(kept: Replaced, state: State) -> Form | None:
    """What was backed up, as a form."""
    found = kept.original
    lifetime = NEVER if found.expires_ms < 0 else found.expires_ms // 1000
    if isinstance(found.document, bytes):
        return Form("json", found.document, lifetime)
    if found.document is None:
        return None
    moments = {name: moment // 1000 for name, moment in found.expiries.items()}
    return hash_of(
        {name: (value, moments.get(name, NEVER)) for name, value in found.document.items()}, lifetime
    )


def _backed_up(looked: Looked) -> Pairs:
    found: set[tuple[bytes, bytes]] = set()
    for each in looked.kept:
        document = each.original.document
        found |= {(b"", document)} if isinstance(document, bytes) else set((document or {}).items())
    return frozenset(found)


def _safe(state: State, looked: Looked, before: Pairs) -> Pairs:
    """What of an original is in the backup, or was written by the run."""
    now = pairs(looked.old)
    return before | state.ledger.safe | _backed_up(looked) | (now - pairs(state.old))
