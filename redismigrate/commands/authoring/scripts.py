"""`init`, `templates`, `revision`, `merge`, `edit`: what makes and changes scripts, without a server."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from redismigrate.commands.project import Project
from redismigrate.config import DEFAULT_URL, default_project_name, zone_of
from redismigrate.configuration_file import CONFIGURATION_FILE, is_configuration
from redismigrate.errors import ConfigurationError, UsageError
from redismigrate.shown_url import shown_url

if TYPE_CHECKING:
    from redismigrate.commands.authoring.script_content import ScriptContent
    from redismigrate.commands.placing import Placement
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
        f"url = {_toml_string(url if shown_url(url) == url else DEFAULT_URL)}",
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
    from redismigrate.history.templates import known_templates

    return tuple(known_templates())


def revision(
    project: Project,
    message: str,
    *,
    head: str | None = None,
    splice: bool = False,
    branch_labels: Sequence[str] = (),
    depends_on: Sequence[str] = (),
    version_path: Path | None = None,
    revision_id: str | None = None,
    content: ScriptContent | None = None,
) -> Path:
    """Write a migration script on top of the history.

    Args:
        project: The project.
        message: What the revision is for.
        head: The revision it revises, by default the only head; "base" begins a new branch.
        splice: It may revise what is no head, and so begin a branch there.
        branch_labels: Names of the branch that begins with it.
        depends_on: Revisions or labels that have to be applied before it, without being revised.
        version_path: One of the folders with scripts; by default that of the revision it revises.
        revision_id: Its id, by default random.
        content: What it does, as `autogenerate`, `baseline` or `from_schema_patch` found it; by default it is
            empty, to be filled in.

    Raises:
        SeveralHeads: There is more than one head and none was named.
        UsageError: It can't have this id, label or folder, or revise what is no head; or it changes an index
            as a revision makes it on which it would not stand.
    """
    from redismigrate.commands.placing import place_revision

    placement = place_revision(
        project,
        heads=() if head is None else (head,),
        splice=splice,
        branch_labels=branch_labels,
        depends_on=depends_on,
        version_path=version_path,
        revision_id=revision_id,
    )
    if content is not None:
        from redismigrate.commands.authoring.other_branches import refuse_indexes_of_other_branches

        refuse_indexes_of_other_branches(project, placement, content.changed, content.gone)
    return write_revision(project, placement, message, content)


def merge(
    project: Project,
    revisions: Sequence[str] = ("heads",),
    message: str | None = None,
    *,
    branch_labels: Sequence[str] = (),
    revision_id: str | None = None,
) -> Path:
    """Write a script that revises several heads, and so joins their branches; it may stay empty.

    Args:
        project: The project.
        revisions: The heads to join, by default all.
        message: What the revision is for, by default which it joins.
        branch_labels: Names of the branch that begins with it.
        revision_id: Its id, by default random.

    Raises:
        UsageError: There are not several, or one is no head.
    """
    from redismigrate.commands.placing import place_revision

    placement = place_revision(project, heads=revisions, branch_labels=branch_labels, revision_id=revision_id)
    if len(placement.parents) < 2:  # noqa: PLR2004 - as many as it takes to merge
        found = f"only {placement.parents[0]} is" if placement.parents else "no revision is"
        raise UsageError(
            f"There is nothing to merge: {found} named by {' '.join(revisions)}.",
            "`redismigrate heads` lists the heads; name two or more.",
        )
    return write_revision(project, placement, message or f"merge {' and '.join(placement.parents)}")


def write_revision(
    project: Project,
    placement: Placement,
    message: str,
    content: ScriptContent | None = None,
    undo_replaced: Mapping[str, Sequence[str]] | None = None,
    do_replaced: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write a script, and give it to the hooks.

    Args:
        project: The project.
        placement: Where it goes.
        message: What it is for.
        content: What it does; None for nothing yet.
        undo_replaced: See `write_script`.
        do_replaced: See there.
    """
    from redismigrate.commands.authoring.post_write_hooks import run_post_write_hooks
    from redismigrate.history.script_writer import write_script

    settings = project.settings
    path = write_script(
        settings.script_location,
        placement.folder,
        revision=placement.revision,
        message=message,
        down_revisions=placement.parents,
        branch_labels=placement.branch_labels,
        depends_on=placement.depends_on,
        upgrade_lines=() if content is None else content.upgrade_lines,
        downgrade_lines=() if content is None else content.downgrade_lines,
        create_date=datetime.now(zone_of(settings.timezone)),
        file_template=settings.file_template,
        slug_length=settings.truncate_slug_length,
        undo_replaced=undo_replaced or {},
        do_replaced=do_replaced or {},
    )
    run_post_write_hooks(settings.post_write_hooks, path)
    return path


def edit(project: Project, identifier: str) -> Path:
    """Open a revision's script in $VISUAL or $EDITOR.

    Raises:
        ConfigurationError: No editor is set, or it failed.
    """
    from redismigrate.commands.revisions import find_script

    path = find_script(project.showing(identifier), identifier).path
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise ConfigurationError("No editor is set.", "Set the environment variable EDITOR.")
    try:
        code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:  # ValueError: a quotation mark that is not closed
        raise ConfigurationError(
            f"The editor {editor!r} can't be started: {error}.", "Correct the variable EDITOR or VISUAL."
        ) from error
    if code:
        raise ConfigurationError(
            f"The editor {editor!r} ended with {code}.", "Correct the variable EDITOR or VISUAL."
        )
    return path


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
