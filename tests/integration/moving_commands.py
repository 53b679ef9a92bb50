"""Commands to a project whose documents get other keys, each checked against the table of two forms."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from random_commands import Commands, Given, options_of
from two_forms_documents import renaming_way
from two_forms_model import States
from two_releases import Releases, Side
from two_releases_documents import Attempt, Broken, KnownDocuments, Outcome
from two_releases_project import STATE, MovingProject

from redismigrate.errors import RedisMigrateError
from redismigrate.execution.run import Run
from redismigrate.schema.strict import readable, readable_key

PREFIXES = [(b"p:", b"q:"), (b"product:", b"shop:product:")]
MOST_UNPROVED = 10
# Longer than the lease of a command that was killed, for which a follower waits.
SETTLING_SECONDS = 20.0
ALL_RIGHTS: dict[str, Any] = {"keys": ["*"], "channels": ["*"], "commands": ["+@all"]}
RIGHTLESS_SHARE = 0.1
EVICTED_SHARE = 0.04
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


class MovingCommands(Commands):
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
        self.client.acl_setuser("campaign", enabled=True, passwords=["+secret"], **ALL_RIGHTS)
        url = url.replace("unix://", "unix://campaign:secret@")
        self.rightless: bytes | None = None
        # A run that was killed may tell of them later.
        self.were_rightless: set[bytes] = set()
        self.shop = MovingProject(folder, url, self.releases, is_adopted=chance() < 0.2)
        way = renaming_way(storage, *names, is_in_place=self.strategy == "rebuild")
        self.documents = KnownDocuments(self.releases, way, self.tell)
        self.documents.lost_markers = self.shop.backups
        # What a command that is at work does: "forward", "undo" before the names move, "reverse" after that.
        self.mode = "forward"
        self.limits: dict[str, int] = {}
        self.has_evicted = False
        self.hot: list[bytes] = []

    def word(self, position: str) -> None:
        """Some release does something."""
        old_share = {"old": 0.95, "new": 0.1}.get(position, 0.5)
        side: Side = "old" if self.random.random() < old_share else "new"
        word = self.releases.any_word(side, list(self.documents.sets), self.hot)
        if self.random.random() < EVICTED_SHARE and position not in {"old", "new"}:
            word = self.releases.eviction(side, self.random.choice(list(self.documents.sets)))
            if self.meddler is not None:
                self.meddler.has_evicted = self.has_evicted = True
        self.documents.say(word, is_over=self.meddler is not None and not self.client.exists(f"{STATE}:run"))

    def meddle(self) -> None:
        """What is said between two commands of a migration."""
        attempt, meddler = self.documents.attempt, self.meddler
        if attempt is None or meddler is None:
            return
        attempt.sent = meddler.sent
        removes = meddler.step in {"remove_documents", "rewrite_documents"}
        is_back = self.mode == "undo" or (self.mode == "forward" and meddler.is_undoing)
        attempt.removes_originals |= removes and not is_back
        attempt.removes_copies |= is_back
        run = self.client.get(f"{STATE}:run") or b""
        if run:
            attempt.at_work = meddler.sent
        often = max(self.often, 0.1) if meddler.step == "remove_documents" else self.often
        if not self.words_left or self.strategy == "rebuild" or self.random.random() > often:
            return
        if self.mode != "forward" and b'"rolls_back": true' not in run and b'"rolls_back":true' not in run:
            return
        if not run and not meddler.step:
            return
        self.words_left -= 1
        self.word("expanded")

    def take_rights(self) -> None:
        """The user may not write some document any more, neither its old nor its new key."""
        self.rightless = self.random.choice(sorted(self.documents.sets))
        self.documents.rightless.add(self.rightless)
        others = [suffix for suffix in self.documents.sets if suffix != self.rightless]
        keys = [prefix + suffix for prefix in self.releases.prefixes for suffix in others]
        keys += [prefix + b"redismigrate:barrier:*" for prefix in self.releases.prefixes]
        patterns = [b"~" + escaped(key) for key in keys]
        words = ("resetkeys", "%R~*", "~{redismigrate*", "~products*", *patterns)
        self.client.execute_command("ACL", "SETUSER", "campaign", *words)
        self.tell(f"no right to write {self.rightless!r} any more")

    def attempt(
        self, verb: str, target: str | None, more: dict[str, Any], *, has_words: bool = True
    ) -> RedisMigrateError | None:
        """Give a command once, which may be killed; what it refused, if it did.

        Args:
            verb: "upgrade", "downgrade" or "rollback".
            target: The revision, or the run to roll back.
            more: Options.
            has_words: Releases may write meanwhile.
        """
        self.draw_anew()
        self.has_evicted = False
        before, documents = self._begin(verb), self.documents
        if not has_words:
            self.words_left = 0
        attempt = documents.attempt = Attempt()
        attempt.removes_originals = self.strategy == "rebuild"
        attempt.restores = self.mode == "reverse"
        is_failing = before.run is not None and before.run.failure is not None
        attempt.removes_copies = self.mode == "undo" or (self.mode == "forward" and is_failing)
        is_rebuilt = self.strategy == "rebuild"
        options = options_of(self.random, strategy=self.strategy, exclusive=is_rebuilt, **self.limits, **more)
        self.rightless = None
        takes = self.take_rights if self.random.random() < RIGHTLESS_SHARE else None
        given = self.give(self.shop.project, self.shop.folder, verb, target, options, self.meddle, takes)
        self.client.acl_setuser("campaign", enabled=True, **ALL_RIGHTS)
        attempt.sent = given.meddler.sent
        attempt.removes_originals |= given.is_real
        after = self.shop.run
        outcome = self._ended(before, given) if after is None else self._unfinished(verb, before, after)
        if self.rightless is not None:
            attempt.written[self.rightless] = attempt.sent
            self.were_rightless.add(self.rightless)
        # A copy that is deleted while it is looked for is told, too.
        self.failing_now |= (
            attempt.failing
            | set(attempt.written)
            | self.were_rightless
            | set(documents.failing(surely=False))
        )
        documents.settle(
            outcome,
            is_complete=given.is_complete,
            is_reverse=self.mode == "reverse",
            named={suffix for suffix in documents.sets if self._is_named(suffix, given.told)},
        )
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
            # What the run that is undone would still remove goes first, as when it has not ended.
            documents.turn(is_down=position == "new", keeps_steps=self.mode == "reverse")
        elif verb == "rollback" and not run.rolls_back:
            self.mode = "reverse" if run.is_recorded else "undo"
            if run.is_recorded:
                documents.turn(not documents.is_down, keeps_steps=True)
        self.words_left = self.random.choice([0, 0, 4, 10])
        self.often = self.random.choice([0.01, 0.04, 0.2])
        self.failing_now = set(documents.failing(surely=False))
        if run is not None and run.failure is not None:
            # Why a process that was killed had begun to undo the run; it may have been corrected since.
            self.failing_now |= {each for each in documents.sets if self._is_named(each, {run.failure})}
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
        if before.run is not None and self.mode == "forward":
            # A process of its own tells nothing: it may have failed, and undone what there was.
            is_done = self.shop.is_changed == (before.run.direction == "upgrade")
            attempt.removes_copies |= not is_done
            return "finished" if is_done else "undone"
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
        names = {readable(key) for key in keys} | {readable_key(key) for key in keys}
        names |= {key.decode("utf-8", "surrogateescape") for key in keys}
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


def escaped(key: bytes) -> bytes:
    """A key as a pattern of an ACL, which has no spaces."""
    return b"".join(b"?" if byte <= ord(" ") or byte in b"*?[]^-\\" else bytes([byte]) for byte in key)
