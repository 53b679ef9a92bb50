"""A new form of vectors goes to a path of its own and stays there, and the way back is exact."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from signalled_process import kill_at_every
from vector_documents import (
    CHANGE,
    Meanwhile,
    applied,
    converted,
    documents,
    kill_before,
    migrate,
    stock,
    vector,
)

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

UP = CHANGE + "index.alter_field('embedding', datatype='float16', path='short')"
DOWN = CHANGE + "index.alter_field('short', datatype='float32', path='embedding')"
CUT = CHANGE + "index.truncate('embedding', dims=4, path='short')"
PLAINLY_CUT = CHANGE + "index.truncate('embedding', dims=4, path='short', renormalize=False)"
GROW = CHANGE + "index.alter_field('short', dims=8, path='embedding', attribute='embedding')"
UNDER_ITS_NAME = CHANGE + (
    "index.alter_field('embedding', datatype='float16', path='short', attribute='embedding',"
    " algorithm='hnsw')"
)
BACK_UNDER_ITS_NAME = CHANGE + (
    "index.alter_field('embedding', datatype='float32', path='embedding', algorithm='flat')"
)
PRODUCTS = 40


def half(value: bytes) -> bytes:
    return converted(value, "float32", "float16")


def cut(value: bytes, *, renormalize: bool = True) -> bytes:
    numbers = np.frombuffer(value, "<f4")[:4].astype(np.float64)
    if renormalize:
        numbers /= np.linalg.norm(numbers)
    return numbers.astype("<f4").tobytes()


def stocked(shop: Shop, up: str = UP, down: str = DOWN) -> None:
    """Products whose vectors no datatype that holds less keeps, and a revision."""
    stock(shop, PRODUCTS)
    shop.write(up, down)


def migrated(shop: Shop, *arguments: str) -> str:
    """Run a migration that succeeds; the id of its run."""
    result = shop.run("--json", *arguments)
    assert result.code == 0, result.err
    return str(result.json["run"])


def nearest(shop: Shop, field: str, query: bytes, count: int = 3) -> list[bytes]:
    """The keys of the nearest products."""
    reply = shop.client.execute_command(
        *("FT.SEARCH", "products", f"*=>[KNN {count} @{field} $v AS d]", "PARAMS", "2", "v", query),
        *("SORTBY", "d", "NOCONTENT", "DIALECT", "2"),
    )
    return list(reply[1:])


@pytest.mark.parametrize(
    ("up", "down", "field", "make"),
    [
        (UP, DOWN, "short", half),
        (UNDER_ITS_NAME, BACK_UNDER_ITS_NAME, "embedding", half),
        (CUT, GROW, "short", cut),
        (PLAINLY_CUT, GROW, "short", lambda value: cut(value, renormalize=False)),
    ],
    ids=["halved", "under its name", "cut", "plainly cut"],
)
def test_up_and_down_leave_every_byte(shop: Shop, up: str, down: str, field: str, make):
    stocked(shop, up, down)
    before = documents(shop)
    run = migrated(shop, "upgrade", "head")
    after = {key: {**fields, b"short": make(fields[b"embedding"])} for key, fields in before.items()}
    assert documents(shop) == after
    assert nearest(shop, field, make(vector(5)))[0] == b"p:5"
    assert shop.run("check").code == 0
    assert shop.run("rollback", "--run", run).code == 0
    assert documents(shop) == before
    applied(shop)
    applied(shop, "-1", verb="downgrade")
    assert documents(shop) == before
    assert nearest(shop, "embedding", vector(5))[0] == b"p:5"
    assert shop.run("backup", "list").code == 0
    applied(shop)
    assert documents(shop) == after


@pytest.mark.parametrize("plain", ["", ", renormalize=False"])
def test_json_documents_get_shorter_vectors_at_another_path(shop: Shop, plain: str):
    numbers = np.random.default_rng(5).normal(size=(PRODUCTS, 8)).astype(np.float32)
    for number, vector_ in enumerate(numbers):
        text = json.dumps({"title": f"shoe {number}", "embedding": list(map(float, vector_)), "last": 1e-7})
        shop.client.execute_command("JSON.SET", f"p:{number}", "$", text)
    attrs = {"algorithm": "flat", "dims": 8, "distance_metric": "cosine", "datatype": "float32"}
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "embedding", "type": "vector", "attrs": attrs},
        ],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    before = texts(shop)
    shop.write(
        CHANGE + f"index.truncate('embedding', dims=4, path='$.short'{plain})",
        CHANGE + "index.alter_field('embedding', dims=8, path='$.embedding', attribute='embedding')",
    )
    applied(shop)
    after = texts(shop)
    assert all(len(json.loads(text)["short"]) == 4 for text in after.values())
    without = {key: re.sub(rb',"short":\[[^]]*\]', b"", text) for key, text in after.items()}
    assert without == before
    assert nearest(shop, "embedding", numbers[7, :4].tobytes())[0] == b"p:7"
    assert shop.run("check").code == 0
    applied(shop, "-1", verb="downgrade")
    assert texts(shop) == before
    assert nearest(shop, "embedding", numbers[7].tobytes())[0] == b"p:7"


def texts(shop: Shop) -> dict[bytes, bytes]:
    """Every JSON document, as the server prints it."""
    keys = sorted(shop.client.scan_iter("p:*", count=10_000))
    return {key: shop.client.execute_command("JSON.GET", key) for key in keys}


def test_what_a_release_of_the_new_form_has_written_is_converted_back(shop: Shop):
    stocked(shop)
    before = documents(shop)
    applied(shop)
    shop.client.hset("p:1", "short", vector(71, "float16"))
    shop.client.hset("p:new", mapping={"title": "shoe new", "short": vector(72, "float16")})
    applied(shop, "-1", verb="downgrade")
    expected = dict(before)
    expected[b"p:1"] = {
        **before[b"p:1"],
        b"embedding": converted(vector(71, "float16"), "float16", "float32"),
    }
    expected[b"p:new"] = {
        b"title": b"shoe new",
        b"embedding": converted(vector(72, "float16"), "float16", "float32"),
    }
    assert documents(shop) == expected


def test_what_was_cut_off_is_named_where_it_is_nowhere(shop: Shop):
    stocked(shop, CUT, GROW)
    applied(shop)
    shop.client.hset("p:1", "short", cut(vector(7)))
    after = documents(shop)
    result = shop.run("downgrade", "-1")
    assert result.code == 1, result.out
    assert "short was written with 4 numbers" in result.err
    assert documents(shop) == after
    applied(shop, "-1", "--allow-lossy", verb="downgrade")
    assert shop.client.hget("p:1", "embedding") == cut(vector(7)) + bytes(16)


def test_writers_of_both_releases_meanwhile(shop: Shop):
    stocked(shop)

    def write() -> None:
        shop.client.hset("p:1", "embedding", vector(81))
        shop.client.hset("p:2", "short", vector(82, "float16"))
        shop.client.hset("p:late", mapping={"title": "shoe late", "embedding": vector(83)})

    migrate(shop, {"validate_index": write})
    found = documents(shop)
    assert found[b"p:1"][b"short"] == half(vector(81))
    assert found[b"p:2"][b"embedding"] == converted(vector(82, "float16"), "float16", "float32")
    assert found[b"p:late"][b"short"] == half(vector(83))


def test_writers_of_both_releases_while_it_is_taken_back(shop: Shop):
    stocked(shop)
    applied(shop)

    def write() -> None:
        shop.client.hset("p:1", "embedding", vector(81))
        shop.client.hset("p:2", "short", vector(82, "float16"))

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    commands.downgrade(project, "-1", MigrationOptions(), Meanwhile({"validate_index": write}))
    found = documents(shop)
    assert found[b"p:1"][b"embedding"] == vector(81)
    assert found[b"p:2"][b"embedding"] == converted(vector(82, "float16"), "float16", "float32")
    assert all(set(fields) == {b"title", b"embedding"} for fields in found.values())


def test_expanded_and_contracted(shop: Shop):
    stocked(shop)
    before = documents(shop)
    applied(shop, "head", "--phase", "expand")
    shop.client.hset("p:1", "embedding", vector(81))
    shop.client.hset("p:2", "short", vector(82, "float16"))
    applied(shop, "head", "--phase", "contract")
    found = documents(shop)
    assert found[b"p:1"][b"short"] == half(vector(81))
    assert found[b"p:2"][b"short"] == vector(82, "float16")
    assert found[b"p:3"] == {**before[b"p:3"], b"short": half(before[b"p:3"][b"embedding"])}
    assert nearest(shop, "short", vector(5, "float16"))[0] == b"p:5"


def test_expanded_and_rolled_back(shop: Shop):
    stocked(shop)
    before = documents(shop)
    applied(shop, "head", "--phase", "expand")
    assert shop.run("rollback").code == 0
    assert documents(shop) == before


def test_another_index_that_reads_the_new_path_otherwise_blocks(shop: Shop):
    stocked(shop)
    shop.client.execute_command("FT.CREATE", "others", "PREFIX", 1, "p:", "SCHEMA", "short", "TEXT")
    shop.refuses(
        "upgrade", code=6, says=("The plan is blocked: ", "index others reads short of the same keys")
    )


def test_values_are_dropped_in_a_revision_after_and_come_back_first(shop: Shop):
    stocked(shop)
    before = documents(shop)
    shop.write(CHANGE + "index.drop_values('embedding')", CHANGE + "index.restore_values('embedding')")
    applied(shop)
    assert all(set(fields) == {b"title", b"short"} for fields in documents(shop).values())
    applied(shop, "-2", verb="downgrade")
    assert documents(shop) == before


@pytest.mark.slow
def test_killed_at_every_step_boundary(shop: Shop):
    stocked(shop)
    before = documents(shop)
    kills, code = kill_at_every(shop, "upgrade", "head")
    assert (kills > 5, code) == (True, 0)
    assert all(fields[b"short"] == half(fields[b"embedding"]) for fields in documents(shop).values())
    kills, code = kill_at_every(shop, "downgrade", "-1")
    assert (kills > 5, code) == (True, 0)
    assert documents(shop) == before


def test_killed_before_names_move_and_before_values_go(shop: Shop):
    stocked(shop)
    before = documents(shop)
    kill_before(shop, "swap_alias", "upgrade", "head")
    applied(shop)
    assert all(fields[b"short"] == half(fields[b"embedding"]) for fields in documents(shop).values())
    kill_before(shop, "remove_documents", "downgrade", "-1")
    applied(shop, "-1", verb="downgrade")
    assert documents(shop) == before


def test_a_downgrade_that_is_rolled_back_leaves_both(shop: Shop):
    stocked(shop)
    applied(shop)
    after = documents(shop)
    kill_before(shop, "record_revision", "downgrade", "-1")
    assert shop.run("rollback").code == 0
    assert documents(shop) == after
    assert shop.run("rollback", "--run", migrated(shop, "downgrade", "-1")).code == 0
    assert documents(shop) == after


@pytest.mark.parametrize("option", [("--strategy", "rebuild"), ("--strategy", "shadow")])
def test_other_strategies_say_why_not(shop: Shop, option: tuple[str, str]):
    stocked(shop)
    shop.refuses("upgrade", *option, code=6, says=("The plan is blocked: ", f"strategy {option[1]} can't"))


def test_exclusive_goes_the_same_way(shop: Shop):
    stocked(shop)
    applied(shop, "--exclusive")
    assert all(fields[b"short"] == half(fields[b"embedding"]) for fields in documents(shop).values())


def test_a_plan_tells_one_write_and_one_build(shop: Shop):
    stocked(shop)
    steps = shop.run("--json", "plan").json["revisions"][0]["steps"]
    kinds = [step["kind"] for step in steps]
    assert (kinds.count("copy_documents"), kinds.count("create_index")) == (1, 1)
    assert sum(step["estimate"]["bytes_written"] for step in steps) == PRODUCTS * 16
