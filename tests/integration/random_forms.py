"""Random cases of two releases that write documents in two forms while a revision gives them another one.

The forms are those that a change gives to documents at other places: other names, paths of their own, fewer
dimensions, another storage type. What must be is the table's: what one release alone has written since both
were in step is followed, and where both have, the new form stands. As this model does not see the looks of a
run, it admits what either order of writes and looks leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from forms_of_documents import Place, Value
from random_commands import limits_in, options_of
from random_form_changes import first_form, form_changes
from random_forms_model import FormsModel, Known, Side
from two_forms_documents import NEVER
from two_releases import FAR_AWAY
from two_releases_documents import Broken
from two_releases_project import CREATED, STATE, ProjectOnServer

MOST_COMMANDS, MOST_ATTEMPTS, ATTEMPTS_WITH_WORDS = 25, 6, 3
# Until when nothing knows of the other form yet.
TOO_EARLY = {"", "claim_index", "prove_index", "back_up_documents", "verify_backup", "start_backup"}
TOO_EARLY |= {"copy_documents"}


class FormsCase(FormsModel):
    """A project with one or two revisions that give documents other forms.

    Args:
        seed: Of all choices.
        url: The server, which is emptied.
        folder: An empty one.
    """

    def __init__(self, seed: int, url: str, folder: Path) -> None:
        super().__init__(seed, url)
        self.shop = ProjectOnServer(folder, url, self.client)
        self.forms = [first_form(self.random)]
        self.changes = form_changes(self.random, self.forms[0])
        self.forms += [change.after for change in self.changes]
        schema = self.forms[0].schema()
        self.shop.write(CREATED, None, [f"op.create_index({schema!r})"], ["op.drop_index('products')"])
        for number, change in enumerate(self.changes):
            self.shop.write(self.revision(number + 1), self.revision(number), *change.lines)
        self.names = list(self.forms[0].places)
        self.serial = 0
        self.limits: dict[str, int] = {}

    def revision(self, level: int) -> str:
        """Which one leaves a form."""
        return f"{level + 1:012}"

    def go(self) -> None:
        """From the first document to the last command."""
        choose = self.random.choice
        for change in self.changes:
            self.tell(f"{change.kind}: {'; '.join(change.there)} | {'; '.join(change.back)}")
        for number in range(choose([3, 3, 8, 20])):
            self.say(f"{number}", "whole", "old")
        self.shop.upgrade(CREATED)
        for _ in range(choose([2, 3, 5, 8])):
            self.words()
            self.step()
        for _ in range(MOST_COMMANDS):
            if self.pair is None:
                return
            self.step(to_the_end=True)
        raise Broken("no command brings the run to its end")

    # --- what the releases do ------------------------------------------------------------------------------

    def words(self) -> None:
        """What is said between two commands."""
        self.draw_anew()
        for _ in range(self.random.choice([0, 1, 3, 8])):
            self.word()

    def word(self) -> None:
        """Some release does something."""
        choose, chance = self.random.choice, self.random.random
        side: Side = "old" if self.pair is None or self._is_early() or chance() < 0.5 else "new"
        suffix = f"new{self.random.randrange(4)}" if chance() < 0.08 else choose(sorted(self.held))
        kinds = ["write"] * 6 + ["whole", "whole", "same", "note", "expire", "persist", "delete", "remove"]
        is_plain = all(form.storage == "hash" for form in self.forms)
        self.say(suffix, choose(kinds + ["fade", "fade", "last"] * is_plain), side)

    def _is_early(self) -> bool:
        run, meddler = self.shop.run, self.meddler
        if run is None or run.rolls_back or run.failure is not None or self.is_back:
            return True
        if meddler is not None and meddler.is_undoing:
            return True
        if run.is_expanded:
            return False
        step = meddler.step if meddler is not None else run.step and run.step.kind
        return step in TOO_EARLY

    is_back = False

    def value(self, place: Place) -> Value:
        """One that nobody wrote before."""
        self.serial += 1
        if not place.dims:
            return Value(f"w{self.serial}x")
        numbers = np.random.default_rng(self.serial).integers(-900, 900, place.dims).astype(np.float64)
        if place.is_normalised:
            numbers /= np.linalg.norm(numbers)
        return Value(
            tuple(float(each) for each in numbers.astype(np.float16 if place.is_normalised else float))
        )

    def say(self, suffix: str, kind: str, side: Side) -> None:  # noqa: C901, PLR0912 - a word each
        """Let the release that knows a form say a word."""
        form = self.form(side)
        key = form.key(suffix)
        is_there, values, _ = form.read(self.client, suffix)
        doc = self.held.get(suffix)
        if doc is None:
            doc = self.held[suffix] = Known({each: [None] for each in self.names}, there={False})
            doc.settled()
        if kind != "whole" and not is_there:
            return
        name = self.random.choice([each for each in self.names if form.places[each].attribute])
        moment = FAR_AWAY + self.random.randrange(1000)
        written: dict[str, Value | None] = {}
        commands: Iterable[tuple[Any, ...]] = ()
        if kind == "whole":
            whole = {each: self.value(form.places[each]) for each in self.names}
            written |= whole
            commands = form.whole(key, whole)
        elif kind in {"write", "note"}:
            name = "note" if kind == "note" else name
            written[name] = self.value(form.places[name])
        elif kind == "remove":
            written[name] = None
        elif kind == "same":
            commands = form.commands(key, {name: values[name]} if values[name] is not None else {})
            if values[name] is not None and values[name].moment != NEVER:  # type: ignore[union-attr]
                return
        elif kind in {"fade", "last"}:
            found = values[name]
            if found is None:
                return
            at = moment if kind == "fade" else NEVER
            words: tuple[Any, ...] = ("FIELDS", 1, form.places[name].name)
            commands = [("HPEXPIREAT", key, at, *words) if at > 0 else ("HPERSIST", key, *words)]
            self._dated(doc, name, found, at, side)
        elif kind in {"expire", "persist"}:
            commands = [("PEXPIREAT", key, moment) if kind == "expire" else ("PERSIST", key)]
            doc.expires = self._joined(doc, side, doc.expires, {moment if kind == "expire" else NEVER})
        elif kind == "delete":
            commands = [("DEL", key)]
        pipeline = self.client.pipeline(transaction=True)
        for command in commands or form.commands(key, written):
            pipeline.execute_command(*command)
        pipeline.execute(raise_on_error=False)
        self.tell(f"{side} {kind} {key} {name} {written or ''}")
        if kind == "delete":
            self._deleted(doc, side)
        if kind == "whole":
            was = doc.there
            is_elsewhere = side == "new" and self.pair is not None and self.change.moves_keys
            # One that is born under a new key may stay there alone.
            doc.there = {True} if True in was or not is_elsewhere else {True, False}
            doc.expires = self._joined(
                doc, side, doc.expires, {NEVER}, is_reset=form.storage == "hash" or was == {False}
            )
        for each, value in written.items():
            self._written(suffix, each, value, side)
        self._note_loser(doc, side)

    def meddle(self) -> None:
        """What is said between two commands of a migration."""
        if self.words_left and self.meddler is not None and self.meddler.step:
            if self.random.random() > self.often:
                return
            self.words_left -= 1
            self.word()

    words_left, often = 0, 0.0

    # --- commands ------------------------------------------------------------------------------------------

    def step(self, *, to_the_end: bool = False) -> None:
        """One more command, whichever fits."""
        self.draw_anew()
        chance, run = self.random.random(), self.shop.run
        phase: Any = self.random.choice(["expand", "expand", "all"])
        if run is None:
            self.limits = {}
            last = self.shop.last_run
            up = self.level < len(self.changes) and (self.level == 0 or chance < 0.5)
            if up:
                self.pair = self.level, self.level + 1
                self.drive("upgrade", self.revision(self.level + 1), phase)
            elif self.has_run and last is not None and chance > 0.8:
                self.drive("rollback", last)
            else:
                self.pair = self.level, self.level - 1
                self.drive("downgrade", self.revision(self.level - 1), phase)
            return
        assert self.pair is not None
        verb, target = run.direction, self.revision(self.pair[1])
        if run.rolls_back or run.failure is not None:
            self.drive("rollback")
        elif run.is_expanded:
            if chance < 0.35 and not to_the_end:
                self.follow()
            elif chance < 0.65:
                self.drive("rollback")
            else:
                self.drive(verb, target, "contract")
        elif chance < 0.7:
            self.drive(verb, target, run.arguments["phase"])
        else:
            self.drive("rollback")

    has_run = False

    def drive(self, verb: str, target: str | None = None, phase: Any = "all") -> None:
        """Give a command, and do what its errors tell."""
        for done in range(MOST_ATTEMPTS):
            error = self._give_once(verb, target, phase, has_words=done < ATTEMPTS_WITH_WORDS)
            if error is None:
                return
            limits = limits_in(error)
            self.limits |= limits
            if not limits and (done + 1 >= ATTEMPTS_WITH_WORDS or not self.were_words):
                raise Broken(f"{verb} fails: {error}") from error
            if self.pair is None and verb != "rollback":
                self.pair = self.level, self.level + (1 if verb == "upgrade" else -1)
            if self.shop.run is not None and verb == "rollback":
                target = None
        raise Broken(f"{verb} fails whatever is done: {error}")

    were_words = False

    def _give_once(self, verb: str, target: str | None, phase: Any, *, has_words: bool) -> Any:
        self.draw_anew()
        self.is_back = verb == "rollback"
        if verb == "rollback" and target is not None and self.pair is None:
            # It undoes the run that ended last.
            self.pair = self.level, self.level + (1 if self.last_went_down else -1)
        self.words_left, self.often = self.random.choice([0, 0, 4, 10]), self.random.choice([0.01, 0.04, 0.2])
        if not has_words:
            self.words_left = 0
        had = self.words_left
        self.late.clear()
        options = options_of(self.random, phase=phase, allow_lossy=True, **self.limits)
        given = self.given = self.give(
            self.shop.project, self.shop.folder, verb, target, options, self.meddle
        )
        self.were_words = self.words_left != had
        if self.shop.run is None:
            self._end_run()
        return given.error

    last_went_down = False

    def _end_run(self) -> None:
        assert self.pair is not None
        head = self.client.get(f"{STATE}:head") or b""
        level = max(
            number for number in range(len(self.forms)) if f'"{self.revision(number)}"'.encode() in head
        )
        if level not in self.pair:
            raise Broken(f"level {level} after a run between {self.pair}")
        self.has_run = level == self.pair[1]
        self.last_went_down = self.pair[1] < self.pair[0]
        self.level, self.pair = level, None
        self.settle()

    def follow(self) -> None:
        """Follow for a while, with words between two looks."""
        self.is_back = False
        self.words_left, self.often = self.random.choice([0, 0, 5]), 0.02
        left = self.random.choice([1, 2, 4])

        def act() -> bool:
            nonlocal left
            left -= 1
            if left >= 0:
                self.word()
            return left > -3

        given = self.give_follow(self.shop.project, act, self.meddle)
        if given.error is not None:
            raise Broken(f"follow failed: {given.error}") from given.error
