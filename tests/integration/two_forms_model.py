"""The table of two forms as a model: what becomes of a document while two releases of an application write.

A document is in one of several states that can't be told apart from outside, since nobody knows when a
command looks at it. So a document is a set of states. What is found on the server takes those away that it
refutes; when none is left, the table is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from two_forms_documents import NEVER, Doc, Way


@dataclass(frozen=True)
class State:
    """One document as a run may know it.

    Attributes:
        old: Under the old prefix.
        new: Its copy.
        base: Both as the run saw them in step last; None where it never did.
        proved: The copy was deleted while a process that had it in step looked on.
        removed: The original was removed, as its copy stands for it.
        lost: Values that were replaced since they were in step, and have to be in a backup.
        is_foreign: The copy was there already, and equal; or the original was made after it.
        finishing: The run that is undone still goes on to remove its originals, which are `new` here: all
            but `old` and `new` is said in its direction.
    """

    old: Doc | None = None
    new: Doc | None = None
    base: tuple[Doc | None, Doc | None] | None = None
    proved: bool = False
    removed: bool = False
    lost: frozenset[bytes] = frozenset()
    is_foreign: bool = False
    finishing: bool = False

    def at(self, now: int) -> State:
        """After the lifetimes that have passed by a time."""
        old = self.old and self.old.at(now)
        new = self.new and self.new.at(now)
        return self if (old, new) == (self.old, self.new) else replace(self, old=old, new=new)

    @property
    def moments(self) -> set[int]:
        """When lifetimes pass."""
        docs = [doc for doc in (self.old, self.new) if doc is not None]
        return {at for doc in docs for at in (doc.expires, *(at for *_, at in doc.fields)) if at > NEVER}

    @property
    def turned(self) -> State:
        """In the other direction, but for what is said in that already."""
        return replace(self, old=self.new, new=self.old, finishing=not self.finishing)

    def __str__(self) -> str:
        base = "never in step" if self.base is None else f"in step as {self.base[0]} | {self.base[1]}"
        flags = [name for name in ("proved", "removed", "finishing") if getattr(self, name)]
        return f"{self.old} | {self.new} ({base}{' '.join(['', *flags])})"


States = frozenset[State]


def in_step(
    old: Doc | None, new: Doc | None, lost: Iterable[bytes] = (), *, is_foreign: bool = False
) -> State:
    """Both as a look has left them."""
    if old is None and new is None:
        return State(lost=frozenset(lost))
    return State(old, new, (old, new), lost=frozenset(lost), is_foreign=is_foreign)


def has_failed(state: State, way: Way) -> bool:
    """Whether there can't be a good copy: it has to be named, and stays as it is."""
    if state.finishing:
        return has_failed(state.turned, way.reversed)
    if state.old is None:
        return False
    wanted = way.forward(state.old)
    if wanted is None:
        return True
    if state.base is not None or state.new is None:
        return False
    return way.is_in_place or state.new != wanted


def look(state: State, way: Way, *, carries_back: bool) -> set[State]:
    """What a command makes of a document when it looks at it: the table.

    Args:
        state: Before.
        way: Of the run.
        carries_back: Whether what the new release wrote goes to the original as well.
    """
    old, new, base = state.old, state.new, state.base
    if state.finishing:
        return set()
    if state.removed:
        return _carry_late_write(state, way)
    if old is None and new is None:
        return {State(lost=state.lost)}
    if base is None:
        return _first_look(state, way, carries_back)
    if state.is_foreign and (old, new) != base:
        # It has no mark, so that it may be taken for what it was: another's.
        forgotten = replace(state, base=None, is_foreign=False)
        own = look(replace(state, is_foreign=False), way, carries_back=carries_back)
        # It goes on not to be the run's, so that a rollback leaves it.
        return own | {replace(seen, is_foreign=True) for seen in own} | {forgotten}
    if old is None:
        return {_without_original(state, base, way, carries_back=carries_back)}
    wanted = way.forward(old)
    if wanted is None:
        return _look_at_hopeless(state, way, carries_back=carries_back)
    if new is None:
        if state.proved and old == base[0]:
            return {State(lost=state.lost | _values(old))}
        return {in_step(old, wanted, state.lost)}
    return _look_at_both(state, way, wanted, new, carries_back=carries_back)


def _look_at_both(state: State, way: Way, wanted: Doc, new: Doc, *, carries_back: bool) -> set[State]:
    seen = _merged(state, way, wanted, carries_back=carries_back)
    found = _look_at_changes(state, way, wanted, new, seen, carries_back=carries_back)
    came_again = state.base is not None and state.base[0] is None and wanted.expires == NEVER
    if came_again and seen.old is not None and seen.new is not None:
        # Another key than the one that went, and nobody has made it eternal: it may live as long as its copy.
        dated = tuple(replace(each, expires=new.expires) for each in (seen.old, seen.new))
        found.add(in_step(*dated, seen.lost, is_foreign=state.is_foreign))
    return found


