"""Random cases of two releases that write vectors of two datatypes while a revision converts them.

A document is one key for both releases, so that its owner's last write says what it has to be: the table's
rule for fields. The length of a vector says which release has written it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis
from command_meddler import Meddler, carry_out
from random_commands import Commands, Given, limits_in, options_of
from two_forms_documents import BLINK_MS, NEVER, Doc
from two_releases import FAR_AWAY, LONGEST_MS, READ, SHORTEST_MS, parse
from two_releases_documents import Broken
from two_releases_project import CHANGED, CREATED, STATE, ProjectOnServer, names_in
from two_vector_forms import DIMS, ODD_LENGTH, VECTOR, Owned, allowed_vectors, size_of, split
from vector_documents import DTYPES

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import RedisMigrateError, StateError

PAIRS = [("float32", "float16"), ("float16", "float32"), ("float64", "float32"), ("float32", "float32")]
SETTLING_SECONDS = 5.0
MOST_COMMANDS = 25
MOST_ATTEMPTS, ATTEMPTS_WITH_WORDS = 6, 3
# From when on a vector in the old form may be too late to be converted, and has to be told.
TOO_LATE = {"remove_documents", "drop_index", "validate_index"}
LAST_SENDS = 6
# Until when nothing knows of the other form yet.
TOO_EARLY = {"", "prove_index", "back_up_documents", "verify_backup", "copy_documents"}


class FieldCase(Commands):
    """A project whose vectors get another datatype, or whose index another algorithm where both are one.

    Args:
        seed: Of all choices.
        url: The server, which is emptied.
        folder: An empty one.
    """

    def __init__(self, seed: int, url: str, folder: Path) -> None:
        super().__init__(seed)
        self.before, self.after = self.random.choice(PAIRS)
        self.strategy: Any = "shadow" if self.before == self.after else "shadow_field"
        self.client = redis.Redis.from_url(url, protocol=2)
        self.client.flushall()
        vector = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": self.before}
        fields = [{"name": "title", "type": "text"}, {"name": "embedding", "type": "vector", "attrs": vector}]
        schema = {"index": {"name": "products", "prefix": "p:"}, "fields": fields}
        self.shop = ProjectOnServer(folder, url, self.client)
        self.shop.write(CREATED, None, [f"op.create_index({schema!r})"], ["op.drop_index('products')"])
        block = "with op.index('products') as index:"
        if self.strategy == "shadow":
            there, back = "algorithm='hnsw'", "algorithm='flat'"
        else:
            there, back = f"datatype='{self.after}'", f"datatype='{self.before}'"
        there, back = (f"    index.alter_field('embedding', {change})" for change in (there, back))
        self.shop.write(CHANGED, CREATED, [block, there], [block, back])
        self.held: dict[bytes, Owned] = {}
        self.serial = 0
        self.limits: dict[str, int] = {}
        self.mode = "forward"
        self.is_down = False
        self.given: Given | None = None
        self.written: dict[bytes, int] = {}
        self.left_second_fields = False
        # The documents that had a vector of an odd length when a command began, or have got one since.
        self.were_odd: set[bytes] = set()

    def go(self) -> None:
        """From the first document to the last command."""
        choose = self.random.choice
        self.tell(f"{self.strategy} {self.before} to {self.after}")
        for number in range(choose([3, 3, 8, 20])):
            self.say(b"p:%d" % number, "whole", self.before)
        self.shop.upgrade(CREATED)
        for _ in range(choose([1, 2, 3, 5])):
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
        for _ in range(self.random.choice([0, 1, 3, 8])):
            self.word(position)

    def word(self, position: str) -> None:
        """Some release does something."""
        choose, chance = self.random.choice, self.random.random
        share = {"old": 1.0, "new": 0.0}.get(position, 0.5)
        form = self.before if chance() < share else self.after
        run = self.shop.run
        step = self.meddler.step if self.meddler is not None else run and run.step and run.step.kind
        is_early = step in TOO_EARLY and self.mode == "forward"
        if run is not None and (is_early or position == "undoing"):
            # Nobody starts a release before what it needs is there.
            form = self.after if run.direction == "downgrade" else self.before
        key = b"p:new%d" % self.random.randrange(4) if chance() < 0.08 else choose(sorted(self.held))
        kinds = ["vector"] * 5 + ["whole", "whole", "title", "count", "expire", "persist", "expire soon"]
        kinds += ["delete", "fade", "fade", "last", "fade soon", "remove vector", "remove title"]
        if self.strategy != "shadow":
            kinds.append("odd vector")
        self.say(key, choose(kinds), form)

    def vector(self, form: str) -> bytes:
        """One that nobody wrote before, which is another one in a narrower form."""
        self.serial += 1
        numbers = [self.serial + place / 10 for place in range(DIMS)]
        import numpy as np

        return np.asarray(numbers, np.float64).astype(DTYPES[form]).tobytes()

    def say(self, key: bytes, kind: str, form: str) -> None:
        """Let the release that knows a form say a word."""
        vector = self.vector(form)
        moment = FAR_AWAY + self.random.randrange(1000)
        soon = self.random.randint(SHORTEST_MS, LONGEST_MS)
        title = f"t{self.serial}"
        commands: list[tuple[Any, ...]] = {
            "vector": [("HSET", key, VECTOR, vector)],
            "whole": [("DEL", key), ("HSET", key, "title", title, "views", 0, VECTOR, vector)],
            "odd vector": [("HSET", key, VECTOR, ODD_LENGTH + bytes([self.serial % 256]))],
            "title": [("HSET", key, "title", title)],
            "count": [("HINCRBY", key, "views", 5)],
            "expire": [("PEXPIREAT", key, moment)],
            "persist": [("PERSIST", key)],
            "expire soon": [("PEXPIRE", key, soon)],
            "delete": [("DEL", key)],
            "fade": [("HPEXPIREAT", key, moment, "FIELDS", 1, VECTOR)],
            "last": [("HPERSIST", key, "FIELDS", 1, VECTOR)],
            "fade soon": [("HPEXPIRE", key, soon, "FIELDS", 1, VECTOR)],
            "remove vector": [("HDEL", key, VECTOR)],
            "remove title": [("HDEL", key, "title")],
        }[kind]
        pipeline = self.client.pipeline(transaction=True)
        pipeline.eval(READ, 1, key)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.eval(READ, 1, key)
        replies = pipeline.execute(raise_on_error=False)
        now, before = parse(replies[0])
        self._require(key, before.get(key), now, f"before {kind}")
        later, after = parse(replies[-1])
        rest, found, dated = split(after.get(key))
        was = self.held.get(key, Owned(None)).at(later)
        meddler = self.meddler
        is_written = kind in {"vector", "whole", "odd vector"}
        if kind == "odd vector":
            self.were_odd.add(key)
        if not is_written and found is not None and was.vector is not None:
            found = was.vector
        may_stay = was.may_stay and found == was.vector
        if is_written and meddler is not None:
            is_over = not self.client.exists(f"{STATE}:run")
            may_stay = is_over or meddler.step in TOO_LATE or self.mode != "forward" or meddler.is_undoing
        doc = after.get(key)
        expires = NEVER if doc is None else doc.expires
        self.held[key] = Owned(rest, found, dated, expires, may_stay, was.returned and not is_written)
        if meddler is not None:
            self.written[key] = meddler.sent
        self.tell(f"{form} {kind} {key!r} -> {rest} {found and found.hex()} {dated}")

    def meddle(self) -> None:
        """What is said between two commands of a migration."""
        if self.words_left and self.meddler is not None and self.meddler.step:
            if self.random.random() > self.often:
                return
            self.words_left -= 1
            self.word("expanded")

    # --- what is right -------------------------------------------------------------------------------------

    def _require(self, key: bytes, found: Doc | None, now: int, when: str, stage: str = "between") -> None:
        owned = self.held.get(key, Owned(None))
        rest, vector, dated = split(found)
        if stage == "between" and self.meddler is None:
            stage = self.stage
        # What passes at this very moment may be there or not.
        for moment in (now, now - BLINK_MS, now + BLINK_MS):
            wanted = owned.at(moment)
            allowed = allowed_vectors(wanted, stage, self.before, self.after)
            if rest == wanted.rest and vector in allowed and (vector is None or dated == wanted.dated):
                return
        values = ", ".join(sorted(value.hex() if value else "none" for value in allowed))
        raise Broken(
            f"{when}, {key!r} ({stage}):\n  found  {rest} {vector and vector.hex()} {dated}\n"
            f"  wanted {wanted.rest} {values} {wanted.dated}"
        )

    stage = "old"

    def settle(self, stage: str) -> None:
        """Compare all documents with what their owners have made them."""
        now, found = parse(self.client.eval(READ, 0))
        found = {key: doc for key, doc in found.items() if not key.startswith(b"{")}
        for key in sorted(self.held.keys() | found.keys()):
            is_late = self.given is not None and self.written.get(key, -99) >= (
                self.given.meddler.sent - LAST_SENDS
            )
            if is_late:
                self.held[key] = replace(self.held[key], may_stay=True)
            self._require(key, found.get(key), now, stage, stage)
        if stage in {"old", "new"} and not self.left_second_fields:
            left = [key for key, doc in found.items() if any(b"__" in name for name, _, _ in doc.fields)]
            if left:
                raise Broken(f"second fields are left in {left[:5]}")
        if stage in {"old", "new"}:
            self._require_rest(found)
            for key, owned in self.held.items():
                _, vector, _ = split(found.get(key))
                # What was late and was converted all the same has its original in the backup, like others.
                may_stay = vector not in allowed_vectors(
                    replace(owned, may_stay=False), stage, self.before, self.after
                )
                self.held[key] = replace(owned, may_stay=may_stay, returned=owned.returned or stage == "old")

    def _require_rest(self, found: dict[bytes, Doc]) -> None:
        width = size_of(self.after if self.shop.is_changed else self.before)
        vectors = {key: split(doc)[1] for key, doc in found.items()}
        held = {key for key, vector in vectors.items() if vector is None or len(vector) == width}
        deadline = time.monotonic() + SETTLING_SECONDS
        while wrong := self.shop.rest(held, set(found)):
            if time.monotonic() > deadline:
                raise Broken(f"after the run: {', '.join(wrong[:5])}")
            time.sleep(0.01)

    # --- commands ------------------------------------------------------------------------------------------

    def step(self, *, to_the_end: bool = False) -> None:
        """One more command, whichever fits."""
        self.draw_anew()
        chance, position, run = self.random.random(), self.shop.position(), self.shop.run
        if run is None:
            self.limits = {}
        verb = "upgrade" if run is None or run.direction == "upgrade" else "downgrade"
        phase: Any = self.random.choice(["expand", "expand", "all"])
        if position == "old":
            self.drive("upgrade", phase=phase)
        elif position == "new":
            last = self.shop.last_run
            roll = ("rollback", last) if chance < 0.4 and last is not None else ("downgrade", CREATED)
            self.drive(*roll, phase=phase if roll[0] == "downgrade" else "all")
        elif position == "expanded" and chance < 0.35 and not to_the_end:
            self.follow()
        elif (
            position in {"expanded", "interrupted"}
            and run is not None
            and not run.is_recorded
            and (chance > 0.9)
        ):
            self.lose_record()
        elif position == "expanded":
            back = ("rollback", "all") if chance < 0.5 else (verb, "contract")
            self.drive(back[0], phase=back[1])
        elif position == "interrupted":
            assert run is not None
            again = (verb, run.arguments["phase"]) if chance < 0.7 else ("rollback", "all")
            self.drive(again[0], phase=again[1])
        else:
            assert run is not None
            self.drive("rollback" if run.rolls_back or chance < 0.3 else verb)

    def drive(self, verb: str, target: str | None = None, phase: Any = "all") -> None:
        """Give a command, and do what its errors tell; only vectors of an odd length are a reason for any."""
        for done in range(MOST_ATTEMPTS):
            error = self._give_once(verb, target, phase, has_words=done < ATTEMPTS_WITH_WORDS)
            if error is None:
                return
            told, limits = str(error), limits_in(error)
            # Writes that came too late are in the other form, and those that come meanwhile may be, too.
            reasons = (
                self.were_odd | self.written.keys() | {k for k, each in self.held.items() if each.may_stay}
            )
            if not any(key.decode() in told for key in reasons):
                raise Broken(f"{verb} failed without a reason: {told}") from error
            if "max_failures" in limits and self.random.random() < 0.5:
                self.limits |= limits
            else:
                unfit = [k for k, each in self.held.items() if self._is_odd(k) or each.may_stay]
                for key in sorted(unfit):
                    form = self.after if self.shop.is_changed else self.before
                    self.say(key, self.random.choice(["vector", "remove vector"]), form)
            if self.shop.run is not None and verb == "rollback":
                target = None
        raise Broken(f"{verb} fails whatever is done: {error}")

    def _is_odd(self, key: bytes) -> bool:
        return (self.held[key].vector or b"").startswith(ODD_LENGTH)

    def _give_once(
        self, verb: str, target: str | None, phase: Any, *, has_words: bool
    ) -> RedisMigrateError | None:
        self.draw_anew()
        run, before = self.shop.run, self.shop.position()
        if verb == "downgrade":
            target = CREATED
        is_back = verb == "rollback" or (run is not None and run.failure is not None)
        self.mode = "back" if is_back or before == "undoing" else "forward"
        self.stage, self.written = "between", {}
        self.words_left, self.often = self.random.choice([0, 0, 4, 10]), self.random.choice([0.01, 0.04, 0.2])
        if not has_words:
            self.words_left = 0
        if run is None:
            self.were_odd.clear()
        self.were_odd |= {key for key in self.held if self._is_odd(key)}
        options = options_of(self.random, strategy=self.strategy, phase=phase, **self.limits)
        self.given = given = self.give(
            self.shop.project, self.shop.folder, verb, target, options, self.meddle
        )
        position = self.shop.position()
        self.stage = position if position in {"old", "new"} else "between"
        self.settle(self.stage)
        self.given = None
        if given.is_complete and verb != "rollback" and position in {"old", "new"}:
            names = names_in(given.result)
            for key in sorted(key for key in self.were_odd - self.written.keys() if self._is_odd(key)):
                lasts = max(self.held[key].expires, self.held[key].dated) == NEVER
                if lasts and key.decode() not in names:
                    raise Broken(f"nothing is told of {key!r}")
        return given.error

    def lose_record(self) -> None:
        """The record of the run is damaged, and the hint is followed; what it has left is removed, or not."""
        key = f"{STATE}:run"
        self.client.set(key, b'{"version": 7, "lay')
        self.tell("== the record of the run is damaged")
        try:
            carry_out(self.shop.project, "upgrade", None, MigrationOptions(), Meddler())
        except StateError as error:
            if f"DEL '{key}' '{STATE}:progress'" not in str(error):
                raise Broken(f"says of a damaged record: {error}") from error
        else:
            raise Broken("upgrade goes on with a damaged record")
        self.client.delete(key, f"{STATE}:progress")
        commands.stamp(self.shop.project, CHANGED if self.shop.is_changed else CREATED)
        for name in self.shop.leftover_indexes():
            self.client.execute_command("FT.DROPINDEX", name)
        self.left_second_fields = True
        # Second fields of a run that is forgotten are not read: values go on as they were turned back.
        self.held = {key: replace(owned, may_stay=True, returned=True) for key, owned in self.held.items()}
        self.stage = self.shop.position()

    def follow(self) -> None:
        """Follow for a while, with words between two looks."""
        self.stage, self.written, self.mode = "between", {}, "forward"
        self.words_left, self.often = self.random.choice([0, 0, 5]), 0.02
        left = self.random.choice([1, 2, 4])

        def act() -> bool:
            nonlocal left
            left -= 1
            if left >= 0:
                self.word("expanded")
            return left > -3

        given = self.give_follow(self.shop.project, act, self.meddle)
        self.settle("between")
        if given.error is not None:
            raise Broken(f"follow failed: {given.error}") from given.error
