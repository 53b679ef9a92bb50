"""Interrupts a migration before each of its steps, and behind each function, as a crash would."""

from __future__ import annotations

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.commands.project import Project
from redismigrate.commands.recording import function_source
from redismigrate.errors import RunInterrupted
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run
from redismigrate.planning.plan import Step
from redismigrate.state.store import read_state


class Interruption(Exception):
    """Ends a run as if its process had died."""


class Interrupter(Watcher):
    """Ends a run at the first step at which no earlier attempt was ended.

    Args:
        project: Whose run it is.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._run: Run | None = None
        self._seen: set[tuple[object, ...]] = set()

    def revision_started(self, run: Run) -> None:
        """Remember which revision the steps belong to."""
        self._run = run

    def step_started(self, step: Step) -> None:
        """End the run, once per step.

        A function of `op.run` is carried out before: that it was is noted after it, so a process that dies
        in between runs it once more when it is taken up.
        """
        revision = None if self._run is None else self._run.plan.revision
        place = (revision, step.kind, step.index, step.alias, step.call, step.description)
        if place in self._seen:
            return
        self._seen.add(place)
        if step.kind == "run_function" and self._run is not None:
            self._carry_out(self._run, step)
        raise Interruption(step.description)

    def _carry_out(self, run: Run, step: Step) -> None:
        with self._project.connect() as server:
            catalog = read_state(server, self._project.keys).catalog
            function = function_source(self._project, lambda: catalog)(run.plan.recorded, step)
            if function is not None:
                function(server.client)


def upgrade_interrupted(project: Project, target: str, options: MigrationOptions) -> int:
    """Upgrade, interrupted at every step and taken up again.

    Args:
        project: The project.
        target: A revision identifier.
        options: Of the upgrade.

    Returns:
        How often it was interrupted.

    Raises:
        RedisMigrateError: As an upgrade does.
    """
    interrupter, times = Interrupter(project), 0
    while True:
        try:
            commands.upgrade(project, target, options, interrupter)
        except RunInterrupted as error:
            if not isinstance(error.__cause__, Interruption):
                raise
            times += 1
        else:
            return times