def _look_at_changes(
    state: State, way: Way, wanted: Doc, new: Doc, seen: State, *, carries_back: bool
) -> set[State]:
    if not carries_back and seen.base is not None:
        # What only the new release has written is still a change since both were in step.
        return {seen, replace(seen, base=(state.old, wanted))}
    if way.back(new) is not None or state.old is None:
        return {seen}
    # What can't be carried back is not in step, though the lifetime of the key goes either way.
    if seen.new is None:
        return {seen, state, replace(state, old=None)}
    dated, dated_copy = (replace(each, expires=seen.new.expires) for each in (state.old, new))
    return {seen, state, replace(state, old=dated), replace(state, new=dated_copy)}


def _without_original(
    state: State, base: tuple[Doc | None, Doc | None], way: Way, *, carries_back: bool
) -> State:
    new = state.new
    if new == base[1] and base[0] is not None:
        return State(lost=state.lost)
    made = way.back(new) if carries_back and new else None
    return in_step(made, new, state.lost, is_foreign=state.is_foreign or base[0] is None)


def _merged(state: State, way: Way, wanted: Doc, *, carries_back: bool) -> State:
    """Of both forms, with the changes of both sides."""
    old, new, base = state.old, state.new, state.base
    assert new is not None
    assert base is not None
    merged, replaced = _merge(base[0] and way.forward(base[0]), wanted, base[1], new)
    lost = state.lost | replaced
    if merged is None:
        return State(lost=lost)
    if not carries_back or way.back(merged) is None:
        return in_step(old, merged, lost, is_foreign=state.is_foreign)
    # What nobody changed in the new form keeps its name in the old one, whatever that is.
    carried = old if merged == wanted else way.back(merged)
    return in_step(carried, merged, lost, is_foreign=state.is_foreign)


def _look_at_hopeless(state: State, way: Way, *, carries_back: bool) -> set[State]:
    """Of an original that can't have a copy: it stays, unless the new release has written since as well."""
    old, new, base = state.old, state.new, state.base
    # What both were in step as may be forgotten.
    kept = {state, replace(state, base=None)}
    if old is None or base is None or new == base[1]:
        return kept | {replace(state, new=None), replace(state, new=None, base=None)}
    if old == base[0] or new is None:
        return kept
    if base[1] is not None and new.fields == base[1].fields and carries_back:
        # The lifetime of the key goes back all the same.
        kept.add(replace(state, old=replace(old, expires=new.expires), base=(base[0], new)))
    lost = state.lost | _values(old)
    if None not in base and new.expires == base[1].expires and old.expires != base[0].expires:  # type: ignore[union-attr]
        # The lifetime of the key is a matter of its own.
        new = replace(new, expires=old.expires)
    return kept | {in_step(way.back(new) if carries_back else old, new, lost)}


def _first_look(state: State, way: Way, carries_back: bool) -> set[State]:
    old, new = state.old, state.new
    if old is None:
        # Of a document that only the new release knows.
        if not carries_back or new is None:
            return {state}
        return {state, replace(in_step(way.back(new), new), is_foreign=True)}
    wanted = way.forward(old)
    if wanted is None:
        return {state}
    if new is None:
        return {in_step(old, wanted, state.lost)}
    if new == wanted and not way.is_in_place:
        return {replace(in_step(old, new, state.lost), is_foreign=True)}
    return {state}


def _merge(
    before: Doc | None, wanted: Doc, before_new: Doc | None, new: Doc
) -> tuple[Doc | None, frozenset[bytes]]:
    """Both sides' changes together, and the values of the old side that give way."""
    bo, o = _parts(before), _parts(wanted)
    bn, n = _parts(before_new), _parts(new)
    merged: dict[bytes | None, Any] = {}
    replaced: set[bytes] = set()
    for name in bo.keys() | o.keys() | bn.keys() | n.keys():
        is_old_written, is_new_written = o.get(name) != bo.get(name), n.get(name) != bn.get(name)
        merged[name] = n.get(name) if is_new_written or not is_old_written else o.get(name)
        is_conflict = is_old_written and is_new_written and o.get(name) != n.get(name)
        if is_conflict and name is not None and o.get(name) is not None:
            replaced.add(o[name][0])
    expires = merged.pop(None)
    fields = {name: field for name, field in merged.items() if name is not None and field is not None}
    return Doc.of(fields, NEVER if expires is None else expires), frozenset(replaced)


