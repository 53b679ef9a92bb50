"""Writers who write faster than an index takes it: a run says so, and ends in order where it may not wait."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conftest import ENTRY_POINT
from document_writer import Writer
from test_follow import wait_until
from vector_documents import CHANGE, applied, documents

from redismigrate.redis_server.inspection import list_indexes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Shop

COUNT = 400
DIMS = 64
ASKED_PER_SECOND = 1000
# Whatever the machine is like, writers write more than that.
FEW_PER_SECOND = "--max-docs-per-second", "80"
TO_FLOAT16 = CHANGE + "index.alter_field('embedding', datatype='float16')"
TO_FLOAT32 = CHANGE + "index.alter_field('embedding', datatype='float32')"
REWRITES = {"rewrite": 100}


@pytest.fixture
def writer(shop: Shop, tmp_path: Path) -> Writer:
    """Of products, more of them than a run may convert."""
    shop.strategy = "shadow_field"
    writer = Writer(shop.url, str(tmp_path / "log"), DIMS, "float32", COUNT, ASKED_PER_SECOND, REWRITES)
    writer.fill()
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    fields = [{"name": "embedding", "type": "vector", "attrs": attributes}]
    schema = {"index": {"name": "products", "prefix": "p:"}, "fields": fields}
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return writer


@contextmanager
def upgrading(shop: Shop, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The upgrade as a process of its own."""
    with subprocess.Popen(
        [str(ENTRY_POINT), "--url", shop.url, "upgrade", *FEW_PER_SECOND, *options],
        cwd=shop.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def second_fields(shop: Shop) -> int:
    """In how many documents anything is but the vector and its number."""
    return sum(
        not fields.keys() <= {b"embedding", b"number", b"title"} for fields in documents(shop).values()
    )


def require_undone(shop: Shop) -> None:
    assert shop.state("run") is None
    assert list_indexes(shop.client.execute_command) == ("products",)
    assert second_fields(shop) == 0
    assert {len(fields[b"embedding"]) for fields in documents(shop).values()} == {4 * DIMS}


@pytest.mark.slow
def test_a_run_that_writers_are_ahead_of_ends_in_order(shop: Shop, writer: Writer) -> None:
    with writer.at_work():
        ended = shop.run("upgrade", *FEW_PER_SECOND, "--max-wait", "2", "--json")

    assert ended.code == 1, ended
    message = ended.json["error"]["message"] + ended.json["error"]["hint"]
    assert "riters of products are ahead" in message
    assert re.search(r"[1-9][\d,]* keys wait, [1-9][\d,]* a second are written and [\d,]+ converted", message)
    assert "the run may wait 2 s" in message
    assert "--max-wait" in message
    require_undone(shop)


@pytest.mark.slow
def test_status_says_that_writers_are_ahead_and_sets_how_long_the_run_waits(
    shop: Shop, writer: Writer
) -> None:
    with writer.at_work(), upgrading(shop) as process:
        wait_until(lambda: "keys wait" in shop.run("status").out or process.poll() is not None)
        pace = shop.run("status", "--json").json["run"]["pace"]
        assert "writers of products are ahead" in pace["writers"]
        assert shop.run("status", "--set", "max-wait=3").code == 0
        told, _ = process.communicate(timeout=120)

    assert process.returncode == 1, told
    assert "the run may wait 3 s" in told
    require_undone(shop)


@pytest.mark.slow
def test_a_contraction_that_writers_are_ahead_of_leaves_the_revision_expanded(
    shop: Shop, writer: Writer
) -> None:
    applied(shop, "--phase", "expand")
    with writer.at_work():
        ended = shop.run("upgrade", "--phase", "contract", *FEW_PER_SECOND, "--max-wait", "2", "--json")

    assert ended.code == 7, ended
    assert "riters of products are ahead" in ended.json["error"]["message"]
    assert shop.run("current", "--json").json["expanded"] == "000000000002"
    assert shop.run("status", "--set", "max-wait=off", "--set", "max-docs-per-second=off").code == 0
    applied(shop, "--phase", "contract")
    assert second_fields(shop) == 0
    assert {len(fields[b"embedding"]) for fields in documents(shop).values()} == {2 * DIMS}


@pytest.mark.slow
def test_without_a_limit_it_is_told_again_and_again(shop: Shop, writer: Writer) -> None:
    with writer.at_work(), upgrading(shop) as process:
        seconds: list[int] = []
        assert process.stdout is not None
        while len(seconds) < 2:
            line = process.stdout.readline()
            assert line, seconds
            seconds += map(int, re.findall(r"keys wait.* for (\d+) s now; pause writers", line))
        process.kill()

    assert 30 <= seconds[0] < 60 <= seconds[1]
