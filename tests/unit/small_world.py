"""What may happen to one document while two releases write it: the words of all small cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from small_rules import ONLY_NEW, UNCONVERTIBLE, Ledger
from small_server import NEVER, Form, hash_of

from redismigrate.execution.documents.beside.marks import Mark, fence_of

OLD_FENCE = fence_of(b"6")


@dataclass(frozen=True)
class Words:
    """What may happen.

    Attributes:
        kind: Of documents.
        values: Of field `a`, or of JSON documents.
        moments: When field `t` may expire; none for no such field.
        later_values: Of field `t`.
        lifetimes: When the key may expire.
        has_foreign: Keys of another type may be written.
        has_evictions: The server may evict keys.
        has_refusals: Each write may be refused.
        has_races: Writes may come between reading and writing.
        has_odd: Some values of originals can't be converted, some of copies not be carried back.
        has_stale: A process that has lost the lock may go on.
        is_slow: The transforms take long: they run while nothing is watched.
    """

    kind: str = "hash"
    values: tuple[bytes, ...] = (b"1", b"2")
    moments: tuple[int, ...] = ()
    later_values: tuple[bytes, ...] = (b"1",)
    lifetimes: tuple[int, ...] = ()
    has_foreign: bool = False
    has_evictions: bool = False
    has_refusals: bool = False
    has_races: bool = False
    has_odd: bool = False
    has_stale: bool = False
    is_slow: bool = False


class State(NamedTuple):
    """One document, the migration, and the truth about it.

    Attributes:
        old: The original.
        new: The copy.
        mark: As it is stored.
        clock: The moment.
        evicted: The server has evicted something since this process began.
        told: The server has told this process that the copy was written, which has no mark.
        phase: "expanded", "serving" or "removing".
        ledger: The truth.
    """

    old: Form | None = None
    new: Form | None = None
    mark: bytes | None = None
    clock: int = 0
    evicted: bool = False
    told: bool = False
    phase: str = "expanded"
    ledger: Ledger = Ledger()


Event = Callable[[Form | None, int], Form | None]


def _setting(name: bytes, value: bytes, moment: int = NEVER) -> Event:
    def event(form: Form | None, clock: int) -> Form | None:
        if form is not None and form.kind != "hash":
            return form
        fields = {} if form is None else form.fields()
        if 0 <= moment <= clock:
            return form
        return hash_of({**fields, name: (value, moment)}, NEVER if form is None else form.lifetime)

    return event


def _deleting(name: bytes) -> Event:
    def event(form: Form | None, clock: int) -> Form | None:
        if form is None or form.kind != "hash":
            return form
        left = {each: value for each, value in form.fields().items() if each != name}
        return hash_of(left, form.lifetime)

    return event


def _expiring(moment: int) -> Event:
    def event(form: Form | None, clock: int) -> Form | None:
        return form if form is None or 0 <= moment <= clock else form._replace(lifetime=moment)

    return event


def _anew(form: Form | None) -> Event:
    return lambda _form, _clock: form


def _writing(text: bytes) -> Event:
    def event(form: Form | None, clock: int) -> Form | None:
        return Form("json", text, NEVER if form is None else form.lifetime)

    return event


def events_of(words: Words) -> list[tuple[str, Event]]:
    """What a release may do to its form."""
    events: list[tuple[str, Event]] = [("deletes the document", _anew(None))]
    if words.has_odd:
        words = replace(words, values=(*words.values, UNCONVERTIBLE, ONLY_NEW))
    if words.kind == "json":
        events += [(f"JSON.SET $ {value.decode()}", _writing(value)) for value in words.values]
    else:
        for value in words.values:
            events.append((f"HSET a {value.decode()}", _setting(b"a", value)))
            events.append((f"DEL, HSET a {value.decode()}", _anew(hash_of({b"a": (value, NEVER)}))))
        events.append(("HDEL a", _deleting(b"a")))
        for moment in words.moments:
            for value in words.later_values:
                until = "for ever" if moment == NEVER else f"until {moment}"
                events.append((f"HSET t {value.decode()} {until}", _setting(b"t", value, moment)))
        if words.moments:
            events.append(("HDEL t", _deleting(b"t")))
    for lifetime in words.lifetimes:
        name = "PERSIST" if lifetime == NEVER else f"EXPIREAT {lifetime}"
        events.append((name, _expiring(lifetime)))
    if words.has_foreign:
        events.append(("SET", _anew(Form("string", b"x"))))
    return events


def of_the_world(state: State, words: Words, events: list[tuple[str, Event]]) -> Iterator[tuple[str, State]]:
    """What applications, time and the server may do."""
    for name, event in events:
        old = event(state.old, state.clock)
        if old != state.old:
            yield f"the old release: {name}", with_old(state, old)
        new = event(state.new, state.clock)
        if new != state.new:
            yield f"the new release: {name}", with_new(state, new)
    if state.clock < max((0, *words.moments, *words.lifetimes)):
        yield "time passes", _later(state)
    if not words.has_evictions:
        return
    if state.old is not None:
        after = with_old(state, None)._replace(evicted=True)
        yield "the original is evicted", after._replace(ledger=after.ledger._replace(is_old_evicted=True))
    if state.new is not None:
        after = with_new(state, None)._replace(evicted=True)
        yield "the copy is evicted", after._replace(ledger=after.ledger._replace(is_new_evicted=True))


def crashed(state: State) -> State:
    """Another process goes on, with a fence of its own."""
    phase = "serving" if state.phase == "removing" else state.phase
    ledger = state.ledger._replace(is_mine=False)
    if ledger.is_deleted:
        # That it was written again after that, and evicted, nobody can know who was not there.
        ledger = ledger._replace(is_new_evicted=False)
    mark = of_another(state.mark)
    return state._replace(mark=mark, evicted=False, told=False, phase=phase, ledger=ledger)


def with_old(state: State, old: Form | None) -> State:
    ledger = state.ledger._replace(is_old_evicted=False)
    return state._replace(old=old, ledger=ledger)


def with_new(state: State, new: Form | None) -> State:
    told = state.mark is None and state.phase == "expanded" and new is not None
    ledger = state.ledger._replace(is_new_evicted=False, is_new_over=False)
    return state._replace(new=new, told=told, ledger=ledger)


def _later(state: State) -> State:
    clock = state.clock + 1
    old, new = (None if form is None else form.at(clock) for form in (state.old, state.new))
    ledger = state.ledger
    if new is None and state.new is not None:
        ledger = ledger._replace(is_new_over=True)
    return state._replace(old=old, new=new, clock=clock, ledger=ledger)


def next_run(state: State) -> State:
    return State(state.old, state.new, clock=state.clock)


def of_another(mark: bytes | None) -> bytes | None:
    """A mark as one process leaves it to another."""
    decoded = Mark.decoded(mark)
    return None if decoded is None else replace(decoded, fence=OLD_FENCE).encoded()