def _parts(doc: Doc | None) -> dict[bytes | None, Any]:
    """Fields, and under None the lifetime of the key."""
    return {} if doc is None else {**doc.by_name, None: doc.expires}


def _values(doc: Doc) -> frozenset[bytes]:
    return frozenset(value for _, value, _ in doc.fields)


def _carry_late_write(state: State, way: Way) -> set[State]:
    """A write under an old key whose original was removed: its fields go to the copy, one by one."""
    old, new = state.old, state.new
    if old is None:
        return {state}
    wanted = way.forward(old)
    if wanted is None:
        return {state}
    if new is None:
        return {replace(state, old=left, new=wanted, base=(None, wanted)) for left in (old, None)}
    before = _parts(state.base[1]) if state.base is not None else {}
    found, late = set(), wanted.by_name
    for all_fields in (True, False):
        for expires in {new.expires, wanted.expires}:
            fields = new.by_name
            for name, field in late.items():
                if all_fields or fields.get(name) == before.get(name):
                    fields[name] = field
            merged = Doc.of(fields, expires)
            # What only the new release has written is still a change of its own.
            known = Doc.of(
                {**(state.base[1].by_name if state.base and state.base[1] else {}), **late}, expires
            )
            # It is carried first, and then removed.
            found |= {
                replace(state, old=left, new=merged, base=(None, base))
                for left in (old, None)
                for base in (merged, known)
            }
    return found


def finish(state: State, way: Way) -> set[State]:
    """What undoing a run does first, which had not yet removed all its originals: that, then it turns."""
    if not state.finishing:
        return {state}
    ahead, forth = state.turned, way.reversed
    done = look(ahead, forth, carries_back=False) | remove_original(ahead, forth)
    begun = {State(state.old, state.new, lost=state.lost)}
    if state.base is not None and not state.removed:
        begun.add(State(state.old, state.new, state.base[::-1], lost=state.lost))
    return {each.turned for each in done} | begun


def restore(state: State, way: Way) -> set[State]:
    """What undoing a run may make of what was written under the old key once the names had moved."""
    if state.finishing:
        return {state}
    old, new = state.old, state.new
    if way.whole is not None and old is not None and new is None:
        return {state, State(None, way.whole[0](old), removed=True, lost=state.lost)}
    wanted = old and way.forward(old)
    if state.base is not None or old is None or new is None or wanted is None:
        return {state}
    return {in_step(old, wanted, state.lost | _values(new))}


def remove_original(state: State, way: Way) -> set[State]:
    """What contract makes of a document once its copy is in step."""
    if state.finishing:
        return {state}
    if state.removed and not has_failed(state, way):
        return {replace(state, old=None)}
    if has_failed(state, way) or (state.old is not None and (state.new is None or state.base is None)):
        return {state}
    bases = {state.new, state.base[1] if state.base is not None else None}
    return {replace(state, old=None, base=(None, base), removed=True) for base in bases}


def remove_copy(state: State, way: Way) -> set[State]:
    """What a rollback before the swap makes of a document."""
    if state.finishing:
        return {state}
    kept, gone = replace(state, base=None), replace(state, new=None, base=None)
    if way.is_in_place and state.removed and state.old is None:
        # It was moved, and is moved back.
        return {kept, State(state.new and way.back(state.new), lost=state.lost)}
    if state.base is None or state.old is None or state.new is None:
        return {kept}
    if way.back(state.new) is None and state.new != way.forward(state.old):
        return {kept}
    if way.forward(state.old) is None:
        # The copy is older than its original: it may be left, and has to be where the application wrote it.
        return {kept} if state.new != state.base[1] else {kept, gone}
    if not state.is_foreign:
        return {gone}
    # It stays as it is, though its original gets what is written to it.
    looks = look(state, way, carries_back=True)
    return {kept, gone} | {State(seen.old, state.new, lost=seen.lost) for seen in looks}


Change = Callable[[State], set[State]]


def closure(states: Iterable[State], changes: Iterable[Change], now: int, most: int = 4000) -> States:
    """All states that changes and the time can lead to, in any order and number."""
    found: set[State] = set()
    left = list(states)
    changes = list(changes)
    while left:
        state = left.pop()
        if state in found:
            continue
        found.add(state)
        assert len(found) < most, "the model does not come to an end"
        if state.base is not None:
            # What they were in step as has passed, too, so that what is missing was not taken away.
            left.append(replace(state, base=tuple(doc and doc.at(now) for doc in state.base)))
        # Lifetimes pass one by one, with looks between them.
        left += [state.at(moment) for moment in {now, *(each + 1 for each in state.moments if each < now)}]
        for change in changes:
            left += change(state)
    return frozenset(found)
