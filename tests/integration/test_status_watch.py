"""`status --watch` follows a run from another process, from wherever it is to its end."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess

import pytest
from conftest import ENTRY_POINT, Shop
from patience import wait_until
from vector_documents import TO_FLOAT16, TO_FLOAT32, add_products, creation

from redismigrate import commands
from redismigrate.commands import Project
from redismigrate.state import lock

COUNT = 600
UPGRADE = ("upgrade", "--strategy", "rebuild")
SLOWLY = ("--max-docs-per-second", "300")
# Not done before another process has looked at it, however slow the machine.
VERY_SLOWLY = ("--max-docs-per-second", "10")


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Products in an index, and a revision that gives all of them another vector."""
    add_products(shop, COUNT)
    shop.write(creation(), "op.drop_index('products')")
    assert shop.run("upgrade").code == 0
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


def begin(shop: Shop, *arguments: str) -> subprocess.Popen[str]:
    """An upgrade in a process of its own, which is at work on documents."""
    process = shop.process(*UPGRADE, *(arguments or SLOWLY))
    wait_until(lambda: (shop.state("progress") or {}).get("progress"))
    return process


def run_id(shop: Shop) -> str:
    return str((shop.state("run") or {})["id"])


def test_without_a_run_it_says_so(products: Shop):
    result = products.run("status", "--watch")
    assert (result.code, result.out) == (0, "No run is under way.\n")


def test_it_follows_a_run_to_its_end_with_a_line_for_each_change(products: Shop):
    with begin(products) as process:
        run = run_id(products)
        result = products.run("status", "--watch")
        assert process.wait(120) == 0
    assert result.code == 0
    first, *others, last = result.out.splitlines()
    assert re.match(r"step 2 of \d+: back up the documents of products .*, [\d,]+ of 600 documents, ", first)
    assert "documents/s" in first
    assert any(": re-encode embedding from FLOAT32 to FLOAT16" in line for line in others)
    assert last == f"Run {run}, upgrade to head: done."


def test_what_holds_a_run_up_is_told_when_it_changes(products: Shop):
    with begin(products) as process, products.process("status", "--watch") as watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        assert products.run("status", "--pause").code == 0
        assert watching.stdout.readline().endswith("; paused\n")
        assert products.run("status", "--resume", "--set", "max-docs-per-second=off").code == 0
        out, _ = watching.communicate(timeout=120)
        assert process.wait(120) == 0
    assert "paused" not in out
    assert out.endswith(": done.\n")


def test_a_run_that_fails_is_told_with_the_reason(products: Shop):
    products.client.hset("p:7", "embedding", b"short")
    with begin(products) as process:
        result = products.run("status", "--watch")
        assert process.wait(120) == 1
    assert result.code == 0
    assert result.out.splitlines()[-1].split(": ", 1)[1].startswith("failed.")


def test_a_run_whose_process_is_killed_is_interrupted(products: Shop):
    with begin(products) as process:
        run = run_id(products)
        process.kill()
        process.wait(120)
        result = products.run("status", "--watch")
    assert result.code == 0
    assert result.out.splitlines()[-1] == (
        f"Run {run}, upgrade to head: interrupted. Resume it with `redismigrate upgrade head`, or undo all "
        "of it with `redismigrate rollback`."
    )


def test_a_run_whose_machine_is_lost_is_interrupted_when_its_lease_is_over(
    products: Shop, monkeypatch: pytest.MonkeyPatch
):
    with begin(products) as process:
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(lock, "LEASE_SECONDS", 0.1)
        products.client.pexpire("{redismigrate:shop}:lock", 300)
        moments = list(commands.watch(Project.load(products.folder / "redismigrate.toml"), 0.1))
        process.kill()
    assert [watched.outcome for watched in moments[:-1]] == [None] * (len(moments) - 1)
    assert moments[-1].outcome == "interrupted"
    assert len(moments) >= 3


@pytest.mark.slow
def test_a_run_that_is_rolled_back_is_told_so(products: Shop):
    with begin(products) as process:
        # By then the index is gone, which has to be undone.
        wait_until(lambda: (products.state("progress") or {}).get("position", 0) >= 3)
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    run = run_id(products)
    assert products.run("status", "--set", "paused=on").code == 0
    with products.process("rollback") as rolling_back:
        wait_until(lambda: (products.state("run") or {}).get("rolls_back"))
        with products.process("status", "--watch") as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline().startswith("undoing, step 1 of ")
            assert products.run("status", "--resume").code == 0
            out, _ = watching.communicate(timeout=120)
        assert rolling_back.wait(120) == 0
    assert out.endswith(f"Run {run}, upgrade to head: rolled back.\n")


def test_on_a_terminal_it_is_a_table_that_is_gone_at_the_end(products: Shop):
    leader, follower = pty.openpty()
    with (
        begin(products, *VERY_SLOWLY) as process,
        subprocess.Popen(
            [ENTRY_POINT, "status", "--watch"],
            cwd=products.folder,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
            stdin=subprocess.DEVNULL,
            stdout=follower,
            stderr=follower,
        ) as watching,
    ):
        os.close(follower)
        shown = b""
        # Of these the latter takes some round trips.
        while b"of 600 documents" not in shown or b"round trip" not in shown:
            shown += os.read(leader, 65536)
        assert products.run("status", "--set", "max-docs-per-second=off").code == 0
        while True:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # what a terminal says when nobody writes to it any more
                break
        assert (watching.wait(120), process.wait(120)) == (0, 0)
    os.close(leader)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    for row in ("revision", "step", "documents", "rate", "round trip", "limits", "last sign"):
        assert re.search(rf"^{row} ", text, re.MULTILINE), row
    assert "max-docs-per-second 10" in text
    assert text.rstrip().endswith(": done.")
