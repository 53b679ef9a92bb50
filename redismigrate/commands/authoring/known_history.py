"""The indexes that a history makes; where no replay tells them, those that the record leads to."""

from __future__ import annotations

from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.checking import head_catalog
from redismigrate.commands.project import Project
from redismigrate.commands.squashed_history import seen
from redismigrate.errors import ScriptError
from redismigrate.schema.definition import Catalog
from redismigrate.state.store import read_state


def replay_or_record(project: Project, notes: list[str]) -> Catalog:
    """The indexes after all scripts; the server is asked only where no replay tells them.

    Args:
        project: The project.
        notes: Is told why the record stands for scripts.

    Raises:
        ScriptError: A script that waits to be applied raised or asked for what can't be.
        ServerError: The record is needed, and can't be read.
    """
    try:
        return replay(project)
    except ScriptError:
        with project.connect() as server:
            state = read_state(server, project.keys)
            applied = seen(project, state.head).applied
            missing = [each.revision for each in project.scripts if each.revision not in applied]
            return head_catalog(project, server, state, missing, notes)
