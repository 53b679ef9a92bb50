"""Gives commands to a project at random: killed now and then, their errors' hints followed to the letter."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from command_meddler import Killed, Meddler, carry_out, migrate_and_die
from signalled_process import _PROCESSES, KILLED
from two_releases_project import names_in

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.errors import RedisMigrateError
from redismigrate.execution import expanded

LIMIT = re.compile(r"--max-(failures|removals) ([0-9][0-9,]*)")
KILL_SHARE, REAL_SHARE = 0.35, 0.1
# Kills come with the same chance among the first ten sends and among the next hundred.
MOST_SENDS = 300
DEADLINE_SECONDS = 60


@dataclass
class Given:
    """How a command ended.

    Attributes:
        killed: It was.
        error: What it refused or how it failed.
        result: What it did.
        told: All texts that the user has seen.
        meddler: Knows how far it came.
        is_real: It was a process of its own, of which nothing is known.
    """

    killed: bool = False
    error: RedisMigrateError | None = None
    result: Any = None
    told: set[str] = field(default_factory=set)
    meddler: Meddler = field(default_factory=Meddler)
    is_real: bool = False

    @property
    def is_complete(self) -> bool:
        """It came to its end, and had something to do."""
        return not self.killed and self.error is None and not self.is_real and self.result.result != "nothing"


class Commands:
    """All choices, the story, and the commands of one case.

    Args:
        seed: Of all choices.

    Attributes:
        kills: How many commands were killed.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the same for a seed
        self.seed = seed
        self.story: list[str] = []
        self.meddler: Meddler | None = None
        self.kills = 0
        self._drawn = 0

    def tell(self, text: str) -> None:
        """Remember what happened."""
        at = f"{self.meddler.step}#{self.meddler.sent} " if self.meddler is not None else ""
        self.story.append(at + text)

    def draw_anew(self) -> None:
        """What a race has changed shall not change the choices that follow."""
        self._drawn += 1
        self.random.seed(f"{self.seed} {self._drawn}")

    def give(
        self,
        project: commands.Project,
        folder: Path,
        verb: str,
        target: str | None,
        options: MigrationOptions,
        writes: Callable[[], None],
        takes_rights: Callable[[], None] | None = None,
    ) -> Given:
        """Give a command, which may be killed.

        Args:
            project: Whose.
            folder: Its folder.
            verb: "upgrade", "downgrade" or "rollback".
            target: The revision, or the run to roll back.
            options: Of the command.
            writes: What releases do before each of its sends.
            takes_rights: Takes rights away in the middle of a transaction.
        """
        kill_at, is_sent = self._kill()
        given = Given(is_real=kill_at is not None and self.random.random() < REAL_SHARE)
        chosen = f"{options.phase} {options.max_failures=} {options.batch_size=}"
        self.tell(f"== {verb} {target or ''} {chosen}, kill at {kill_at}{' really' * given.is_real}")
        if given.is_real:
            arguments = (folder, verb, target, options, kill_at)
            more = {"is_sent": is_sent}
            process = _PROCESSES.Process(target=migrate_and_die, args=arguments, kwargs=more, daemon=True)
            process.start()
            process.join(DEADLINE_SECONDS)
            given.killed = process.exitcode == KILLED
            self.kills += given.killed
            self.tell(f"-- {'killed' if given.killed else 'ended'}")
            return given
        with Meddler(writes, kill_at, is_sent=is_sent) as self.meddler:
            given.meddler = self.meddler
            self.meddler.takes_rights = takes_rights
            try:
                given.result = carry_out(project, verb, target, options, self.meddler)
            except Killed:
                given.killed = True
            except RedisMigrateError as error:
                given.error = error
        self._end(project, given)
        return given

    def give_follow(
        self, project: commands.Project, act: Callable[[], bool], writes: Callable[[], None]
    ) -> Given:
        """Follow, in a hurry, which may be killed.

        Args:
            project: Whose.
            act: Called again and again; False ends it.
            writes: What releases do before each of its sends.
        """
        kill_at, is_sent = self._kill()
        given = Given()
        self.tell(f"== follow, kill at {kill_at}")
        goes_on = True

        def step() -> None:
            nonlocal goes_on
            goes_on = act()

        def ask(_: Any) -> bool:
            given.meddler.meddle(step)
            return goes_on

        with (
            patch.object(expanded, "HEARTBEAT_SECONDS", 0.01),
            patch.object(expanded, "LOOK_SECONDS", 0.003),
            Meddler(writes, kill_at, is_sent=is_sent) as self.meddler,
        ):
            given.meddler = self.meddler
            try:
                given.result = commands.follow(project, ask, self.meddler)
            except Killed:
                given.killed = True
            except RedisMigrateError as error:
                given.error = error
        self._end(project, given)
        return given

    def _end(self, project: commands.Project, given: Given) -> None:
        self.meddler = None
        if given.meddler.failure is not None:
            raise given.meddler.failure
        given.told = names_in(given.result, given.error, given.meddler.messages)
        how = getattr(given.result, "result", None) or getattr(given.result, "why", None)
        place = f"{given.meddler.step}, after {given.meddler.sent} sends"
        self.tell(f"-- {'killed' if given.killed else given.error or how}: {place}")
        if given.killed:
            self.kills += 1
            # This process lives, so that its lock has to be freed as that of one that hangs.
            commands.unlock(project)

    def _kill(self) -> tuple[int | None, bool]:
        if self.random.random() > KILL_SHARE:
            return None, False
        return int(MOST_SENDS ** self.random.random()) + 1, self.random.choice([True, False])


def limits_in(error: RedisMigrateError) -> dict[str, int]:
    """The options with numbers that an error names: `max_failures`, `max_removals`."""
    return {f"max_{name}": int(number.replace(",", "")) for name, number in LIMIT.findall(str(error))}


def options_of(chooses: random.Random, **chosen: Any) -> MigrationOptions:
    """Options that this version knows, with some that only change how fast it is."""
    known = MigrationOptions.__dataclass_fields__
    return MigrationOptions(
        batch_size=chooses.choice([1, 4, 500]),
        workers=chooses.choice([1, 3]),
        **{name: value for name, value in chosen.items() if name in known},
    )
