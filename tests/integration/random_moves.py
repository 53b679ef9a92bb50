"""Random cases of two releases that write both forms of documents while a revision gives these other keys."""

from __future__ import annotations

import time
from typing import Any

from command_meddler import Meddler, carry_out
from moving_commands import MOST_UNPROVED, SETTLING_SECONDS, MovingCommands
from random_commands import limits_in
from two_forms_model import State
from two_releases import ODD, Side, Word
from two_releases_documents import Attempt, Broken
from two_releases_project import CHANGED, STATE

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import PlanBlocked, RedisMigrateError, StateError
from redismigrate.execution.run import Run
from redismigrate.schema.strict import readable_key

MOST_COMMANDS = 25
LOST_BACKUPS_SHARE = 0.05
MOST_ATTEMPTS = 12
WITHOUT_BACKUP = "--allow-lossy"
# With so many attempts behind it a command is left in peace, or documents that fail never end.
ATTEMPTS_WITH_WORDS = 3


class MovingCase(MovingCommands):
    """All that happens to one project from its first document to its last command."""

    def go(self) -> None:
        """From the first document to the last command."""
        choose = self.random.choice
        self.tell(f"{self.releases.storage} {self.releases.names} {self.strategy} {self.shop.is_adopted=}")
        suffixes = [b"%d" % number for number in range(choose([3, 3, 5, 12, 30]))]
        suffixes += self.random.sample(ODD, choose([0, 0, 2]))
        self.hot = self.random.sample(suffixes, choose([1, 3]))
        for suffix in suffixes:
            self.documents.sets[suffix] = frozenset([State()])
            self.documents.say(self.releases.create(suffix))
        self.shop.create_index()
        for _ in range(choose([1, 2, 3, 4, 6])):
            self.words()
            self.step()
        for _ in range(MOST_COMMANDS):
            if self.shop.position() in {"old", "new"}:
                return
            self.step(to_the_end=True)
        raise Broken("no command brings the run to its end")

    def words(self) -> None:
        """What is said between two commands."""
        self.draw_anew()
        position = self.shop.position()
        if self.strategy == "rebuild" and position not in {"old", "new"}:
            return
        for _ in range(self.random.choice([0, 1, 3, 10])):
            self.word(position)
        if position != "old" and self.random.random() < LOST_BACKUPS_SHARE:
            self.tell("== the backups are gone")
            self.shop.lose_backups()
        if position in {"expanded", "interrupted"} and self.random.random() < 0.04:
            side: Side = "new" if self.documents.is_down else "old"
            for suffix in list(self.documents.sets):
                self.documents.say(Word("purge", side, suffix, [("DEL", self.releases.key(side, suffix))]))

    def step(self, *, to_the_end: bool = False) -> None:
        """One more command, whichever fits."""
        self.draw_anew()
        run, position = self.shop.run, self.shop.position()
        if run is None:
            self.limits = {"max_failures": self.random.choice([0, 0, 1000])}
            self._begin_run(position)
        elif position == "expanded":
            self._go_on_expanded(run, to_the_end=to_the_end)
        elif position == "interrupted":
            self._go_on_interrupted(run)
        else:
            back = run.rolls_back or self.random.random() < 0.3
            self.drive("rollback" if back else run.direction)

    def _begin_run(self, position: str) -> None:
        phase = self.random.choice(["expand", "expand", "all"]) if self.strategy == "shadow_copy" else "all"
        last = self.shop.last_run
        if position == "old":
            self.drive("upgrade", phase=phase)
        elif last is not None and self.random.random() < 0.35:
            self.drive("rollback", last)
        else:
            self.drive("downgrade", phase=phase)

    def _go_on_expanded(self, run: Run, *, to_the_end: bool) -> None:
        chance = self.random.random()
        if chance < 0.35 and not to_the_end:
            self.follow()
        elif chance < 0.7:
            self.drive(run.direction, phase=self.random.choice(["contract", "contract", "all"]))
        elif chance < 0.82:
            self.drive("rollback")
        elif chance < 0.95:
            self.lose_record()
        else:
            self.drive(run.direction, phase="expand")

    def _go_on_interrupted(self, run: Run) -> None:
        chance = self.random.random()
        if chance < 0.65:
            self.drive(run.direction, phase=run.arguments["phase"])
        elif chance < 0.9 or run.is_recorded or self.strategy == "rebuild":
            self.drive("rollback")
        else:
            self.lose_record()

    def drive(self, verb: str, target: str | None = None, **more: Any) -> None:
        """Give a command, and do what its errors tell, to the letter."""
        if verb == "downgrade":
            target = self.shop.base
        for done in range(MOST_ATTEMPTS):
            error = self.attempt(verb, target, more, has_words=done < ATTEMPTS_WITH_WORDS)
            if error is None:
                return
            if WITHOUT_BACKUP in str(error):
                if not self.shop.has_lost_backups:
                    raise Broken(f"misses a backup: {error}") from error
                self.limits["allow_lossy"] = True
                if "rollback" in str(error) and verb != "rollback":
                    self.drive("rollback")
                    return
                continue
            self._obey(verb, error)
            if self.shop.run is not None and verb == "rollback":
                target = None
        raise Broken(f"{verb} fails whatever is done: {error}")

    def _obey(self, verb: str, error: RedisMigrateError) -> None:
        """Do what an error tells."""
        told, limits = str(error), limits_in(error)
        if "max_removals" in limits:
            if self.may_remove <= MOST_UNPROVED and not self.has_evicted:
                raise Broken(f"asks for --max-removals without a need: {told}")
            self.limits |= limits
        elif isinstance(error, PlanBlocked) and (left := self.shop.leftover_indexes()):
            self._drop(left)
        elif self.rightless is not None:
            self.tell("the right is given back")
        elif not any(self._is_named(suffix, {told}) for suffix in self.failing_now):
            raise Broken(f"{verb} failed, and names no document that is the reason: {told}") from error
        elif "max_failures" in limits and self.random.random() < 0.5:
            self.limits |= limits
        else:
            self.correct(told)

    def _drop(self, indexes: list[bytes]) -> None:
        for name in indexes:
            self.client.execute_command("FT.DROPINDEX", name)
        self.tell(f"by hand: drop {indexes}")

    def correct(self, told: str = "") -> None:
        """Correct the documents that can't have a copy; of what is told to be in the way it is that."""
        for suffix in self.documents.failing(surely=False):
            old, new = ("new", "old") if self.documents.is_down else ("old", "new")
            side: Side = self.random.choice([old, new])  # type: ignore[assignment]
            if f"{readable_key(self.releases.key(new, suffix))} exists already" in told:  # type: ignore[arg-type]
                side = new  # type: ignore[assignment]
            if side == old and self.random.random() < 0.5:
                self.documents.say(self.releases.correction(side, suffix))
            else:
                key = self.releases.key(side, suffix)
                self.documents.say(Word("make room", side, suffix, [("DEL", key)]))

    def follow(self) -> None:
        """Follow for a while, with words between two looks."""
        documents = self.documents
        documents.attempt = attempt = Attempt()
        self.has_evicted = False
        self.words_left, self.often = self.random.choice([0, 0, 5]), 0.02
        left = self.random.choice([1, 2, 4])
        is_hasty = self.random.random() < 0.4
        may_remove = documents.unproved_removals(surely=False)
        wait_until: float | None = time.monotonic() + SETTLING_SECONDS

        def act() -> bool:
            nonlocal left, wait_until
            if wait_until is not None and documents.is_settled():
                wait_until, attempt.is_settled, attempt.has_followed = None, True, True
                attempt.written.clear()
            if wait_until is not None:
                if time.monotonic() > wait_until:
                    raise Broken(f"follow does not bring in step {documents.unsettled}")
                if not (is_hasty and left):
                    return True
            if not left:
                return False
            left -= 1
            self.word("expanded")
            wait_until = time.monotonic() + SETTLING_SECONDS
            return True

        given = self.give_follow(self.shop.project, act, self.meddle_beside)
        documents.settle("expanded", is_complete=False, is_reverse=False)
        documents.attempt = None
        if given.error is not None:
            limits = limits_in(given.error)
            is_asked = may_remove > MOST_UNPROVED or self.has_evicted
            if "max_removals" not in limits or not is_asked:
                raise Broken(f"follow failed: {given.error}") from given.error
            self.limits |= limits

    def meddle_beside(self) -> None:
        """What is said between two commands of the follower."""
        attempt, meddler = self.documents.attempt, self.meddler
        assert attempt is not None
        assert meddler is not None
        attempt.sent = meddler.sent
        if self.words_left and self.random.random() < self.often:
            self.words_left -= 1
            self.word("expanded")

    def lose_record(self) -> None:
        """The record of the run is damaged: the hint is followed, and leftovers are removed, or not."""
        if self.shop.is_adopted and self.shop.is_changed:
            return  # without a revision that creates the index nobody can stamp what changes it
        key = f"{STATE}:run"
        self.client.set(key, b'{"version": 7, "lay')
        self.tell("== the record of the run is damaged")
        verb = self.random.choice(["upgrade", "downgrade", "rollback"])
        try:
            carry_out(self.shop.project, verb, self.shop.base, MigrationOptions(), Meddler())
        except StateError as error:
            told = str(error)
        else:
            raise Broken(f"{verb} goes on with a damaged record")
        if f"DEL '{key}' '{STATE}:progress'" not in told:
            raise Broken(f"says of a damaged record: {told}")
        self.client.delete(key, f"{STATE}:progress")
        applied = CHANGED if self.shop.is_changed else self.shop.base
        commands.stamp(self.shop.project, applied)
        self.documents.forget()
        chance = self.random.random()
        if chance < 0.8:
            self._drop(self.shop.leftover_indexes())
        side: Side = "old" if self.documents.is_down else "new"
        for suffix in list(self.documents.sets) if self.random.random() < 0.7 else ():
            self.documents.say(Word("by hand", side, suffix, [("DEL", self.releases.key(side, suffix))]))
        self.documents.turn(is_down=False)
        self.mode = "forward"
