"""What a server has recorded, as the scripts call it: squashed ones stand for those that they replace."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from redismigrate.commands.project import Project
from redismigrate.errors import PlanBlocked
from redismigrate.history.script import Script
from redismigrate.operations.squash import Squash
from redismigrate.state.squashed_records import partly_applied, put_together, seen_head
from redismigrate.state.stored_documents import Head


class InBetween(NamedTuple):
    """A squashed revision of which a part is applied.

    Attributes:
        message: What is applied, and what is not.
        hint: What to do.
    """

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


def squash_of(script: Script) -> Squash:
    """What records have to know of a squashed script."""
    return Squash(
        revision=script.revision,
        replaces=script.replaces,
        parents=script.down_revisions,
        depends_on=script.depends_on,
        message=script.message,
        sha256=script.sha256,
        code_sha256=script.code_sha256,
    )


def squashes_of(project: Project) -> tuple[Squash, ...]:
    """The squashed revisions among the scripts."""
    return tuple(squash_of(script) for script in project.scripts if script.replaces)


def seen(project: Project, head: Head) -> Head:
    """What is recorded, by the names that the scripts have for it.

    Args:
        project: The project.
        head: As recorded.
    """
    return seen_head(head, squashes_of(project), [script.revision for script in project.scripts])


def seen_to_undo(project: Project, head: Head) -> Head:
    """The same for a downgrade: a squashed revision is there as soon as one that it replaces is."""
    found = seen(project, head)
    for squash in squashes_of(project):
        if squash.revision not in found.revisions:
            found = put_together(found, squash)
    return found


def in_between(project: Project, head: Head) -> dict[str, InBetween]:
    """The squashed revisions of which a part is applied.

    Args:
        project: The project.
        head: As recorded.
    """
    squashes = {squash.revision: squash for squash in squashes_of(project)}
    there = {script.revision for script in project.all_scripts}
    one_by_one = {script.revision for script in project.scripts if script.applies_one_by_one}
    found = {}
    for revision, applied in partly_applied(head, squashes.values()).items():
        squash = squashes[revision]
        lacking = [old for old in squash.replaces if old not in applied]
        last = squash.replaces[-1]
        if revision in one_by_one:
            way = "`redismigrate upgrade` applies the rest."
        elif there.issuperset(squash.replaces):
            way = f"Apply these by their own scripts, which are still here: `redismigrate upgrade {last}`."
        else:
            base = squash.parents[0] if squash.parents else "base"
            way = (
                f"Run `redismigrate upgrade {last}` with the release that has their scripts; or go back with "
                f"`redismigrate downgrade {base}` here, and upgrade anew."
            )
        found[revision] = InBetween(
            f"Revision {revision} ({squash.message}) replaces {len(squash.replaces)} revisions, and this "
            f"Redis is in between: it has {', '.join(applied)} and lacks {', '.join(lacking)}.",
            way,
        )
    return found


def refuse_in_between(project: Project, head: Head, wanted: Container[str]) -> None:
    """Refuse to apply a squashed revision where a part of what it replaces is applied.

    Args:
        project: The project.
        head: As recorded.
        wanted: The revisions that are to be applied.

    Raises:
        PlanBlocked: One of them is such; says what to do.
    """
    one_by_one = {script.revision for script in project.scripts if script.applies_one_by_one}
    for revision, part in in_between(project, head).items():
        if revision in wanted and revision not in one_by_one:
            raise PlanBlocked(part.message, part.hint, (part.message,))
