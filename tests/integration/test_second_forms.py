"""Vectors re-encoded and documents moved with search up and writers at work."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import ENTRY_POINT
from patience import wait_until
from search_hammer import hammered
from vector_documents import (
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    applied,
    converted,
    documents,
    stock,
    vector,
)

from redismigrate.redis_server.inspection import list_indexes

if TYPE_CHECKING:
    from conftest import Shop

PRODUCTS = 1000


def steps(shop: Shop) -> list[str]:
    """The kinds of steps of the one revision that is to be applied."""
    (revision,) = shop.run("plan", "--json").json["revisions"]
    return [step["kind"] for step in revision["steps"]]


def test_vectors_are_re_encoded_with_search_up_and_are_at_the_declared_path_at_the_end(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    before = documents(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    assert "copy_documents" in steps(shop)
    assert applied(shop)["failed_count"] == 0
    assert documents(shop) == {
        key: fields | {b"embedding": converted(fields[b"embedding"], "float32", "float16")}
        for key, fields in before.items()
    }
    assert len(list_indexes(shop.client.execute_command)) == 1
    assert shop.run("status", "--json").json["problems"] == []
    applied(shop, "000000000001", verb="downgrade")
    assert documents(shop) == before
    applied(shop)
    applied(shop, "000000000001", verb="downgrade")
    assert documents(shop) == before


@pytest.mark.slow_beyond(2)
def test_no_query_fails_or_is_cut_short_under_the_name_that_is_right_for_its_form(shop: Shop) -> None:
    """The old form under the served name until that moves, the new one under the physical name to the end."""
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    with hammered(shop.url, "products", PRODUCTS, vector(7)) as old:
        assert shop.run("upgrade", "--phase", "expand").code == 0
        physical = shop.run("current", "--json").json["indexes"]["products"]["expanded"]["physical"]
    with hammered(shop.url, physical, PRODUCTS, vector(7, "float16")) as new:
        result = shop.run("upgrade", "--phase", "contract", "--json")
        assert result.code == 0, result.err
    with hammered(shop.url, "products", PRODUCTS, vector(7, "float16")) as served:
        assert shop.run("status").code == 0
    for counts in (*old, *new, *served):
        assert counts["asked"] > 0
        assert (counts["failed"], counts["short"]) == (0, 0), counts


def test_documents_move_to_another_prefix_with_search_up(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    before = documents(shop)
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX)
    assert "copy_documents" in steps(shop)
    with hammered(shop.url, "products", PRODUCTS, vector(7)) as counts:
        applied(shop)
    assert all((count["failed"], count["short"]) == (0, 0) for count in counts), counts
    assert documents(shop) == {key.replace(b"p:", b"q:"): fields for key, fields in before.items()}
    applied(shop, "000000000001", verb="downgrade")
    assert documents(shop) == before
    assert len(list_indexes(shop.client.execute_command)) == 1


def test_rollback_between_the_phases_leaves_nothing_behind(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    before = documents(shop)
    for change, back in ((TO_FLOAT16, TO_FLOAT32), (TO_NEW_PREFIX, TO_OLD_PREFIX)):
        name = shop.write(change, back, down_revision="000000000001")
        assert shop.run("upgrade", name, "--phase", "expand").code == 0
        assert documents(shop) != before
        assert shop.run("rollback").code == 0
        assert documents(shop) == before
        assert list_indexes(shop.client.execute_command) == ("products",)
        assert all(b":mark:" not in key for key in shop.client.scan_iter(count=10_000))
        shop.script(name).unlink()


def test_what_could_be_copied_is_removed_when_a_document_could_not(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.client.hset("q:999", "title", "somebody else's")
    before = documents(shop)
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX)
    result = shop.run("upgrade")
    assert result.code == 1
    assert "p:999: a key q:999 exists already, and was not made by this migration" in result.err
    assert documents(shop) == before
    assert all(b":mark:" not in key for key in shop.client.scan_iter(count=10_000))


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("change", [TO_FLOAT16, TO_NEW_PREFIX])
def test_rollback_of_a_run_that_died_half_way_through_the_documents_leaves_nothing_behind(
    shop: Shop, change: str
) -> None:
    stock(shop, PRODUCTS)
    before = documents(shop)
    shop.write(change)
    command = [ENTRY_POINT, "--url", shop.url, "upgrade", "--max-docs-per-second", "500"]
    with subprocess.Popen(command, cwd=shop.folder, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: documents(shop) != before, seconds=60)
        finally:
            process.kill()
    assert shop.run("rollback").code == 0
    assert documents(shop) == before
    assert list_indexes(shop.client.execute_command) == ("products",)
    assert all(b":mark:" not in key for key in shop.client.scan_iter(count=10_000))


def test_rollback_of_a_finished_run_brings_documents_back(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    before = documents(shop)
    for change, back in ((TO_FLOAT16, TO_FLOAT32), (TO_NEW_PREFIX, TO_OLD_PREFIX)):
        name = shop.write(change, back, down_revision="000000000001")
        run = shop.run("upgrade", name, "--json").json["run"]
        result = shop.run("rollback", "--run", run)
        assert result.code == 0, result.err
        assert documents(shop) == before
        assert len(list_indexes(shop.client.execute_command)) == 1
        assert shop.hits("products") == PRODUCTS
        assert shop.run("status", "--json").json["problems"] == []
        shop.script(name).unlink()
