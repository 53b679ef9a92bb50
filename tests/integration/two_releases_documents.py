"""What the table admits of every document by now, narrowed by all that is seen on the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from two_forms_documents import BLINK_MS, Doc, Way
from two_forms_model import (
    Change,
    State,
    States,
    closure,
    finish,
    has_failed,
    look,
    remove_copy,
    remove_original,
    restore,
)
from two_releases import EVICT, FAR_AWAY, Releases, Word

MARKER = re.compile(rb"w\d+x")
# So near to its end a command can't know of writes under old keys any more.
LAST_SENDS = 6
LEFT = 12
# By how much lifetimes that don't pass meanwhile differ.
MOST_OFF = 10_000

Outcome = Literal["as it was", "interrupted", "expanded", "finished", "undone"]


class Broken(AssertionError):
    """What the server holds is not what the table says."""


@dataclass
class Attempt:
    """One command while it runs.

    Attributes:
        removes_originals: It may have come to that.
        removes_copies: It may have come to that.
        restores: It undoes a run whose names had moved.
        has_followed: It is `follow`, and has looked at all: what the new release writes is carried back.
        sent: How many sends there were.
        at_work: At which of them there was a run last; what is sent after it has ended looks at no document.
        is_settled: It has looked at all documents since the last word.
        written: The documents that were written meanwhile, and at which send last.
        over: Those that were written when the run was over already.
        failing: Those that perhaps could not have a copy at some time.
        has_evicted: The server has evicted something: from then on nothing is proved to be deleted.
    """

    removes_originals: bool = False
    removes_copies: bool = False
    restores: bool = False
    has_followed: bool = False
    sent: int = 0
    at_work: int | None = None
    is_settled: bool = False
    written: dict[bytes, int] = field(default_factory=dict)
    over: set[bytes] = field(default_factory=set)
    failing: set[bytes] = field(default_factory=set)
    has_evicted: bool = False


class KnownDocuments:
    """All documents under both prefixes, as sets of states.

    Args:
        releases: Who writes them.
        way: What an upgrade makes of them.
        tell: Is told what happens.
    """

    def __init__(self, releases: Releases, way: Way, tell: Callable[[str], None]) -> None:
        self._releases, self._way, self._tell = releases, way, tell
        self.sets: dict[bytes, States] = {}
        # While the run at work goes down, the old form is that under the new prefix.
        self.is_down = False
        # What a document is that nobody has written yet.
        self._unknown: States = frozenset([State()])
        self.attempt: Attempt | None = None
        # What the user of the migration could not write at some time of the run.
        self.rightless: set[bytes] = set()

    @property
    def way(self) -> Way:
        """Of the run at work."""
        return self._way.reversed if self.is_down else self._way

    def turn(self, is_down: bool, *, keeps_steps: bool = False) -> None:
        """Begin a run in a direction.

        Args:
            is_down: Which.
            keeps_steps: It undoes one that has not removed all originals yet, and does so first.
        """
        is_turned = is_down != self.is_down
        self.rightless.clear()
        self.is_down = is_down
        self._unknown = frozenset([State(), State(finishing=True)] if keeps_steps else [State()])
        for suffix, states in self.sets.items():
            begun = {State(*((s.new, s.old) if is_turned else (s.old, s.new))) for s in states}
            if keeps_steps:
                begun |= {state.turned for state in states}
            self.sets[suffix] = frozenset(begun)

    def forget(self) -> None:
        """The record is gone, and with it what was in step."""
        self.turn(self.is_down)

    def say(self, word: Word, *, is_over: bool = False) -> None:
        """Let a release say a word.

        Args:
            word: What.
            is_over: The run at work has ended, though its command has not.
        """
        attempt = self.attempt
        spoken = self._releases.speak(word)
        states = self.sets.get(word.suffix, self._unknown)
        states = closure(states, self._changes(), spoken.before_ms)
        states |= {state.at(spoken.before_ms + BLINK_MS) for state in states}
        met, left = self._oriented(spoken.before), self._oriented(spoken.after)
        states = self._narrowed(word.suffix, states, met, f"before {word.name} by the {word.side} release")
        by_new = (word.side == "new") != self.is_down
        if attempt is not None and word.name == EVICT:
            self._doubt_proofs(attempt)
        said: set[State] = set()
        for state in states:
            base = state.base
            if attempt is not None and attempt.has_followed and by_new and met == (None, None):
                base = (None, None)
            after = replace(state, old=left[0], new=left[1], base=base)
            place = int(not state.finishing)
            after = replace(after, proved=state.proved and left[place] is None)
            is_copy = by_new != state.finishing
            is_seen = is_copy and met[place] is not None and left[place] is None and base is not None
            if word.name == EVICT:
                after = replace(after, proved=False)
            if not is_seen or attempt is None or is_over or attempt.has_evicted:
                said.add(after)
                continue
            said.add(replace(after, proved=True))
            deleted = met[place]
            # What can't be carried back was never in step with this process.
            if not attempt.is_settled or (deleted is not None and self.way.back(deleted) is None):
                said.add(after)
        self.sets[word.suffix] = frozenset(said)
        if attempt is not None:
            attempt.written[word.suffix] = attempt.sent
            attempt.is_settled = False
            if any(has_failed(state, self.way) for state in said):
                attempt.failing.add(word.suffix)
            if is_over:
                attempt.over.add(word.suffix)
        self._tell(f"the {word.side} release: {word.name} {word.suffix!r} {met[0]} | {met[1]}")
        self._tell(f"    -> {word.suffix!r} {left[0]} | {left[1]}")

    def _doubt_proofs(self, attempt: Attempt) -> None:
        """What was deleted and not looked at before the server evicts something is no proved deletion."""
        attempt.has_evicted = True
        for suffix, states in self.sets.items():
            self.sets[suffix] = states | {replace(state, proved=False) for state in states}

    def settle(
        self, outcome: Outcome, *, is_complete: bool, is_reverse: bool, named: Container[bytes] = ()
    ) -> None:
        """Compare all documents with what the table admits when a command has ended.

        Args:
            outcome: How the run stands.
            is_complete: The command has come to its end by itself.
            is_reverse: A run that had moved names was undone.
            named: The documents that the user was told of: what was written late, or may not be written
                any more, may stay where it is.
        """
        now, found = self._releases.snapshot()
        attempt, way = self.attempt or Attempt(), self.way
        end = attempt.sent if attempt.at_work is None else attempt.at_work
        for suffix, states in self.sets.items():
            may = closure(states, self._changes(), now)
            right = set(may)
            is_late = end - attempt.written.get(suffix, -LEFT) <= LAST_SENDS
            if outcome in {"finished", "undone"} and suffix not in attempt.over:
                removal = remove_copy if outcome == "undone" else remove_original
                right = {
                    last
                    for state in may
                    for seen in look(state, way, carries_back=outcome == "undone")
                    for last in removal(seen, way)
                }
                was_in_the_way = suffix in attempt.written or suffix in self.rightless
                if is_late or is_reverse or (was_in_the_way and suffix in named):
                    right |= may
            elif outcome == "expanded" and is_complete and suffix not in attempt.written:
                right = {
                    seen
                    for state in may
                    for back in (True, False)
                    for seen in look(state, way, carries_back=back)
                }
            met = tuple(found.pop(prefix + suffix, None) for prefix in self._releases.prefixes)
            right = {state.at(moment) for state in right for moment in (now - BLINK_MS, now, now + BLINK_MS)}
            left = self._narrowed(suffix, frozenset(right), self._oriented(met), f"{outcome}")  # type: ignore[arg-type]
            if outcome in {"finished", "undone"}:
                self._require_in_backup(suffix, left)
            # That the new release has made a document is known only to who has seen it.
            unseen = frozenset(replace(s, base=None) for s in left if s.base == (None, None))
            self.sets[suffix] = frozenset(replace(s, proved=False) for s in left | unseen)
        if found:
            raise Broken(f"{outcome}: nobody wrote {sorted(found)[:5]}")

    def is_settled(self) -> bool:
        """Whether all documents are as they are to be once `follow` has looked at them; narrows them then."""
        now, found = self._releases.snapshot()
        settled = {}
        for suffix, states in self.sets.items():
            may = closure(states, self._changes(), now)
            seen = {seen for state in may for seen in look(state, self.way, carries_back=True)}
            right = {state.at(moment) for state in seen for moment in (now - BLINK_MS, now, now + BLINK_MS)}
            met = self._oriented(tuple(found.get(p + suffix) for p in self._releases.prefixes))  # type: ignore[arg-type]
            # What seems to be settled may still be on its way.
            settled[suffix] = frozenset(state for state in right | may if (state.old, state.new) == met)
            if not any((state.old, state.new) == met for state in right):
                self.unsettled = f"{suffix!r}: {met[0]} | {met[1]}, not one of " + ", ".join(map(str, right))
                return False
        self.sets.update(settled)
        return True

    def failing(self, *, surely: bool) -> list[bytes]:
        """The documents of which there can't be a good copy, surely or perhaps."""
        all_or_any = all if surely else any
        way = self.way
        return [s for s, states in self.sets.items() if all_or_any(has_failed(x, way) for x in states)]

    def in_conflict(self) -> list[bytes]:
        """The documents that both releases have written differently: the next look replaces something."""
        way = self.way

        def replaces(state: State) -> bool:
            if any(moment < FAR_AWAY - MOST_OFF for moment in state.moments):
                return False  # it may be gone before it is looked at
            seen = look(state, way, carries_back=True)
            return bool(seen) and all(after.lost - state.lost for after in seen)

        both = {
            suffix
            for suffix, states in self.sets.items()
            if all(s.old is not None and s.new is not None and replaces(s) for s in states)
        }
        return sorted(both)

    def unproved_removals(self, *, surely: bool) -> int:
        """How many copies the next look removes since their originals are gone, and nobody saw that."""
        if not surely:
            return sum(
                any((s.old is None) != (s.new is None) for s in states) for states in self.sets.values()
            )
        return sum(
            all(
                s.old is None and s.new is not None and not s.removed and s.base and s.new == s.base[1]
                for s in states
            )
            for states in self.sets.values()
        )

    def keys(self, suffix: bytes) -> set[bytes]:
        """Of a document, both."""
        return {prefix + suffix for prefix in self._releases.prefixes}

    def _changes(self) -> Sequence[Change]:
        """What a command may do to a document by now."""
        attempt, way = self.attempt, self.way
        if attempt is None:
            return ()
        changes: list[Change] = [
            lambda state: look(state, way, carries_back=True),
            lambda state: look(state, way, carries_back=False),
        ]
        if attempt.restores:
            changes.append(lambda state: restore(state, way))
            changes.append(lambda state: finish(state, way))
        if attempt.removes_originals:
            changes.append(lambda state: remove_original(state, way))
        if attempt.removes_copies:
            changes.append(lambda state: remove_copy(state, way))
        return changes

    def _oriented(self, pair: tuple[Doc | None, Doc | None]) -> tuple[Doc | None, Doc | None]:
        return (pair[1], pair[0]) if self.is_down else pair

    def _narrowed(
        self, suffix: bytes, states: States, met: tuple[Doc | None, Doc | None], when: str
    ) -> States:
        left = frozenset(state for state in states if (state.old, state.new) == met)
        if not left:
            way = " (going down)" if self.is_down else ""
            allowed = "\n  allowed ".join(sorted(map(str, states))[:LEFT])
            raise Broken(f"{when}, {suffix!r}{way}:\n  found   {met[0]} | {met[1]}\n  allowed {allowed}")
        return left

    lost_markers: Callable[[], bytes] = staticmethod(lambda: b"")  # type: ignore[assignment]

    def _require_in_backup(self, suffix: bytes, states: States) -> None:
        """What a write of the migration has replaced has to be on disk."""
        surely = frozenset.intersection(*(state.lost for state in states))
        # What both have written alike, though it can't be converted, is not lost.
        stands = [doc for state in states for doc in (state.old, state.new) if doc is not None]
        there = b" ".join(value for doc in stands for _, value, _ in doc.fields)
        markers = {marker for value in surely for marker in MARKER.findall(value)}
        markers -= set(MARKER.findall(there))
        if markers:
            held = self.lost_markers()
            missing = sorted(marker for marker in markers if marker not in held)
            if missing:
                raise Broken(f"{suffix!r}: what was replaced is in no backup: {missing}")
