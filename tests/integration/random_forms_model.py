"""What two releases that write documents in two forms may find again, by the table of two forms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import redis
from forms_of_documents import Form, Value
from random_commands import Commands, Given
from random_form_changes import FormChange
from two_forms_documents import NEVER
from two_releases_documents import Broken
from two_releases_project import STATE, ProjectOnServer

Side = Literal["old", "new"]
# From when on a write in the old form may be met by nobody any more.
TOO_LATE = {"remove_documents", "drop_index", "record_indexes", "record_revision", "unrecord_revision"}
REMEMBERED = {"__from_hash", "__from_json"}


@dataclass
class Known:
    """A document as its owners have left it.

    Attributes:
        values: What each value may be.
        expires: When its key may expire.
        there: Whether it may be there.
        history: Whatever each value has been since both forms were surely in step.
        writers: Who has written since, by value.
        last: The text of each value that was written last since then.
        losers: Who has written at all since then.
        overtaken: The values that were written late in the form that goes.
        revived: What stands in a form before, where a value was removed from the one that serves.
    """

    values: dict[str, list[Value | None]]
    expires: set[int] = field(default_factory=lambda: {NEVER})
    there: set[bool] = field(default_factory=lambda: {True})
    history: dict[str, list[Value | None]] = field(default_factory=dict)
    writers: dict[str, set[Side]] = field(default_factory=dict)
    last: dict[str, Value] = field(default_factory=dict)
    losers: set[Side] = field(default_factory=set)
    overtaken: set[str] = field(default_factory=set)
    revived: dict[str, list[Value | None]] = field(default_factory=dict)

    def settled(self) -> None:
        """Both forms agree, or one is left."""
        self.history = {name: list(values) for name, values in self.values.items()}
        self.writers = {name: set() for name in self.values}
        self.last, self.losers, self.overtaken = {}, set(), set()


class FormsModel(Commands):
    """All documents of a case, and what each may be by now.

    Args:
        seed: Of all choices.
        url: The server, which is emptied.

    Attributes:
        level: The form that serves, or did when the run at work began.
        pair: Between which forms the run at work goes; None where there is none.
        late: The keys that were written while the command at work, or the last one, was.
    """

    shop: ProjectOnServer
    forms: list[Form]
    changes: list[FormChange]

    def __init__(self, seed: int, url: str) -> None:
        super().__init__(seed)
        self.client = redis.Redis.from_url(url, protocol=2)
        self.client.flushall()
        self.names: list[str] = []
        self.held: dict[str, Known] = {}
        self.late: set[str] = set()
        self.level = 0
        self.pair: tuple[int, int] | None = None
        self.given: Given | None = None

    def say(self, suffix: str, kind: str, side: Side) -> None:
        """Let the release that knows a form say a word."""
        raise NotImplementedError

    @property
    def change(self) -> FormChange:
        """The one at work."""
        assert self.pair is not None
        return self.changes[min(self.pair)]

    def form(self, side: Side) -> Form:
        """What a release knows."""
        return self.forms[self.level] if self.pair is None else self.forms[self.pair[side == "new"]]

    def _note_loser(self, doc: Known, side: Side) -> None:
        if self.pair is not None:
            doc.losers.add(side)

    @property
    def _is_late(self) -> bool:
        return self.meddler is not None and self.meddler.step in TOO_LATE

    def _joined(
        self, doc: Known, side: Side, was: set[int], now: set[int], *, is_reset: bool = True
    ) -> set[int]:
        """The lifetime of a key is one where the forms are one document."""
        if not is_reset:
            return was
        return now if self.pair is None or not self.change.moves_keys else now | was

    def _dated(self, doc: Known, name: str, found: Value, at: int, side: Side) -> None:
        place = self.form(side).places[name]
        matching = [value for value in doc.values[name] if value and place.holds(found, value)]
        for value in [*matching, found]:
            dated = replace(value, moment=at)
            if dated not in doc.values[name]:
                doc.values[name] = [*doc.values[name], dated]
                doc.history[name].append(dated)
        if self.pair is None:
            doc.values[name] = [replace(value, moment=at) for value in [*matching, found]]
        doc.writers[name].add(side)

    def _deleted(self, doc: Known, side: Side) -> None:
        # What its own writer takes away need not be anywhere.
        doc.last.clear()
        moments = doc.expires
        if self.pair is not None and self.change.moves_keys:
            is_sure = side == "old" and not any("new" in who for who in doc.writers.values())
            if not is_sure or self._is_late:
                doc.there = doc.there | {False}
                doc.values = {name: [*doc.history[name], None] for name in doc.values}
                doc.expires = doc.expires | {NEVER}
                return
        doc.there = {False}
        for name in doc.values:
            doc.values[name] = [None]
            doc.history[name].append(None)
            doc.writers[name].add(side)
        is_one = self.pair is None or not self.change.moves_keys
        doc.expires = {NEVER} if is_one else moments | {NEVER}

    def _written(self, suffix: str, name: str, value: Value | None, side: Side) -> None:
        doc, form = self.held[suffix], self.form(side)
        prior = doc.values[name]
        doc.history[name].append(value)
        doc.values[name] = [value]
        level = self.level if self.pair is None else self.pair[0]
        if value is None and level and self.forms[level - 1].places[name] != form.places[name]:
            # The way back can't tell it from a value that never had this form.
            doc.revived[name] = [*doc.revived.get(name, []), *prior]
        if self.pair is None:
            return
        doc.writers[name].add(side)
        if self.meddler is not None:
            self.late.add(form.key(suffix))
        if value is not None:
            doc.last[name] = value
        other: Side = "new" if side == "old" else "old"
        old_place, new_place = (self.form(each).places[name] for each in ("old", "new"))
        if old_place == new_place and not self.change.moves_keys:
            return
        everyone = set().union(*doc.writers.values())
        twins = sum(self.form("old").places[each] != self.form("new").places[each] for each in self.names)
        may_come_back = value is None and (form.storage == "json" or twins > 1)
        is_lossy = side == "new" and new_place.dims != old_place.dims
        has_both = other in doc.writers[name] and (side == "old" or value is None)
        has_two_keys = self.change.moves_keys and other in everyone
        if has_two_keys:
            doc.values = {each: list(doc.history[each]) for each in doc.values}
            # Deleted under one key, and written under the other.
            doc.there |= {True}
        elif self._is_late or is_lossy or may_come_back or has_both:
            doc.values[name] = [value, *prior]
            if side == "old" and self.meddler is not None:
                doc.overtaken.add(name)
            if is_lossy:
                # What can't be carried back stays where it was written, beside nothing.
                doc.values[name].append(None)

    def settle(self) -> None:
        """Compare all documents with what their owners have made them; no run is at work."""
        form = self.forms[self.level]
        unfit: list[str] = []
        for suffix, doc in sorted(self.held.items()):
            is_there, found, others = form.read(self.client, suffix)
            told = f"level {self.level}, {form.key(suffix)}: {is_there} {found} {others}\n wanted {doc}"
            if is_there not in doc.there:
                raise Broken(told)
            for name, value in found.items() if is_there else ():
                place = form.places[name]
                matching = [
                    each
                    for each in [*doc.values[name], *doc.revived.get(name, [])]
                    if place.holds(value, each)
                ]
                if not matching and self._is_of_other_width(form, suffix, value, doc.values[name]):
                    unfit.append(suffix)
                    matching = [value]
                if not matching:
                    raise Broken(f"{name} of {told}")
                # What was written late at an old path that stays is no original of what serves.
                doc.values[name] = [*matching[:1], *[value] * (name in doc.overtaken)]
                self._require_kept(suffix, name, value, told)
            if is_there:
                expires = self.client.pexpiretime(form.key(suffix))
                if expires not in doc.expires:
                    raise Broken(f"expires {expires}: {told}")
                doc.expires = {expires}
            else:
                doc.values = {name: [None] for name in doc.values}
                doc.expires = {NEVER}
            doc.there = {is_there}
            left = others - form.kept - REMEMBERED
            if left and len(doc.losers) < 1:
                raise Broken(f"{left} is left in {told}")
            self._clean(suffix, left)
            doc.settled()
        for suffix in unfit:
            self.say(suffix, "whole", "old")
        self._require_rest(form)

    def _is_of_other_width(
        self, form: Form, suffix: str, found: Value | None, wanted: list[Value | None]
    ) -> bool:
        """What was cut by its writer and can't be brought back, or came too late to be cut: it is told."""
        if found is None or not any(each and each.content == found.content for each in wanted):
            return False
        is_told = self.given is not None and any(form.key(suffix) in each for each in self.given.told)
        if not is_told:
            self.tell(f"{form.key(suffix)} is not told of")
        return is_told or form.key(suffix) in self.late

    def _require_kept(self, suffix: str, name: str, value: Value | None, told: str) -> None:
        """A text that gave way to the other form's is on disk, or where it was written too late."""
        doc = self.held[suffix]
        last = doc.last.get(name)
        if last is None or not isinstance(last.content, str) or None in doc.history[name]:
            return
        others = [
            form.read(self.client, suffix)[1].get(name) for form in self.forms if self._fits(form, suffix)
        ]
        is_there = any(each is not None and each.content == last.content for each in (value, *others))
        if not is_there and last.content.encode() not in self.shop.backups():
            raise Broken(f"{last} of {name} is nowhere: {told}")

    def _fits(self, form: Form, suffix: str) -> bool:
        """Whether what is at the key in a form, if anything, is of that type."""
        kind = self.client.type(form.key(suffix))
        return kind == (b"ReJSON-RL" if form.storage == "json" else b"hash")

    def _clean(self, suffix: str, left: set[str]) -> None:
        """What a release has left that is gone now is removed by hand."""
        form = self.forms[self.level]
        for name in left:
            words = ("JSON.DEL", form.key(suffix), f"$.{name}") if form.storage == "json" else None
            self.client.execute_command(*(words or ("HDEL", form.key(suffix), name)))
        for other in self.forms:
            if other.prefix != form.prefix and self.client.delete(other.key(suffix)):
                doc = self.held[suffix]
                if not doc.losers:
                    raise Broken(f"{other.key(suffix)} is left")

    def _require_rest(self, form: Form) -> None:
        left = list(self.client.scan_iter(f"{STATE}:mark:*", count=1000))
        left += list(self.client.scan_iter(f"{STATE}:copy:*", count=1000))
        if left:
            raise Broken(f"{left[:5]} is left")
