"""What a script holds that a schema patch of RedisVL asks for, of one index or of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from redismigrate.commands.authoring.chosen_indexes import ChosenIndexes, choose_indexes, is_pattern
from redismigrate.commands.authoring.known_history import replay_or_record
from redismigrate.commands.authoring.rename_questions import Renames
from redismigrate.commands.authoring.script_content import ScriptContent, content_of
from redismigrate.commands.project import Project
from redismigrate.errors import SchemaError, UsageError
from redismigrate.foreign_text import readable, shell_command
from redismigrate.operations.differing import Rename, rename_candidates
from redismigrate.operations.operation_types import ChangeIndex
from redismigrate.operations.redisvl_patch import SchemaPatch, changes_of_patch, read_schema_patch
from redismigrate.schema.definition import Catalog

_MOST_SHOWN = 20


def from_schema_patch(
    project: Project, file: Path, index: str | Iterable[str], *, skip_inapplicable: bool = False
) -> ScriptContent:
    """What a schema patch of RedisVL asks for.

    Args:
        project: The project.
        file: The patch.
        index: The index to change, or several; patterns stand for indexes of the history and for those of the
            server that nobody manages. One that no revision creates is read from the server.
        skip_inapplicable: Leave out indexes to which the patch does not apply; they are in `skipped`.

    Raises:
        SchemaError: The file is no patch, or it does not fit an index; says of each why.
        UsageError: There is no such index, or one name is to be that of several.
    """
    patch = read_schema_patch(file)
    given = (index,) if isinstance(index, str) else tuple(dict.fromkeys(index))
    told: list[str] = []
    catalog = replay_or_record(project, told)
    is_one = len(given) == 1 and not is_pattern(given[0])
    chosen = ChosenIndexes(given) if is_one else choose_indexes(project, given, catalog)
    live = [name for name in chosen.names if name not in catalog]
    catalog = _with_live(project, live, catalog)
    applied = _Applied(patch, catalog)
    for name in chosen.names:
        try:
            applied.add(name)
        except SchemaError as error:
            if is_one:
                raise
            applied.skipped[name] = error.message.removesuffix(".")
    if applied.skipped and (not skip_inapplicable or len(applied.skipped) == len(chosen.names)):
        raise _inapplicable(file, chosen.names, applied.skipped)
    content = applied.content()
    notes = [*told, *chosen.notes, *content.notes, *_left_out(applied)]
    if not is_one:
        notes += _not_replayed([name for name in live if name in applied.changes])
    return replace(
        content, notes=tuple(notes), unchanged=tuple(applied.unchanged), skipped=dict(applied.skipped)
    )


class _Applied:
    """What a patch makes of one index after the other.

    Attributes:
        changes: The operation of each that it changes.
        unchanged: Those that are already like that.
        skipped: Those that can't be changed like that, and why.

    Args:
        patch: The patch.
        catalog: The indexes as they are.
    """

    def __init__(self, patch: SchemaPatch, catalog: Catalog) -> None:
        self.changes: dict[str, ChangeIndex] = {}
        self.unchanged: list[str] = []
        self.skipped: dict[str, str] = {}
        self._patch = patch
        self._catalog = catalog
        self._renames: list[Rename] = []

    def add(self, name: str) -> None:
        """Apply it to an index; SchemaError where it does not fit."""
        before = self._catalog[name].schema
        changes = changes_of_patch(self._patch, before)
        if not changes:
            self.unchanged.append(name)
            return
        operation = ChangeIndex(name, changes)
        content_of((operation,), self._catalog)  # what can't be done, or not be written
        after = operation.apply(self._catalog)[operation.name_after].schema
        if operation.name_after != name:
            self._refuse_second(operation)
        self.changes[name] = operation
        self._renames += rename_candidates(before, after.renamed(name))

    def content(self) -> ScriptContent:
        """The script with all changes."""
        return content_of(
            tuple(self.changes.values()),
            self._catalog,
            Renames(open_fields=tuple(self._renames)),
            say_rename="with that under rename_fields of the patch",
        )

    def _refuse_second(self, operation: ChangeIndex) -> None:
        first = next(
            (name for name, other in self.changes.items() if other.name_after == operation.name_after), None
        )
        if first is not None:
            raise UsageError(
                f"The patch gives {first} and {operation.name} one name, {operation.name_after}.",
                "Take the name out of the patch, or name one index.",
            )


def _with_live(project: Project, names: Sequence[str], catalog: Catalog) -> Catalog:
    """The catalog with indexes that no revision creates, as they are on the server."""
    if not names:
        return catalog
    from redismigrate.commands.authoring.unmanaged import catalog_with_live, refuse_further_name

    for name in names:
        refuse_further_name(catalog, name)
    with project.connect() as server:
        for name in names:
            catalog = catalog_with_live(project, server, name, catalog)
    return catalog


def _inapplicable(file: Path, names: tuple[str, ...], skipped: Mapping[str, str]) -> SchemaError:
    shown = [f"  {readable(name)}: {readable(reason)}" for name, reason in skipped.items()]
    more = [f"  and {len(shown) - _MOST_SHOWN:,} more"] if len(shown) > _MOST_SHOWN else []
    applies = len(names) - len(skipped)
    return SchemaError(
        "\n".join(
            [
                f"{file} does not apply to {len(skipped):,} of {len(names):,} indexes:",
                *shown[:_MOST_SHOWN],
                *more,
            ]
        ),
        "Correct the patch, name other indexes, or leave these out with --skip-inapplicable."
        if applies
        else "Correct the patch, or name other indexes.",
    )


def _left_out(applied: _Applied) -> list[str]:
    """What is said of indexes that the script does not change, where it changes others."""
    notes = [f"{name} is left out: {reason}." for name, reason in applied.skipped.items()]
    if applied.changes:
        notes += [f"{name} is already as the patch wants it." for name in applied.unchanged]
    return notes


def _not_replayed(live: list[str]) -> list[str]:
    """What is said of indexes that the script takes as the server has them."""
    if not live:
        return []
    options = [word for name in live for word in ("--from-live", name)]
    command = shell_command("redismigrate", "revision", "-m", "baseline", *options)
    note = (
        f"Made by no revision, and taken as the server has it: {', '.join(live)}. An empty Redis can't be "
        f"brought up with that. Where it has to be, begin with `{command}` instead, and generate this again."
    )
    return [note]
