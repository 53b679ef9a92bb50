"""`on_progress` gets every event of a run with its numbers; what it raises leaves a run that can go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from vector_documents import applied, documents, stock, stock_to_re_encode

from redismigrate import commands
from redismigrate.commands import MigrationOptions, Progress, Project
from redismigrate.errors import CallbackFailed, PlanBlocked, RunInterrupted
from redismigrate.execution.progress import Watcher
from redismigrate.execution.steps import document_work, runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop

PRODUCTS = 400


@pytest.fixture
def project(shop: Shop) -> Project:
    """One revision to apply, over documents that are re-encoded."""
    stock_to_re_encode(shop, PRODUCTS)
    return Project.load(shop.folder / "redismigrate.toml")


def test_every_event_says_where_the_run_is(project: Project, monkeypatch: pytest.MonkeyPatch):
    for module in (runner, document_work):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.0)
    events: list[Progress] = []
    result = commands.upgrade(project, options=MigrationOptions(batch_size=50), on_progress=events.append)
    assert (events[0].kind, events[-1].kind) == ("revision", "finished")
    assert {event.run for event in events} == {result.run}
    assert {event.revision for event in events} == set(result.revisions)
    steps = [event.step for event in events if event.kind == "step"]
    assert steps[-1] is not None
    assert {"copy_documents", "create_index", "wait_for_index", "validate_index"} <= set(steps)
    counted = [event for event in events if event.kind == "documents"]
    assert {event.index for event in counted} == {"products"}
    copied = [event.done for event in counted if event.step == "copy_documents"]
    assert copied == sorted(copied)
    assert (copied[-1], counted[0].total) == (PRODUCTS, PRODUCTS)
    assert any(event.documents_per_second for event in counted)
    assert any(event.seconds_left is not None for event in counted)
    assert f"{PRODUCTS:,} of {PRODUCTS:,} documents" in "\n".join(map(str, counted))


def test_a_watcher_and_a_callback_are_both_told(project: Project):
    class Steps(Watcher):
        def __init__(self) -> None:
            self.descriptions: list[str] = []

        def step_started(self, step) -> None:
            self.descriptions.append(step.description)

    watcher, events = Steps(), []
    commands.upgrade(project, watcher=watcher, on_progress=events.append)
    assert watcher.descriptions == [event.message for event in events if event.kind == "step"]


def raising(error: Exception, at: Callable[[Progress], bool]) -> Callable[[Progress], None]:
    def on_progress(event: Progress) -> None:
        if at(event):
            raise error

    return on_progress


@pytest.mark.parametrize(
    ("error", "kind", "step"),
    [
        (ValueError("no such bar"), "revision", None),
        (PlanBlocked("said by the callback"), "step", "copy_documents"),
        (ValueError("no such bar"), "finished", None),
    ],
)
def test_what_a_callback_raises_leaves_a_run_that_goes_on(
    shop: Shop, project: Project, error: Exception, kind: str, step: str | None
):
    def at(event: Progress) -> bool:
        return event.kind == kind and (step is None or event.step == step)

    with pytest.raises(RunInterrupted) as caught:
        commands.upgrade(project, on_progress=raising(error, at))
    assert f"on_progress raised {type(error).__name__}: {error}" in caught.value.message
    assert "Run the same command again to resume" in caught.value.hint
    assert isinstance(caught.value.__cause__, CallbackFailed)
    assert shop.client.get("{redismigrate:shop}:lock") is None
    applied(shop)
    assert shop.run("check").code == 0
    assert {len(fields[b"embedding"]) for fields in documents(shop).values()} == {16}


def test_what_it_raises_when_the_run_is_over_asks_for_no_resuming(shop: Shop):
    """The record of the last step has ended the run; nothing is there to be taken up."""
    stock(shop, 10)
    shop.write("op.create_alias('catalog', 'products')", "op.drop_alias('catalog')")
    project = Project.load(shop.folder / "redismigrate.toml")
    with pytest.raises(RunInterrupted) as caught:
        commands.upgrade(
            project,
            on_progress=raising(
                ValueError("x"), lambda event: event.revision == "000000000002" and event.kind == "finished"
            ),
        )
    run = caught.value.run
    assert caught.value.hint == (
        f"Nothing is left to be done of the run; `redismigrate rollback --run {run}` undoes it."
    )
    assert shop.run("check").code == 0
    assert shop.run("rollback", "--run", str(run)).code == 0


def test_what_it_raises_while_a_revision_is_undone_leaves_it_to_be_undone(shop: Shop, project: Project):
    before = documents(shop)
    shop.write("op.run(lambda client: 1 / 0)")
    with pytest.raises(RunInterrupted) as caught:
        commands.upgrade(project, on_progress=raising(ValueError("x"), lambda event: event.kind == "undo"))
    assert caught.value.revisions == ("000000000002",)
    assert shop.run("upgrade").code == 1
    assert shop.run("downgrade", "-1").code == 0
    assert documents(shop) == before


def test_before_there_is_a_run_it_is_an_error_of_its_own(shop: Shop, project: Project):
    commands.upgrade(project)
    with pytest.raises(CallbackFailed, match="on_progress raised ZeroDivisionError"):
        commands.plan(project, "-1", "downgrade", on_progress=lambda _: 1 / 0)
    assert shop.run("downgrade", "-1").code == 0


def test_a_rollback_tells_what_it_undoes(shop: Shop, project: Project):
    run = commands.upgrade(project).run
    events: list[Progress] = []
    commands.rollback(project, run=run, on_progress=events.append)
    assert [event.revision for event in events if event.kind == "undo"] == ["000000000002"]
    assert {len(fields[b"embedding"]) for fields in documents(shop).values()} == {32}
