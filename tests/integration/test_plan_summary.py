"""A plan begins with what it costs in all, and what blocks it stands before that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from patience import wait_until
from vector_documents import CHANGE, TO_FLOAT16, creation, stock

from redismigrate.planning.plan_summary import PlanSummary

if TYPE_CHECKING:
    from pathlib import Path

    import redis
    from conftest import Shop

TO_HNSW = CHANGE + "index.alter_field('embedding', algorithm='hnsw')"
PRODUCTS = 300
TITLES = [
    "takes",
    "search down",
    "peak memory",
    "copy on write",
    "afterwards",
    "backups",
    "append-only file",
    "snapshot",
]


def lines(shop: Shop, *options: str) -> dict[str, str]:
    """Title -> value of the summary that is shown."""
    shown = shop.run("plan", *options).out.split("\n\n")[0].splitlines()
    return {title: line[20:].strip() for line in shown for title in TITLES if line.strip().startswith(title)}


def summary(shop: Shop, *options: str) -> dict[str, Any]:
    return shop.run("plan", "--json", *options).json["summary"]


def test_a_plan_begins_with_its_costs(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    shown = shop.run("plan").out
    head, steps = shown.split("\n\n")[:2]
    assert head.startswith("Upgrade to head: 1 revision, project shop\n")
    assert steps.startswith("000000000002 ")
    assert all(len(line) <= 80 for line in head.splitlines())
    told = lines(shop)
    assert [*told] == TITLES
    assert told["search down"] == "never"
    assert "no maxmemory" in told["peak memory"]
    assert told["backups"] == told["append-only file"] == "none"
    assert "of memory more than before" in told["afterwards"]


def test_what_blocks_it_comes_first(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    shown = shop.run("plan", "--strategy", "alter").out.splitlines()
    assert shown[1].startswith("  blocked: strategy alter can't change index products")
    assert shown[2].startswith("  takes")
    assert sum("blocked:" in line for line in shown) == 1


def test_a_file_of_a_plan_has_the_numbers(shop: Shop, tmp_path: Path) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16)
    shop.run("plan", "-o", str(tmp_path / "plan.yaml"), "--strategy", "rebuild")
    told = yaml.safe_load((tmp_path / "plan.yaml").read_text())["summary"]
    assert told["backup_bytes"] > PRODUCTS * 32
    assert told["backup_free_bytes"] > 0
    by_index = told["search_downtime_seconds_by_index"]
    assert told["search_downtime_seconds"] == sum(by_index.values())
    assert by_index.keys() <= {"products"}
    assert told["memory_saved_bytes"] > 0
    assert told["used_memory_bytes"] > 0
    assert PlanSummary.model_validate(told)


def test_indexes_that_are_built_beside_each_other_add_up(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(creation("others"), down_revision="000000000001")
    shop.run("upgrade", "head")
    shop.write(TO_HNSW + "\n" + TO_HNSW.replace("products", "others"), down_revision="000000000002")
    told = summary(shop)
    each = told["memory_bytes_by_index"]
    assert each.keys() == {"products", "others"}
    assert told["peak_memory_bytes"] == sum(each.values())
    assert -told["memory_saved_bytes"] < told["peak_memory_bytes"]


def test_revisions_one_after_the_other_need_the_memory_of_one(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    one = summary(shop)["peak_memory_bytes"]
    for number in (2, 3, 4):
        shop.write(
            CHANGE + f"index.alter_field('embedding', ef_construction={100 + number})",
            down_revision=f"{number:012x}",
        )
    assert one <= summary(shop)["peak_memory_bytes"] < 2 * one


def test_what_a_function_costs_is_not_known(shop: Shop) -> None:
    stock(shop, PRODUCTS)
    shop.write("op.run(lambda client: None, lambda client: None)")
    told = summary(shop)
    assert told["functions"]
    unknown = ("memory_saved_bytes", "copy_on_write_bytes", "snapshot_bytes", "aof_growth_bytes")
    assert [told[name] for name in unknown] == [None] * 4
    shown = lines(shop)
    assert "not known" in shown["takes"]
    assert shown["peak memory"].startswith("not known;")
    assert "not known" in shown["afterwards"]


def test_settings_that_are_refused_are_not_known(shop: Shop, client: redis.Redis) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_HNSW)
    client.execute_command("ACL", "SETUSER", "default", "-config")
    try:
        assert summary(shop)["save_points"] is None
        assert "not known when one is taken" in lines(shop)["snapshot"]
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+config")


def test_the_file_of_appended_writes_grows_as_told(shop: Shop, client: redis.Redis) -> None:
    stock(shop, 3_000)
    shop.write(TO_FLOAT16)
    client.config_set("appendonly", "yes")
    try:
        wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        client.config_set("auto-aof-rewrite-percentage", "0")
        told = summary(shop, "--strategy", "rebuild")
        before = client.info("persistence")["aof_current_size"]
        shop.run("upgrade", "head", "--strategy", "rebuild")
        grown = client.info("persistence")["aof_current_size"] - before
        assert told["aof_enabled"]
        assert grown / 1.5 < told["aof_growth_bytes"] < grown * 1.5, (grown, told["aof_growth_bytes"])
    finally:
        client.config_set("appendonly", "no")
        client.config_set("auto-aof-rewrite-percentage", "100")
