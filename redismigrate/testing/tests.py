"""The built-in tests: what every history should be able to do, said clearly where it is not.

`--test-redismigrate` runs them. They can also be imported into a test module, all or some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from redismigrate import commands
from redismigrate.commands.authoring.declared import declares_schemas
from redismigrate.commands.recording import record_upgrades
from redismigrate.errors import PlanBlocked, RedisMigrateError, RunFailed
from redismigrate.foreign_text import readable, readable_lines
from redismigrate.operations.operation_types import Irreversible
from redismigrate.operations.script_calls import record
from redismigrate.schema.definition import Catalog
from redismigrate.testing.history_runner import MigrationRunner
from redismigrate.testing.interruption import upgrade_interrupted
from redismigrate.testing.snapshot import Snapshot


def test_single_head(redismigrate_runner: MigrationRunner) -> None:
    """The history has one head: `upgrade head` is clear, and branches are merged."""
    with _plainly("The history can't be read"):
        heads = redismigrate_runner.heads
    if len(heads) > 1:
        names = ", ".join(redismigrate_runner.name(head) for head in heads)
        pytest.fail(
            f"The history has {len(heads)} heads: {names}.\n"
            f"Join them with `redismigrate merge {' '.join(heads)} -m MESSAGE`.",
            pytrace=False,
        )


def test_scripts_replay(redismigrate_runner: MigrationRunner) -> None:
    """Every script can be imported and recorded without a server, and asks for the same each time."""
    project = redismigrate_runner.project
    catalog = Catalog()
    with _plainly("The history can't be read"):
        history = project.history
    for revision in history:
        name = redismigrate_runner.name(revision)
        with _plainly(f"Revision {name} can't be replayed without a server"):
            first, second = (record_upgrades(history, (revision,), catalog, None) for _ in range(2))
            if first[0].operations != second[0].operations:
                raise AssertionError("its upgrade asks for something else each time it is called")
            catalog = first[0].apply(catalog)
            script = history[revision]
            record(script.load().downgrade, catalog, str(script.path))


def test_upgrade(redismigrate_runner: MigrationRunner) -> None:
    """The whole history can be applied to an empty server, and its indexes are as recorded."""
    for _ in _up(redismigrate_runner):
        pass
    with _plainly("After the upgrade"):
        problems = commands.status(redismigrate_runner.project).problems
    if problems:
        pytest.fail(
            _lines("The indexes differ from what is recorded after the upgrade", problems), pytrace=False
        )


def test_up_down_consistency(redismigrate_runner: MigrationRunner) -> None:
    """Each downgrade leads back to what was before, and the next upgrade to what was after."""
    after = _up_with_snapshots(redismigrate_runner)
    undone = _down(redismigrate_runner, after)
    for revision in reversed(undone):
        name = redismigrate_runner.name(revision)
        with _plainly(f"The second upgrade to {name} fails"):
            redismigrate_runner.migrate_up_to(revision)
        with _plainly():
            redismigrate_runner.require_equal(
                after[revision], f"The second upgrade to {name} does not lead where the first one did"
            )


def test_downgrade_leaves_no_trace(redismigrate_runner: MigrationRunner) -> None:
    """After a downgrade to the base there is no index, no alias, no record of them, no key but documents."""
    runner = redismigrate_runner
    aliases: set[str] = set()
    for _ in _up(runner):
        aliases.update(runner.served_names)
    for revision in reversed(runner.history):
        _down_one(runner, revision)
    found = runner.traces(aliases)
    if found:
        pytest.fail(_lines("A downgrade to the base leaves something behind", found), pytrace=False)


def test_declared_schemas_match_head(redismigrate_runner: MigrationRunner) -> None:
    """The history leads to the schemas that the application declares; skipped where it declares none."""
    with _plainly("The declared schemas can't be read"):
        if not declares_schemas(redismigrate_runner.project):
            pytest.skip("The project declares no schemas: see the setting `schemas`.")
    for _ in _up(redismigrate_runner):
        pass
    with _plainly("The declared schemas can't be compared"):
        report = commands.check(redismigrate_runner.project)
    found = tuple(
        f"{finding.index}: {finding.message}" for finding in report.findings if finding.between == "declared"
    )
    if found:
        message = _lines("The declared schemas differ from what the history leads to", found)
        pytest.fail(
            f"{message}\nWrite the revision: `redismigrate revision --autogenerate -m MESSAGE`.",
            pytrace=False,
        )


def test_rerun_is_no_op(redismigrate_runner: MigrationRunner) -> None:
    """An upgrade of a server that is up to date does nothing."""
    for _ in _up(redismigrate_runner):
        pass
    before = redismigrate_runner.snapshot()
    # As the next deploy does: with the scripts read once more.
    again = redismigrate_runner.project.read_anew()
    with _plainly("The second upgrade fails"):
        result = commands.upgrade(again, "heads", redismigrate_runner.options)
    if result.result != "nothing":
        pytest.fail(f"The second upgrade applied {', '.join(result.revisions)} once more.", pytrace=False)
    with _plainly():
        redismigrate_runner.require_equal(before, "The second upgrade changed something")


def test_interrupted_upgrade_resumes(redismigrate_runner: MigrationRunner) -> None:
    """An upgrade that is interrupted at every step, and resumed, ends as one that is not."""
    runner = redismigrate_runner
    uninterrupted = _up_with_snapshots(runner)
    with _plainly("The server can't be cleaned"):
        runner.reset()
    for revision in runner.history:
        name = runner.name(revision)
        with _plainly(f"The upgrade to {name} fails where it is interrupted and resumed"):
            upgrade_interrupted(runner.project, revision, runner.options)
            runner.insert_sample_documents()
        with _plainly():
            runner.require_equal(
                uninterrupted[revision],
                f"The upgrade to {name} ends differently where it is interrupted at every step and resumed",
            )


def _up(runner: MigrationRunner) -> Iterator[str]:
    """Apply each revision, with samples as soon as their index exists."""
    with _plainly("The history can't be read"):
        history = runner.history
    for revision in history:
        with _plainly(f"The upgrade to {runner.name(revision)} fails"):
            runner.migrate_up_to(revision)
            runner.insert_sample_documents()
        yield revision
    if runner.samples_left:
        pytest.fail(
            f"redismigrate_documents has documents of {', '.join(runner.samples_left)}, but no revision "
            "creates an index of that name, so nothing tests them.",
            pytrace=False,
        )


def _up_with_snapshots(runner: MigrationRunner) -> dict[str, Snapshot]:
    """Apply each revision: the server after it, by revision, the empty one first."""
    taken = {"base": runner.snapshot()}
    taken.update((revision, runner.snapshot()) for revision in _up(runner))
    return taken


def _down(runner: MigrationRunner, after: dict[str, Snapshot]) -> list[str]:
    """Undo each revision and compare with the one before it: those that were, newest first.

    A revision that says that it is irreversible ends the way.
    """
    way, undone = list(after), []
    while len(way) > 1:
        revision = way.pop()
        try:
            _down_one(runner, revision)
        except pytest.skip.Exception:
            break
        undone.append(revision)
        with _plainly():
            runner.require_equal(
                after[way[-1]], f"The downgrade of {runner.name(revision)} does not lead back"
            )
    return undone


def _down_one(runner: MigrationRunner, revision: str) -> None:
    """Undo the last revision; skip the test where that is said to be impossible."""
    with _plainly(f"The downgrade of {runner.name(revision)} fails"):
        try:
            runner.migrate_down_one()
        except PlanBlocked:
            plan = commands.plan(runner.project, f"{revision}@-1", "downgrade", runner.options)
            for item in plan.revisions:
                for operation in item.recorded.operations:
                    if isinstance(operation, Irreversible):
                        pytest.skip(f"{runner.name(revision)} is irreversible: {readable(operation.reason)}")
            raise


def _lines(message: str, details: tuple[str, ...]) -> str:
    return f"{readable(message)}:" + "".join(f"\n  {readable(detail)}" for detail in details)


@contextmanager
def _plainly(what: str = "") -> Iterator[None]:
    """Fail with the words of an error alone: where in this package it was raised helps nobody."""
    try:
        yield
    except (AssertionError, RedisMigrateError) as error:
        message = f"{what}: {error}" if what else str(error)
        if isinstance(error, PlanBlocked | RunFailed) and "--" in error.message:
            # It speaks of the command line.
            message += (
                "\nOptions of the tests come from the fixture redismigrate_options: "
                "MigrationOptions(exclusive=True, allow_lossy=True), for example."
            )
        raise pytest.fail.Exception(readable_lines(message), pytrace=False) from None
