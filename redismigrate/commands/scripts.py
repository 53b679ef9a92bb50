"""`init`, `templates`, `revision`, `edit`, `heads`, `history`, `show`: what needs scripts, but no server."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redismigrate.commands.project import Project
from redismigrate.config import (
    CONFIGURATION_FILE,
    DEFAULT_URL,
    default_project_name,
    is_configuration,
    redacted,
)
from redismigrate.errors import ConfigurationError, RevisionNotFound, SchemaError, UsageError
from redismigrate.history.folder import heads_of
from redismigrate.history.script import Script

if TYPE_CHECKING:
    from redismigrate.history.templates import Template


@dataclass(frozen=True)
class Initialised:
    """What `init` wrote.

    Attributes:
        written: The files, the configuration last.
        configuration: The configuration file.
    """

    written: tuple[Path, ...]
    configuration: Path


@dataclass(frozen=True)
class ShownRevision:
    """A revision, told in words.

    Attributes:
        script: Its script.
        children: The revisions that revise it.
        upgrade: What applying it does; None when that can't be told without a server, see `unknown`.
        unknown: Why not.
    """

    script: Script
    children: tuple[str, ...]
    upgrade: tuple[str, ...] | None
    unknown: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            **script_to_json(self.script),
            "children": list(self.children),
            "upgrade": None if self.upgrade is None else list(self.upgrade),
            "unknown": self.unknown,
        }


def script_to_json(script: Script) -> dict[str, Any]:
    """A script's metadata as JSON data."""
    return {
        "revision": script.revision,
        "down_revisions": list(script.down_revisions),
        "branch_labels": list(script.branch_labels),
        "depends_on": list(script.depends_on),
        "message": script.message,
        "create_date": script.create_date,
        "path": str(script.path),
        "sha256": script.sha256,
    }


def init(directory: Path, template: str = "generic", url: str | None = None) -> Initialised:
    """Make a folder for migration scripts and the configuration that names it.

    The configuration goes into the `pyproject.toml` of the working directory where there is one, else into
    `redismigrate.toml`. A password in `url` is not written.

    Raises:
        ConfigurationError: The folder is not empty, or a configuration exists; nothing is written then.
        UsageError: There is no such template.
    """
    from redismigrate.history.templates import copy_template

    pyproject, own = Path("pyproject.toml"), Path(CONFIGURATION_FILE)
    if own.exists() or is_configuration(pyproject):
        existing = own if own.exists() else pyproject
        raise ConfigurationError(
            f"{existing} configures redismigrate already.",
            "Use `redismigrate revision -m ...`, or delete that configuration first.",
        )
    url = url or DEFAULT_URL
    written = copy_template(template, directory)
    lines = [
        f"script_location = {_toml_string(directory.as_posix())}",
        f"url = {_toml_string(url if redacted(url) == url else DEFAULT_URL)}",
    ]
    if pyproject.is_file():
        configuration = pyproject
        text = pyproject.read_text(encoding="utf-8").rstrip("\n")
        text = "\n".join([*([text, ""] if text else []), "[tool.redismigrate]", *lines, ""])
    else:
        configuration = own
        name = _toml_string(default_project_name(directory))
        text = "\n".join([f"project = {name}", *lines, ""])
    configuration.write_text(text, encoding="utf-8")
    return Initialised((*written, configuration), configuration)


def templates() -> tuple[Template, ...]:
    """The templates that `init` knows."""
    from redismigrate.history.templates import list_templates

    return tuple(list_templates())


def revision(
    project: Project,
    message: str,
    *,
    head: str | None = None,
    revision_id: str | None = None,
) -> Path:
    """Write an empty migration script on top of the history.

    Args:
        project: The project.
        message: What the revision is for.
        head: The revision it revises, by default the only head; "base" begins a new branch.
        revision_id: Its id, by default random.

    Raises:
        SeveralHeads: There is more than one head and none was named.
    """
    from redismigrate.history.identifiers import resolve_many, resolve_one
    from redismigrate.history.script import problem_with_name
    from redismigrate.history.writer import new_revision_id, write_script

    if revision_id is not None:
        problem = problem_with_name(revision_id)
        if problem:
            raise UsageError(f"{revision_id!r} can't be a revision id: {problem}.", "Leave --rev-id out.")
        if revision_id in project.history:
            raise UsageError(f"Revision {revision_id} exists already.", "Choose another --rev-id.")
    parents: tuple[str, ...]
    if head is None:
        parents = (resolve_one(project.history, "head", frozenset()),) if project.scripts else ()
    else:
        parents = resolve_many(project.history, head, frozenset())
        not_heads = [parent for parent in parents if parent not in project.history.heads()]
        if not_heads:
            raise UsageError(
                f"Revision {not_heads[0]} is not a head.",
                "Name one of: " + ", ".join(project.history.heads()),
            )
    return write_script(
        project.settings.script_location,
        project.settings.version_locations[0],
        revision=revision_id or new_revision_id(),
        message=message,
        down_revisions=parents,
        create_date=datetime.now(UTC),
    )


def edit(project: Project, identifier: str) -> Path:
    """Open a revision's script in $VISUAL or $EDITOR.

    Raises:
        ConfigurationError: No editor is set, or it failed.
    """
    path = _find(project, identifier).path
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise ConfigurationError("No editor is set.", "Set the environment variable EDITOR.")
    try:
        subprocess.run([*shlex.split(editor), str(path)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(f"The editor failed: {error}.", "Check the variable EDITOR.") from error
    return path


def heads(project: Project) -> tuple[Script, ...]:
    """The scripts that no other revises."""
    ids = set(heads_of(project.scripts))
    return tuple(script for script in project.scripts if script.revision in ids)


def history(project: Project) -> tuple[Script, ...]:
    """All scripts, newest first."""
    return tuple(project.history[id_] for id_ in reversed(project.history.ordered(project.history)))


def show(project: Project, identifier: str) -> ShownRevision:
    """A revision and what it does, as far as that can be told from the scripts alone."""
    from redismigrate.commands.recording import record_upgrades
    from redismigrate.errors import ScriptError
    from redismigrate.schema.definition import Catalog

    script = _find(project, identifier)
    graph = project.history
    try:
        chain = graph.ordered(graph.ancestors([script.revision]))
        recorded = record_upgrades(graph, chain, Catalog(), None)
    except (ScriptError, SchemaError) as error:
        return ShownRevision(script, graph.children(script.revision), None, error.message)
    words = tuple(str(operation) for operation in recorded[-1].operations)
    return ShownRevision(script, graph.children(script.revision), words)


def _find(project: Project, identifier: str) -> Script:
    from redismigrate.history.identifiers import resolve_one

    if identifier.startswith(("current", "+", "-")):
        from redismigrate.state.store import read_state

        with project.connect() as server:
            applied = read_state(server, project.keys).head.applied
    else:
        applied = frozenset()
    revision_id = resolve_one(project.history, identifier, applied)
    if revision_id not in project.history:
        raise RevisionNotFound(f"There is no script for {identifier}.", "See `redismigrate history`.")
    return project.history[revision_id]


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
