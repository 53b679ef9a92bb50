"""Many processes at once on one Redis, of one project and of several."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Shop
from long_chain import (
    REVISIONS,
    WAITING,
    add_products,
    outcome,
    recorded_events,
    rehearse,
    run,
    wait_until_at_work,
    write_failing_revision,
    write_long_chain,
)
from signalled_process import exit_code, start, start_command, wait_until_stopped

if TYPE_CHECKING:
    from pathlib import Path

    from signalled_process import Moment

PROCESSES = 8
# They all wait for the lock from the first moment on, on a machine that may be busy.
PATIENTLY = ("--lock-timeout", "150")
DOCUMENTS = 3000
NOTHING = "Nothing to do.\n"


def test_of_eight_upgrades_at_once_one_works_and_the_others_find_nothing_to_do(shop: Shop):
    write_long_chain(shop)
    add_products(shop, DOCUMENTS)
    results = _at_once(shop, [("upgrade", "head", *PATIENTLY)] * PROCESSES)
    assert [code for code, _, _ in results] == [0] * PROCESSES
    assert sorted(out.endswith(NOTHING) for _, out, _ in results) == [False] + [True] * (PROCESSES - 1)
    assert any("waiting for " in out for _, out, _ in results)
    assert recorded_events(shop, "upgrade") == list(REVISIONS)
    assert outcome(shop)["found"] == {"goods": DOCUMENTS}


def test_upgrades_and_downgrades_at_once_end_in_a_consistent_state(shop: Shop):
    ends = rehearse(shop)
    commands = [("upgrade", "head", *PATIENTLY), ("downgrade", "base", *PATIENTLY)] * (PROCESSES // 4)
    results = _at_once(shop, commands)
    assert [code for code, _, _ in results] == [0] * len(commands), [err for *_, err in results]
    left = outcome(shop)
    assert left in (ends.base, ends.head)
    up, down = recorded_events(shop, "upgrade"), recorded_events(shop, "downgrade")
    assert [up.count(revision) - down.count(revision) for revision in REVISIONS] == [
        int(revision in left["applied"]) for revision in REVISIONS
    ]


def test_upgrades_to_different_revisions_at_once_apply_each_revision_once(shop: Shop):
    ends = rehearse(shop)
    shop.client.delete("{redismigrate:shop}:journal")
    results = _at_once(shop, [("upgrade", revision, *PATIENTLY) for revision in REVISIONS])
    assert [code for code, _, _ in results] == [0] * len(REVISIONS)
    assert recorded_events(shop, "upgrade") == list(REVISIONS)
    assert outcome(shop) == ends.head


def test_readers_do_not_disturb_a_run_and_see_no_half_written_state(shop: Shop):
    ends = rehearse(shop)
    with shop.process("upgrade", "head") as process:
        while process.poll() is None:
            current = shop.run("--json", "current")
            assert current.code == 0, current.err
            applied = [record["revision"] for record in current.json["applied"]]
            assert applied == list(REVISIONS[: len(applied)])
            assert shop.run("status").code == 0
    assert process.returncode == 0
    assert outcome(shop) == ends.head


def test_two_projects_on_one_redis_do_not_hinder_each_other(shop: Shop, tmp_path: Path):
    write_long_chain(shop)
    other = _project(shop, tmp_path, "books")
    other.write(
        'op.create_index({"index": {"name": "books", "prefix": "p:"}, '
        '"fields": [{"name": "title", "type": "text"}]})',
        'op.drop_index("books")',
    )
    with shop.process("upgrade", "head") as first, other.process("upgrade", "head") as second:
        assert (first.wait(120), second.wait(120)) == (0, 0)
    assert shop.hits("books") == shop.hits("goods")
    assert _owners(shop) == {"books": "books", "goods": "shop"}
    run(shop, "downgrade", "base")
    assert _owners(shop) == {"books": "books"}
    assert other.run("--json", "current").json["heads"] == ["000000000001"]


def test_a_lock_of_one_project_does_not_keep_another_waiting(shop: Shop, tmp_path: Path):
    write_long_chain(shop)
    other = _project(shop, tmp_path, "books")
    other.write(
        'op.create_index({"index": {"name": "books", "prefix": "b:"}, '
        '"fields": [{"name": "title", "type": "text"}]})'
    )
    process = start(shop, "upgrade", "head", signalled=signal.SIGSTOP, at=3)
    wait_until_stopped(process)
    assert other.run("upgrade", "head", "--lock-timeout", "0").code == 0
    os.kill(process.pid or 0, signal.SIGCONT)
    assert exit_code(process) == 0


def test_an_index_that_two_projects_want_goes_to_the_first_one(shop: Shop, tmp_path: Path):
    other = _project(shop, tmp_path, "books")
    for project in (shop, other):
        project.write(
            'op.create_index({"index": {"name": "goods", "prefix": "p:"}, '
            '"fields": [{"name": "title", "type": "text"}]})'
        )
    run(shop, "upgrade", "head")
    before = shop.content()
    result = other.run("upgrade", "head")
    assert result.code == 6
    assert "index goods belongs to project shop" in result.err
    assert shop.content() == before


def test_an_index_that_another_project_claims_after_the_plan_was_made_is_refused(shop: Shop, tmp_path: Path):
    other = _project(shop, tmp_path, "books")
    for project in (shop, other):
        project.write(
            'op.create_index({"index": {"name": "early", "prefix": "p:"}, '
            '"fields": [{"name": "title", "type": "text"}]})'
            if project is other
            else "pass"
        )
        project.write(
            'op.create_index({"index": {"name": "goods", "prefix": "p:"}, '
            '"fields": [{"name": "title", "type": "text"}]})'
        )
    # Planned, and just about to claim the index.
    process = start(other, "upgrade", "head", signalled=signal.SIGSTOP, at=7)
    wait_until_stopped(process)
    run(shop, "upgrade", "head")
    os.kill(process.pid or 0, signal.SIGCONT)
    assert exit_code(process) == 6
    assert _owners(shop) == {"early": "books", "goods": "shop"}
    assert other.run("--json", "current").json["heads"] == ["000000000001"]
    assert other.run("--json", "status").json["run"] is None


@pytest.mark.slow_beyond(4)
@pytest.mark.parametrize(
    ("revision", "at", "moment"),
    [
        pytest.param(REVISIONS[0], 1, "step", id="claim"),
        pytest.param(REVISIONS[0], 2, "step", id="prove"),
        pytest.param(REVISIONS[0], 3, "step", id="create"),
        pytest.param(REVISIONS[0], 4, "step", id="wait"),
        pytest.param(REVISIONS[0], 5, "step", id="validate"),
        pytest.param(REVISIONS[1], 1, "step", id="alias"),
        pytest.param(REVISIONS[1], 3, "step", id="synonyms"),
        pytest.param(REVISIONS[2], 2, "step", id="alter"),
        pytest.param(REVISIONS[3], 2, "step", id="replace"),
        pytest.param(REVISIONS[4], 1, "step", id="function"),
        pytest.param(REVISIONS[4], 2, "step", id="record"),
        pytest.param(REVISIONS[5], 6, "step", id="release"),
        pytest.param(REVISIONS[6], 1, "step", id="drop"),
        pytest.param(REVISIONS[3], 1, "end of revision", id="next revision"),
        pytest.param("000000000008", 1, "undo step", id="undo"),
        pytest.param("000000000008", 2, "undo step", id="undo function"),
    ],
)
def test_a_process_that_was_stopped_writes_nothing_when_it_wakes_after_a_takeover(
    shop: Shop, revision: str, at: int, moment: Moment
):
    write_long_chain(shop)
    write_failing_revision(shop)
    below = f"{int(revision, 16) - 1:012x}"
    if int(below, 16):
        run(shop, "upgrade", below)
    process = start(shop, "upgrade", "head", signalled=signal.SIGSTOP, at=at, moment=moment)
    wait_until_stopped(process)
    run(shop, "unlock")
    assert shop.run("upgrade", "head").code == 1  # the run taken up goes on to the revision that fails
    # So that whatever the sleeper does again makes a difference.
    run(shop, "downgrade", REVISIONS[2])
    shop.client.set("counted", 1)
    before = _everything(shop)
    os.kill(process.pid or 0, signal.SIGCONT)
    assert exit_code(process) == 7
    assert _everything(shop) == before


@pytest.mark.slow_beyond(2)
def test_a_process_that_sleeps_past_its_lease_writes_nothing_when_it_wakes(shop: Shop):
    ends = rehearse(shop)
    process = start(shop, "upgrade", "head", signalled=signal.SIGSTOP, at=30, lease_seconds=0.5)
    wait_until_stopped(process)
    run(shop, "upgrade", "head", "--lock-timeout", "60")
    assert outcome(shop) == ends.head
    before = _everything(shop)
    os.kill(process.pid or 0, signal.SIGCONT)
    assert exit_code(process) == 7
    assert _everything(shop) == before


@pytest.mark.slow_beyond(2)
def test_a_process_that_sleeps_past_its_lease_goes_on_if_nobody_came(shop: Shop):
    ends = rehearse(shop)
    process = start(shop, "upgrade", "head", signalled=signal.SIGSTOP, at=30, lease_seconds=0.2)
    wait_until_stopped(process)
    while shop.client.exists("{redismigrate:shop}:lock"):
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGCONT)
    assert exit_code(process) == 0
    assert outcome(shop) == ends.head


@pytest.mark.slow
def test_the_command_stopped_for_longer_than_the_real_lease_writes_nothing_when_it_wakes(shop: Shop):
    write_long_chain(shop)
    shop.write("op.run(wait)", preamble=WAITING)
    shop.write("op.create_alias('newest', 'goods')")
    with shop.process("upgrade", "head") as process:
        wait_until_at_work(shop)
        process.send_signal(signal.SIGSTOP)
        shop.client.set("go on", 1)
        started = time.monotonic()
        run(shop, "upgrade", "head")
        assert time.monotonic() - started > 8
        before = _everything(shop)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 7
    assert "Another process has taken over the lock of this project; this one stops." in err
    assert _everything(shop) == before


def _at_once(shop: Shop, commands: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
    """Start commands at once; the exit code, standard output and error of each."""
    outputs = [shop.folder / f"{number}.out" for number in range(len(commands))]
    processes = [
        start_command(shop.folder, command, output) for command, output in zip(commands, outputs, strict=True)
    ]
    codes = [exit_code(process, 170) for process in processes]
    return [
        (code, output.read_text(), output.with_name(f"{output.name}.err").read_text())
        for code, output in zip(codes, outputs, strict=True)
    ]


def _project(shop: Shop, folder: Path, name: str) -> Shop:
    """Another project on the same Redis."""
    own = folder / name
    own.mkdir()
    other = Shop(own, shop.url, shop.client)
    run(other, "init", "migrations", "--url", shop.url)
    return other


def _owners(shop: Shop) -> dict[str, str]:
    return dict(json.loads(shop.client.get("{redismigrate}:owners") or b"{}"))


def _everything(shop: Shop) -> Any:
    """All of the Redis, the lock and the fencing token included."""
    return shop.content(), {
        name: shop.client.get(f"{{redismigrate:shop}}:{name}") for name in ("lock", "fence")
    }
