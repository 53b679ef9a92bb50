"""What Redis has that no script here has: told before anything else, since it explains what comes after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redismigrate.commands.project import Project
from redismigrate.commands.squashed_history import seen
from redismigrate.errors import RedisMigrateError
from redismigrate.history.folder import heads_of
from redismigrate.state.stored_documents import Head

OPENING = "Redis is ahead of these scripts by"
_LISTED = 3


def revisions_ahead(project: Project, head: Head) -> tuple[str, ...]:
    """The applied revisions that no script has, sorted."""
    scripts = {script.revision for script in project.scripts}
    # Of a squashed one that is applied in part `in_between` tells.
    replaced = {old for script in project.scripts for old in script.replaces}
    return tuple(sorted(seen(project, head).applied - scripts - replaced))


def told_ahead(project: Project, head: Head) -> str | None:
    """What Redis has that no script has, and what to do about it; None when there is nothing of the kind.

    Where all scripts are applied, an older release of the application looks, and nothing is to be done.

    Args:
        project: The project.
        head: What is recorded.
    """
    ahead = revisions_ahead(project, head)
    if not ahead:
        return None
    head = seen(project, head)
    named = [
        f"{revision} ({head.revisions[revision].message or 'no message'})" for revision in ahead[:_LISTED]
    ]
    names = ", ".join(named) + (f" and {len(ahead) - _LISTED} more" if len(ahead) > _LISTED else "")
    scripts = {script.revision for script in project.scripts}
    if scripts <= head.applied:
        return f"{OPENING} {names}."
    target = "head" if len(heads_of(project.scripts)) == 1 else "heads"
    other = (
        f"another project is recorded as {project.settings.project} as well, give this one another `project` "
        "in the configuration"
    )
    renamed = (
        "these scripts have taken their place under other ids, record them with `redismigrate stamp "
        f"{target}`"
    )
    # Two histories that share a revision are one project's.
    first, second = (renamed, other) if scripts & head.applied else (other, renamed)
    return f"{OPENING} {names}: if {first}; if {second}; else run this where their scripts are."


@contextmanager
def telling(told: str | None) -> Iterator[None]:
    """Let an error begin with what Redis has that no script has: it may be why there is one.

    Args:
        told: As `told_ahead` tells it.
    """
    try:
        yield
    except RedisMigrateError as error:
        if told is not None and not error.message.startswith(OPENING):
            error.message = f"{told} {error.message}"
            error.args = (error.message,)
        raise
