"""The coroutines of `redismigrate.aio` do what the functions do beside a loop, and can be cancelled."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from vector_documents import documents, stock_to_re_encode

from redismigrate import aio, commands
from redismigrate.commands import MigrationOptions, Progress, Project
from redismigrate.errors import CallbackFailed, RunFailed, RunInterrupted, UsageError
from redismigrate.redis_server.connection import connect
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop

    from redismigrate.planning.step_life import StepKind

PRODUCTS = 300
SMALL = MigrationOptions(batch_size=10)
SECONDS = 120


@pytest.fixture
def project(shop: Shop) -> Project:
    """One revision to apply, over documents that are re-encoded."""
    stock_to_re_encode(shop, PRODUCTS)
    return Project.load(shop.folder / "redismigrate.toml")


def lengths(shop: Shop) -> set[int]:
    return {len(fields[b"embedding"]) for fields in documents(shop).values()}


async def ticks(beside: asyncio.Task[Any]) -> int:
    """How often the loop came round until a task had ended."""
    count = 0
    while not beside.done():
        count += 1
        await asyncio.sleep(0.001)
    return count


def test_every_verb_is_a_coroutine_that_does_what_the_function_does(shop: Shop, project: Project):
    async def use() -> None:
        assert (await aio.plan(project)).digest == commands.plan(project).digest
        upgrading = asyncio.create_task(aio.upgrade(project))
        assert await ticks(upgrading) > 10
        done = await upgrading
        assert (done.result, done.revisions) == ("done", ("000000000002",))
        assert (await aio.upgrade(project)).result == "nothing"
        assert (await aio.current(project)).to_json() == commands.current(project).to_json()
        assert (await aio.check(project)).exit_code == 0
        assert (await aio.status(project)).heads == ("000000000002",)
        assert (await aio.follow(project)).why == "no revision is expanded"
        assert (await aio.rollback(project, run=done.run)).revisions == ("000000000002",)
        assert (await aio.downgrade(project, "base")).revisions == ("000000000001",)

    asyncio.run(use())
    assert lengths(shop) == {32}


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_events_come_in_their_order_in_the_loop(project: Project, is_coroutine: bool):
    events: list[Progress] = []

    def note(event: Progress) -> None:
        assert threading.current_thread() is threading.main_thread()
        events.append(event)

    async def note_slowly(event: Progress) -> None:
        await asyncio.sleep(0.001)
        note(event)

    planned = [step.description for item in commands.plan(project).revisions for step in item.steps]
    asyncio.run(aio.upgrade(project, on_progress=note_slowly if is_coroutine else note))
    assert [event.message for event in events if event.kind == "step"] == planned
    assert events[-1].kind == "finished"


def test_errors_are_those_of_the_function(shop: Shop, project: Project):
    async def use() -> None:
        with pytest.raises(UsageError):
            await aio.upgrade(project, "no such revision")
        shop.write("op.run(lambda client: 1 / 0)")
        again = Project.load(shop.folder / "redismigrate.toml")
        with pytest.raises(RunFailed, match="ZeroDivisionError"):
            await aio.upgrade(again)

    asyncio.run(use())


async def cancelled_at(
    project: Project, is_there: Callable[[Progress], bool], **options: Any
) -> BaseException:
    """Cancel an upgrade at an event; why the task says that it has ended."""
    there = asyncio.Event()

    def look(event: Progress) -> None:
        if is_there(event):
            there.set()

    task = asyncio.create_task(
        aio.upgrade(project, options=MigrationOptions(batch_size=10, **options), on_progress=look)
    )
    await asyncio.wait_for(there.wait(), SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
@pytest.mark.parametrize("ending", ["upgrade", "rollback"])
def test_a_cancelled_task_stops_in_the_middle_frees_the_lock_and_can_be_resumed(
    shop: Shop, project: Project, strategy: Any, ending: str
):
    writing: dict[str, StepKind] = {"auto": "copy_documents", "rebuild": "rewrite_documents"}
    # So slow that it is cancelled among its documents.
    cause = asyncio.run(
        cancelled_at(
            project,
            lambda event: event.step == writing[strategy],
            strategy=strategy,
            max_docs_per_second=300,
        )
    )
    assert isinstance(cause, RunInterrupted)
    assert "The task was cancelled." in cause.message
    assert shop.client.get("{redismigrate:shop}:lock") is None
    assert (shop.state("run") or {})["id"] == cause.run
    names = {thread.name for thread in threading.enumerate()}
    assert names & {"redismigrate-aio", "redismigrate-lock", "redismigrate-latency"} == set()
    assert shop.run("status", "--set", "max-docs-per-second=off").code == 0
    result = asyncio.run(aio.upgrade(project) if ending == "upgrade" else aio.rollback(project))
    assert result.run == cause.run
    assert lengths(shop) == ({16} if ending == "upgrade" else {32})
    assert shop.run("check").code == (0 if ending == "upgrade" else 4)


def test_a_paused_run_can_be_cancelled(shop: Shop, project: Project):
    def pause(event: Progress) -> bool:
        if event.step == "copy_documents":
            shop.run("status", "--pause")
        return event.message.startswith("the run is paused")

    cause = asyncio.run(cancelled_at(project, pause, max_docs_per_second=300))
    assert isinstance(cause, RunInterrupted)
    assert shop.run("status", "--resume").code == 0
    assert asyncio.run(aio.rollback(project)).run == cause.run


def test_who_waits_for_the_lock_can_be_cancelled(shop: Shop, project: Project):
    async def use() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aio.upgrade(project), 0.3)

    with connect(shop.url) as server, Lock(server, StateKeys("shop"), 0):
        asyncio.run(use())
    assert shop.state("run") is None


def test_a_second_cancellation_does_not_leave_the_work_alone(shop: Shop, project: Project):
    async def use() -> None:
        events: asyncio.Queue[Progress] = asyncio.Queue()
        options = MigrationOptions(batch_size=10, max_docs_per_second=300)
        task = asyncio.create_task(aio.upgrade(project, options=options, on_progress=events.put))
        while (await events.get()).step != "copy_documents":
            pass
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert shop.client.get("{redismigrate:shop}:lock") is None

    asyncio.run(use())
    assert shop.run("rollback").code == 0


def test_what_a_callback_raises_interrupts_the_run(shop: Shop, project: Project):
    async def fail(event: Progress) -> None:
        if event.step == "copy_documents":
            raise ValueError("no such bar")

    options = MigrationOptions(batch_size=10, max_docs_per_second=300)
    with pytest.raises(RunInterrupted, match=r"on_progress raised ValueError: no such bar") as caught:
        asyncio.run(aio.upgrade(project, options=options, on_progress=fail))
    assert isinstance(caught.value.__cause__, CallbackFailed)
    assert shop.run("rollback").code == 0


def test_what_it_raises_at_the_very_end_is_told_though_the_run_is_done(shop: Shop, project: Project):
    def fail(event: Progress) -> None:
        if event.kind == "finished":
            raise ValueError("no such bar")

    with pytest.raises(
        (CallbackFailed, RunInterrupted), match="on_progress raised ValueError: no such bar"
    ) as caught:
        asyncio.run(aio.upgrade(project, on_progress=fail))
    assert caught.value.run is not None
    assert caught.value.report is not None
    if isinstance(caught.value, CallbackFailed):
        assert "is done" in caught.value.hint
    shop.run("upgrade")
    assert lengths(shop) == {16}


def test_following_ends_when_it_is_cancelled(shop: Shop, project: Project):
    commands.upgrade(project, options=MigrationOptions(phase="expand"))

    async def use() -> None:
        told = asyncio.Event()
        following = asyncio.create_task(aio.follow(project, lambda _: told.set()))
        await asyncio.wait_for(told.wait(), SECONDS)
        shop.client.hset("p:new", mapping={"title": "new", "embedding": bytes(32)})
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        assert (await aio.status(project)).follower is None
        contracting = MigrationOptions(phase="contract")
        assert (await aio.upgrade(project, options=contracting)).revisions == ("000000000002",)

    asyncio.run(use())
    assert lengths(shop) == {16}


def test_two_projects_are_migrated_side_by_side(shop: Shop, project: Project):
    other = Project.load(shop.folder / "redismigrate.toml", {"project": "other"})
    (shop.folder / "redismigrate.toml").write_text(
        (shop.folder / "redismigrate.toml").read_text().replace("products", "pages")
    )

    async def use() -> list[Any]:
        return await asyncio.gather(aio.upgrade(project), aio.status(project), aio.current(other))

    upgraded, _, current = asyncio.run(use())
    assert upgraded.revisions == ("000000000002",)
    assert current.missing == ("000000000001", "000000000002")


PROGRAM = """
import asyncio
import signal
import subprocess
import sys
from redismigrate import aio
from redismigrate.commands import MigrationOptions, Project

def show(event):
    print(event.step, flush=True)

slowly = MigrationOptions(max_docs_per_second=300)
asyncio.run(aio.upgrade(Project.load(), options=slowly, on_progress=show))
"""


def test_ctrl_c_reaches_the_work_in_its_thread(shop: Shop, project: Project):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=shop.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line == "copy_documents\n" for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGINT
    assert "The task was cancelled." in told
    assert shop.client.get("{redismigrate:shop}:lock") is None
    assert asyncio.run(aio.rollback(project)).result == "done"
    assert lengths(shop) == {32}


def test_a_private_server_outlives_the_thread_that_has_started_it(shop: Shop, project: Project):
    own = Project.load(shop.folder / "redismigrate.toml", {"url": f"embedded://{shop.folder}/data"})

    async def use() -> None:
        assert len((await aio.upgrade(own)).revisions) == 2
        assert (await aio.current(own)).missing == ()

    asyncio.run(use())
