"""`squash`: writes one script that stands for several that follow each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from redismigrate.commands.authoring.composing import Asked, composed, rewritten_twice
from redismigrate.commands.authoring.replaying import replay
from redismigrate.commands.authoring.script_content import ScriptContent
from redismigrate.commands.authoring.scripts import write_revision
from redismigrate.commands.placing import Placement, folder_beside, require_free
from redismigrate.commands.project import Project
from redismigrate.errors import UsageError
from redismigrate.history.graph import History
from redismigrate.history.identifiers import resolve_range
from redismigrate.history.script import DOES_REPLACED, UNDOES_REPLACED, Script
from redismigrate.history.script_writer import new_revision_id
from redismigrate.operations.operation_types import Operation
from redismigrate.operations.script_calls import record
from redismigrate.operations.source import source_lines
from redismigrate.schema.definition import Catalog

_FEWEST = 2


@dataclass(frozen=True)
class Squashed:
    """A script that stands for others.

    Attributes:
        path: Its file.
        revision: Its id.
        scripts: Those that it replaces, in order; their files may be deleted once every Redis has them all.
        operations: What it does, in words.
        notes: What the reader should look at, each one sentence.
    """

    path: Path
    revision: str
    scripts: tuple[Script, ...]
    operations: tuple[str, ...]
    notes: tuple[str, ...]


def squash(
    project: Project, revisions: str, message: str | None = None, *, revision_id: str | None = None
) -> Squashed:
    """Write one script that replaces several; they stay beside it until somebody deletes them.

    An environment that has applied all of them has applied it; one that has none applies it.

    Args:
        project: The project.
        revisions: A range `a:b`, both included, of revisions of which each revises the one before.
        message: What the revision is for, by default which it replaces.
        revision_id: Its id, by default random.

    Raises:
        UsageError: The range is not such a line, or something in it can't be said by one script.
        ScriptError: A script raised, or the history can't be replayed without a server.
    """
    history = project.history
    scripts = _line(history, resolve_range(history, revisions, frozenset()))
    depends_on = _depends_on(history, scripts)
    first, last = scripts[0], scripts[-1]
    require_free(project, revision_id, ())
    needed = (history.labels.get(name, name) for name in depends_on)
    before = replay(project, history.ancestors((*first.down_revisions, *needed)))
    up, down = _asked(scripts, before)
    _refuse_functions((*up, *down))
    after = _after(up, before)
    there, back = composed(up, before), composed(down, after, is_back=True)
    undone = _one_by_one(reversed(scripts), down, after)
    done = _one_by_one(scripts, up, before) if rewritten_twice(there) else {}
    if done:
        content = ScriptContent(
            upgrade_lines=tuple(f"{DOES_REPLACED}{revision}(op)" for revision in done),
            downgrade_lines=tuple(f"{UNDOES_REPLACED}{revision}(op)" for revision in undone),
        )
    else:
        content = ScriptContent(
            upgrade_lines=source_lines([each.operation for each in there], before),
            downgrade_lines=source_lines([each.operation for each in back], after),
        )
    placement = Placement(
        revision=revision_id or new_revision_id(),
        parents=first.down_revisions,
        branch_labels=tuple(dict.fromkeys(label for script in scripts for label in script.branch_labels)),
        depends_on=depends_on,
        folder=folder_beside(project, last),
    )
    path = write_revision(
        project,
        placement,
        message or f"squash {first.revision} to {last.revision}",
        content,
        undo_replaced={revision: undone[revision] for revision in reversed(undone)},
        do_replaced=done,
    )
    said = tuple(str(each.operation) for each in there)
    return Squashed(path, placement.revision, scripts, said, (*_why_one_by_one(there), *_notes(down)))


def _line(history: History, ids: Sequence[str]) -> tuple[Script, ...]:
    """The scripts of a range, if each revises the one before and nothing else does.

    Raises:
        UsageError: They are no such line, or fewer than two, or one replaces others itself.
    """
    if len(ids) < _FEWEST:
        raise UsageError("There is nothing to squash: it takes two revisions.", "Name a range A:B.")
    for revision in ids:
        if history[revision].replaces:
            raise UsageError(
                f"Revision {revision} replaces others itself.",
                f"Squash from the one after it; or take `replaces` out of {history[revision].path} first, "
                "once every Redis has a revision after it.",
            )
    for parent, revision in pairwise(ids):
        if history[revision].down_revisions != (parent,):
            raise UsageError(
                f"From {ids[0]} to {ids[-1]} is no line: {revision} does not revise {parent} alone.",
                "Squash a part without branches, merges and revisions that only depend on it.",
            )
        others = [child for child in history.children(parent) if child != revision]
        if others:
            raise UsageError(
                f"From {ids[0]} to {ids[-1]} is no line: {', '.join(others)} revises {parent}, too.",
                f"Squash up to {parent}, or from {revision}.",
            )
    return tuple(history[revision] for revision in ids)


def _depends_on(history: History, scripts: Sequence[Script]) -> tuple[str, ...]:
    """What the scripts depend on beside each other.

    Raises:
        UsageError: Of that something stands on one of them: the one script would depend on itself.
    """
    ids = {script.revision for script in scripts}
    found: dict[str, None] = {}
    for script in scripts:
        for name, revision in zip(script.depends_on, history.dependencies(script.revision), strict=True):
            if revision in ids:
                continue
            if not ids.isdisjoint(history.ancestors([revision])):
                raise UsageError(
                    f"Revision {script.revision} depends on {revision}, which stands on one of these.",
                    f"Squash up to before {script.revision}, or from there.",
                )
            found[name] = None
    return tuple(found)


def _asked(
    scripts: Sequence[Script], before: Catalog
) -> tuple[list[tuple[str, Operation]], list[tuple[str, Operation]]]:
    """What the scripts ask for, up and down, each with its revision."""
    catalogs, up, down = [before], [], []
    for script in scripts:
        op = record(script.load().upgrade, catalogs[-1], str(script.path))
        up += [(script.revision, operation) for operation in op.recorded]
        catalogs.append(op.catalog)
    catalog = catalogs[-1]
    for script in reversed(scripts):
        op = record(script.load().downgrade, catalog, str(script.path))
        down += [(script.revision, operation) for operation in op.recorded]
        catalog = op.catalog
    for revision, operation in up:
        if operation.kind == "irreversible":
            raise UsageError(
                f"The upgrade of {revision} says op.irreversible: no Redis can apply it.",
                "Correct the script.",
            )
    return up, down


def _refuse_functions(asked: Sequence[tuple[str, Operation]]) -> None:
    """Functions are code of their script: they can't be copied, and may count on what came before.

    Raises:
        UsageError: A revision runs one.
    """
    running = dict.fromkeys(revision for revision, item in asked if item.kind == "run")
    if running:
        named = ", ".join(running)
        raise UsageError(
            f"A script can't be squashed that runs functions: {named} calls op.run.",
            f"Squash the revisions before and after {next(iter(running))} apart.",
        )


def _why_one_by_one(there: Sequence[Asked]) -> tuple[str, ...]:
    twice = rewritten_twice(there)
    if twice is None:
        return ()
    one, other = (", ".join(each.revisions) for each in twice)
    told = (
        f"it applies the revisions one by one: {one} and {other} rewrite documents of the same index, which "
        "would not end the same by one rewrite"
    )
    return (told,)


def _notes(down: Sequence[tuple[str, Operation]]) -> tuple[str, ...]:
    return tuple(
        f"it can't be undone, since {revision} can't: {operation.reason}"
        for revision, operation in down
        if operation.kind == "irreversible"
    )


def _one_by_one(
    scripts: Iterable[Script], asked: Sequence[tuple[str, Operation]], catalog: Catalog
) -> dict[str, tuple[str, ...]]:
    """What each of the scripts asks for in one direction, as its own body of a function.

    Args:
        scripts: In the order of that direction.
        asked: What they ask for, each with its revision.
        catalog: The indexes as the first finds them.
    """
    found: dict[str, tuple[str, ...]] = {}
    for script in scripts:
        operations = [operation for revision, operation in asked if revision == script.revision]
        found[script.revision] = source_lines(operations, catalog)
        for operation in operations:
            catalog = operation.apply(catalog)
    return found


def _after(asked: Sequence[tuple[str, Operation]], catalog: Catalog) -> Catalog:
    for _, operation in asked:
        catalog = operation.apply(catalog)
    return catalog
