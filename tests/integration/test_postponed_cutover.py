"""A cutover waits until somebody says so, and what writers write meanwhile is in step all the time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from test_gentle import ended, pace_of, wait_until
from vector_documents import CHANGE, TO_FLOAT16, TO_FLOAT32, stock, vector

from redismigrate.redis_server.inspection import list_indexes, resolve_alias

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from conftest import Shop

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw')"
TO_FLAT = CHANGE + "index.alter_field('embedding', algorithm='flat')"


@contextmanager
def waiting(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """An upgrade in a process of its own, which has come to its cutover."""
    with shop.process("upgrade", "--postpone-cutover", "--json") as process:
        try:
            wait_until(lambda: pace_of(shop).get("is_cutover_postponed"))
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("change", "back"), [(TO_HNSW, TO_FLAT), (TO_FLOAT16, TO_FLOAT32)])
def test_a_postponed_cutover_comes_when_it_is_let_go(shop: Shop, change: str, back: str) -> None:
    stock(shop, 100)
    shop.write(change, back)
    with waiting(shop) as process:
        assert "postponed" in shop.run("status").out
        assert "products" in list_indexes(shop.client.execute_command)
        assert shop.run("status", "--set", "postpone-cutover=off").code == 0
        result = ended(process)
    assert result.code == 0, result.err
    assert resolve_alias(shop.client.execute_command, "products") is not None


def test_writes_are_followed_while_the_cutover_is_postponed(shop: Shop) -> None:
    stock(shop, 100)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    with waiting(shop) as process:
        shop.client.hset("p:late", mapping={"title": "a late shoe", "embedding": vector(60)})
        second = f"embedding__{'2'.zfill(12)}"
        wait_until(lambda: shop.client.hget("p:late", second) == vector(60, "float16"))
        assert shop.run("status", "--set", "postpone-cutover=off").code == 0
        assert ended(process).code == 0
    assert shop.client.hget("p:late", "embedding") == vector(60, "float16")


def test_a_run_killed_at_a_postponed_cutover_can_be_rolled_back(shop: Shop) -> None:
    stock(shop, 100)
    shop.write(TO_HNSW, TO_FLAT)
    with waiting(shop):
        pass
    assert shop.run("rollback").code == 0
    assert list_indexes(shop.client.execute_command) == ("products",)
