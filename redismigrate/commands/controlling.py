"""`status --set`, `--pause` and `--resume`: changes how hard a run may press the server, from any machine."""

from __future__ import annotations

from redismigrate.commands.project import Project
from redismigrate.errors import UsageError
from redismigrate.execution.run import Run
from redismigrate.redis_server.connection import Server
from redismigrate.state.control import Control, read_control, write_control
from redismigrate.state.limits import parse_setting
from redismigrate.state.store import read_state


def control(project: Project, settings: tuple[str, ...] | list[str]) -> Control:
    """Change what the run that is under way, or interrupted, has to keep to. It follows within a second.

    Args:
        project: The project.
        settings: Each `NAME=VALUE`, as `status --set` takes them.

    Returns:
        What holds now.

    Raises:
        UsageError: There is no such setting, its value is out of range, or no run is unfinished.
    """
    changes = dict(map(parse_setting, settings))
    with project.connect() as server:
        found = read_state(server, project.keys).run
        if found is None:
            raise UsageError(
                "No run is under way or interrupted, so there is nothing to set.",
                "Limits of the next run are options of `redismigrate upgrade`.",
            )
        run = Run.from_content(found, project.keys)
        if changes:
            write_control(server, project.keys, run.id, changes)
        return control_of(server, project, run)


def control_of(server: Server, project: Project, run: Run) -> Control:
    """What a run has to keep to now."""
    return read_control(server, project.keys, run.id, run.arguments)
