"""Random cases of two releases that write both forms of documents while a revision gives these other keys."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from command_meddler import Meddler, carry_out
from random_commands import Commands, Given, limits_in, options_of
from two_forms_model import State, States, Way, renaming_way
from two_releases import ODD, Releases, Side, Word
from two_releases_documents import Attempt, Broken, KnownDocuments, Outcome
from two_releases_project import CHANGED, STATE, MovingProject

from redismigrate import commands
from redismigrate.commands.migrate import MigrationOptions
from redismigrate.errors import PlanBlocked, RedisMigrateError, StateError
from redismigrate.execution.run import Run
from redismigrate.schema.strict import readable

PREFIXES = [(b"p:", b"q:"), (b"product:", b"shop:product:")]
MOST_UNPROVED = 10
SETTLING_SECONDS = 5.0
MOST_COMMANDS = 25
MOST_ATTEMPTS = 6
STRATEGIES = ["shadow_copy"] * 9 + ["rebuild"]


@dataclass
class Before:
    """What a command met.

    Attributes:
        run: The run.
        position: Where the project stood.
        sets: The documents.
        is_down: Their direction.
        mode: Of the run.
        will_remove: How many copies it removes without a proof, surely.
        conflicts: What both releases have written differently.
    """

    run: Run | None
    position: str
    sets: dict[bytes, States]
    is_down: bool
    mode: str
    will_remove: int = 0
    conflicts: list[bytes] = field(default_factory=list)


class MovingCase(Commands):
    """A project whose documents get other keys, on an emptied server, and all that happens to it.

    Args:
        seed: Of all choices.
        url: The server, which is emptied.
        folder: An empty one.
    """

    def __init__(self, seed: int, url: str, folder: Path) -> None:
        super().__init__(seed)
        choose, chance = self.random.choice, self.random.random
        storage = choose(["hash", "hash", "json"])
        names = choose([("desc", "desc"), ("desc", "description")])
        self.strategy: Any = choose(STRATEGIES)
        self.releases = Releases(url, storage, choose(PREFIXES), names, self.random)
        self.client = self.releases.client
        self.client.flushall()
        self.shop = MovingProject(folder, url, self.releases, is_adopted=chance() < 0.2)
        # What is only moved may be as deep as it likes.
        is_moved = self.strategy == "rebuild" and names[0] == names[1]
        way = Way(lambda doc: doc, lambda doc: doc) if is_moved else renaming_way(storage, *names)
        self.documents = KnownDocuments(self.releases, way, self.tell)
        self.documents.lost_markers = self.shop.backups
        # What a command that is at work does: "forward", "undo" before the names move, "reverse" after that.
        self.mode = "forward"
        self.limits: dict[str, int] = {}
        self.hot: list[bytes] = []

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

    # --- what the releases do ------------------------------------------------------------------------------

    def words(self) -> None:
        """What is said between two commands."""
        self.draw_anew()
        position = self.shop.position()
        if self.strategy == "rebuild" and position not in {"old", "new"}:
            return
        for _ in range(self.random.choice([0, 1, 3, 10])):
            self.word(position)
        if position in {"expanded", "interrupted"} and self.random.random() < 0.04:
            side: Side = "new" if self.documents.is_down else "old"
            for suffix in list(self.documents.sets):
                self.documents.say(Word("purge", side, suffix, [("DEL", self.releases.key(side, suffix))]))

    def word(self, position: str) -> None:
        """Some release does something."""
        old_share = {"old": 0.95, "new": 0.1}.get(position, 0.5)
        side: Side = "old" if self.random.random() < old_share else "new"
        word = self.releases.any_word(side, list(self.documents.sets), self.hot)
        self.documents.say(word, is_over=self.meddler is not None and not self.client.exists(f"{STATE}:run"))

    def meddle(self) -> None:
        """What is said between two commands of a migration."""
        attempt, meddler = self.documents.attempt, self.meddler
        if attempt is None or meddler is None:
            return
        attempt.sent = meddler.sent
        removes = meddler.step in {"remove_documents", "rewrite_documents"}
        attempt.removes_originals |= removes and not (self.mode == "undo" or meddler.is_undoing)
        attempt.removes_copies |= meddler.is_undoing
        often = max(self.often, 0.1) if meddler.step == "remove_documents" else self.often
        if not self.words_left or self.strategy == "rebuild" or self.random.random() > often:
            return
        run = self.client.get(f"{STATE}:run") or b""
        if self.mode != "forward" and b'"rolls_back": true' not in run and b'"rolls_back":true' not in run:
            return
        if not run and not meddler.step:
            return
        self.words_left -= 1
        self.word("expanded")

    # --- commands ------------------------------------------------------------------------------------------

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
        for _ in range(MOST_ATTEMPTS):
            error = self.attempt(verb, target, more)
            if error is None:
                return
            self._obey(verb, error)
            if self.shop.run is not None and verb == "rollback":
                target = None
        raise Broken(f"{verb} fails whatever is done: {error}")

    def _obey(self, verb: str, error: RedisMigrateError) -> None:
        """Do what an error tells."""
        told, limits = str(error), limits_in(error)
        if "max_removals" in limits:
            if self.may_remove <= MOST_UNPROVED:
                raise Broken(f"asks for --max-removals without a need: {told}")
            self.limits |= limits
        elif isinstance(error, PlanBlocked) and (left := self.shop.leftover_indexes()):
            self._drop(left)
        elif not any(self._is_named(suffix, {told}) for suffix in self.failing_now):
            raise Broken(f"{verb} failed, and names no document that is the reason: {told}") from error
        elif "max_failures" in limits and self.random.random() < 0.5:
            self.limits |= limits
        else:
            self.correct()

    def _drop(self, indexes: list[bytes]) -> None:
        for name in indexes:
            self.client.execute_command("FT.DROPINDEX", name)
        self.tell(f"by hand: drop {indexes}")

    def correct(self) -> None:
        """Correct the documents that can't have a copy."""
        for suffix in self.documents.failing(surely=False):
            old, new = ("new", "old") if self.documents.is_down else ("old", "new")
            side: Side = self.random.choice([old, new])  # type: ignore[assignment]
            if side == old and self.random.random() < 0.5:
                self.documents.say(self.releases.correction(side, suffix))
            else:
                key = self.releases.key(side, suffix)
                self.documents.say(Word("make room", side, suffix, [("DEL", key)]))

    def attempt(self, verb: str, target: str | None, more: dict[str, Any]) -> RedisMigrateError | None:
        """Give a command once, which may be killed; what it refused, if it did."""
        self.draw_anew()
        before, documents = self._begin(verb), self.documents
        attempt = documents.attempt = Attempt()
        attempt.removes_originals = self.strategy == "rebuild"
        attempt.removes_copies = self.mode == "undo" or (
            before.run is not None and before.run.failure is not None
        )
        is_rebuilt = self.strategy == "rebuild"
        options = options_of(self.random, strategy=self.strategy, exclusive=is_rebuilt, **self.limits, **more)
        given = self.give(self.shop.project, self.shop.folder, verb, target, options, self.meddle)
        attempt.sent = given.meddler.sent
        attempt.removes_originals |= given.is_real
        after = self.shop.run
        outcome = self._ended(before, given) if after is None else self._unfinished(verb, before, after)
        self.failing_now |= set(documents.failing(surely=False))
        documents.settle(outcome, is_complete=given.is_complete, is_reverse=self.mode == "reverse")
        self.failing_now |= set(documents.failing(surely=False))
        documents.attempt = None
        if given.is_complete and outcome in {"expanded", "finished"}:
            named = [*before.conflicts, *documents.failing(surely=True)]
            self._require_told(given, [suffix for suffix in named if suffix not in attempt.written])
            if before.will_remove > MOST_UNPROVED and "max_removals" not in self.limits:
                raise Broken(
                    f"{before.will_remove} documents were removed without proof, and nobody was asked"
                )
        if after is None:
            self._require_rest()
            self.mode = "forward"
            documents.turn(is_down=False)
        return given.error

    def _begin(self, verb: str) -> Before:
        """Turn to the direction of what begins."""
        documents, run, position = self.documents, self.shop.run, self.shop.position()
        before = Before(run, position, dict(documents.sets), documents.is_down, self.mode)
        if run is None:
            self.mode = "reverse" if verb == "rollback" else "forward"
            documents.turn(is_down=position == "new")
        elif verb == "rollback" and not run.rolls_back:
            self.mode = "reverse" if run.is_recorded else "undo"
            if run.is_recorded:
                documents.turn(not documents.is_down, keeps_steps=True)
        self.words_left = self.random.choice([0, 0, 4, 10])
        self.often = self.random.choice([0.01, 0.04, 0.2])
        self.failing_now = set(documents.failing(surely=False))
        self.may_remove = documents.unproved_removals(surely=False)
        before.will_remove = documents.unproved_removals(surely=True)
        before.conflicts = documents.in_conflict()
        return before

    def _unfinished(self, verb: str, before: Before, after: Run) -> Outcome:
        """How a run stands that is not over."""
        attempt = self.documents.attempt
        assert attempt is not None
        if self.mode != "forward" and not after.rolls_back and verb == "rollback":
            self._forget(before)
        if after.failure is not None and self.mode == "forward":
            self.mode, attempt.removes_copies = "undo", True
        attempt.removes_originals |= after.is_recorded or self.mode == "reverse"
        return "expanded" if after.is_expanded else "interrupted"

    def _ended(self, before: Before, given: Given) -> Outcome:
        """How a run has ended, if one had begun."""
        attempt = self.documents.attempt
        assert attempt is not None
        if self.mode == "undo" or (before.run is not None and attempt.removes_copies):
            return "undone"
        if before.run is not None or self.shop.position() != before.position:
            return "finished"
        if not attempt.written and (given.error is None or given.error.run is None):
            self._forget(before)
            return "as it was"
        attempt.removes_copies = True
        return "undone"

    def _forget(self, before: Before) -> None:
        """What was to begin has not."""
        self.documents.sets, self.documents.is_down, self.mode = before.sets, before.is_down, before.mode

    def _require_told(self, given: Given, suffixes: list[bytes]) -> None:
        for suffix in suffixes:
            if not self._is_named(suffix, given.told):
                raise Broken(f"nothing is told of {sorted(self.documents.keys(suffix))}")

    def _is_named(self, suffix: bytes, texts: set[str]) -> bool:
        keys = self.documents.keys(suffix)
        names = {readable(key) for key in keys} | {key.decode("utf-8", "surrogateescape") for key in keys}
        return any(name in text for name in names for text in texts)

    def _require_rest(self) -> None:
        deadline = time.monotonic() + SETTLING_SECONDS
        while True:
            known = set(self.releases.snapshot()[1])
            prefix = self.releases.prefixes[self.shop.is_changed]
            wrong = self.shop.rest({key for key in known if key.startswith(prefix)}, known)
            if not wrong:
                return
            if time.monotonic() > deadline:
                raise Broken(f"after the run: {', '.join(wrong[:5])}")
            time.sleep(0.01)

    # --- follow, and recovery by hand ----------------------------------------------------------------------

    def follow(self) -> None:
        """Follow for a while, with words between two looks."""
        documents = self.documents
        documents.attempt = attempt = Attempt(follows=True)
        self.words_left, self.often = self.random.choice([0, 0, 5]), 0.02
        left = self.random.choice([1, 2, 4])
        is_hasty = self.random.random() < 0.4
        may_remove = documents.unproved_removals(surely=False)
        wait_until: float | None = time.monotonic() + SETTLING_SECONDS

        def act() -> bool:
            nonlocal left, wait_until
            if wait_until is not None and documents.is_settled():
                wait_until, attempt.is_settled = None, True
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
            if "max_removals" not in limits or may_remove <= MOST_UNPROVED:
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
        """The record of the run is damaged: its hint is followed, and what is left is removed by hand, or not."""
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
        if key not in told or "delete it and run `redismigrate stamp`" not in told:
            raise Broken(f"says of a damaged record: {told}")
        self.client.delete(key)
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
