"""`upgrade --on-failure continue`: what fails is put back, the others go on, and the rest is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from long_chain import outcome

from redismigrate.redis_server.inspection import read_index

if TYPE_CHECKING:
    from conftest import Shop

DIMS = 8
BROKEN = "b:1"
CONTINUE = ("upgrade", "head", "--on-failure", "continue")


def names(count: int) -> tuple[str, ...]:
    return tuple("abcdefghij"[:count])


def vector(value: float) -> bytes:
    return np.full(DIMS, value, np.float32).tobytes()


def write_indexes(shop: Shop, count: int, documents: int) -> None:
    """Apply a revision that makes indexes `a`, `b` and so on, each with documents of its own."""
    created = [
        f"""op.create_index({{
            "index": {{"name": "{name}", "prefix": "{name}:"}},
            "fields": [
                {{"name": "title", "type": "text"}},
                {{"name": "embedding", "type": "vector",
                  "attrs": {{"algorithm": "flat", "dims": {DIMS}, "distance_metric": "l2",
                             "datatype": "float32"}}}},
            ],
        }})"""
        for name in names(count)
    ]
    shop.write("\n".join(created), "\n".join(f'op.drop_index("{name}")' for name in names(count)))
    for name in names(count):
        shop.add_documents(documents, f"{name}:", title="shoe {n}", embedding=vector(0.5))
    assert shop.run("upgrade", "head").code == 0


def write_float16(shop: Shop, count: int) -> str:
    """Write a revision that stores the vectors of all indexes as float16."""

    def to(datatype: str) -> str:
        return "\n".join(
            f'with op.index("{name}") as index: index.alter_field("embedding", datatype="{datatype}")'
            for name in names(count)
        )

    return shop.write(to("float16"), to("float32"))


def break_document(shop: Shop) -> None:
    """Write a vector that has no form in float16."""
    shop.client.hset(BROKEN, "embedding", vector(1e30))


def mend_document(shop: Shop) -> None:
    shop.client.hset(BROKEN, "embedding", vector(0.5))


def datatypes(shop: Shop) -> dict[str, str]:
    """Served name -> the datatype of its vectors, on the server."""
    served = shop.served_names()
    found = {}
    for physical, name in served.items():
        index = read_index(shop.client.execute_command, physical)
        assert index is not None
        [field] = [field for field in index.schema.fields if field.type == "vector"]
        found[name] = field.datatype
    return found


def recorded_datatypes(shop: Shop) -> dict[str, str]:
    recorded = (shop.state("indexes") or {})["indexes"]
    return {
        name: next(f["datatype"] for f in definition["schema"]["fields"] if f["type"] == "vector")
        for name, definition in recorded.items()
    }


def value_bytes(shop: Shop) -> dict[str, set[int]]:
    """Index -> the lengths of the vectors of its documents."""
    return {
        name: {len(shop.client.hget(key, "embedding")) for key in shop.client.scan_iter(f"{name}:*")}
        for name in recorded_datatypes(shop)
    }


def is_partial(shop: Shop, count: int, failed: str = "b") -> None:
    """All indexes but one are changed, and the record says which one is not and why."""
    expected = {name: "FLOAT32" if name == failed else "FLOAT16" for name in names(count)}
    assert datatypes(shop) == expected
    assert recorded_datatypes(shop) == expected
    assert value_bytes(shop) == {
        name: {4 * DIMS if datatype == "FLOAT32" else 2 * DIMS} for name, datatype in expected.items()
    }
    assert (shop.state("head") or {})["heads"] == ["000000000001"]


@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
def test_the_others_are_changed_and_the_rest_once_it_can_be(shop: Shop, strategy: Any):
    shop.strategy = strategy
    write_indexes(shop, 3, 20)
    revision = write_float16(shop, 3)
    break_document(shop)

    result = shop.run(*CONTINUE)
    assert result.code == 7, result.err
    assert f"Revision {revision} is partly applied: 1 of its 3 indexes could not be changed." in result.err
    assert "b:1" in result.out
    is_partial(shop, 3)
    again = shop.run("upgrade", "head", "--json")
    assert again.code == 7
    assert [(each["index"], each["state"]) for each in again.json["indexes"]] == [
        ("a", "done"),
        ("c", "done"),
        ("b", "failed"),
    ]
    assert "b:1" in again.json["indexes"][2]["reason"]
    is_partial(shop, 3)

    mend_document(shop)
    done = shop.run("upgrade", "head")
    assert done.code == 0, done.err
    assert set(datatypes(shop).values()) == {"FLOAT16"}
    assert (shop.state("head") or {})["heads"] == [revision]
    assert shop.state("run") is None
    assert shop.run("check").code == 0
    assert shop.hits("b") == 20
    down = shop.run("downgrade", "-1")
    assert down.code == 0, down.err
    assert set(datatypes(shop).values()) == {"FLOAT32"}


def test_rollback_undoes_what_was_changed_of_a_partial_revision(shop: Shop):
    write_indexes(shop, 3, 20)
    write_float16(shop, 3)
    break_document(shop)
    before = outcome(shop)
    assert shop.run(*CONTINUE).code == 7
    is_partial(shop, 3)
    result = shop.run("rollback")
    assert result.code == 0, result.err
    assert without_names(outcome(shop)) == without_names(before)
    assert shop.run("check").code == 4


def test_rollback_of_a_revision_that_was_applied_in_two_attempts_undoes_both(shop: Shop):
    write_indexes(shop, 3, 20)
    write_float16(shop, 3)
    break_document(shop)
    assert shop.run(*CONTINUE).code == 7
    mend_document(shop)
    before = {key: shop.client.dump(key) for key in shop.client.scan_iter("[abc]:*")}
    done = shop.run("upgrade", "head", "--json")
    assert done.code == 0, done.err
    result = shop.run("rollback", "--run", done.json["run"])
    assert result.code == 0, result.err
    assert set(datatypes(shop).values()) == {"FLOAT32"} == set(recorded_datatypes(shop).values())
    after = {key: shop.client.hget(key, "embedding") for key in shop.client.scan_iter("[abc]:*")}
    assert set(map(len, after.values())) == {4 * DIMS}
    assert before.keys() == after.keys()
    assert shop.run("check").code == 4


def test_where_nothing_can_be_changed_the_revision_failed_and_nothing_is_left(shop: Shop):
    write_indexes(shop, 2, 10)
    revision = write_float16(shop, 2)
    break_document(shop)
    shop.client.hset("a:3", "embedding", vector(1e30))
    before = outcome(shop)
    result = shop.run(*CONTINUE)
    assert result.code == 1
    assert f"Could not apply revision {revision}" in result.err
    assert without_names(outcome(shop)) == without_names(before)
    assert shop.state("run") is None


def test_a_partial_revision_is_told_and_in_the_way_of_others(shop: Shop):
    write_indexes(shop, 3, 10)
    revision = write_float16(shop, 3)
    later = shop.write('op.create_alias("first", "a")', 'op.drop_alias("first")')
    break_document(shop)
    assert shop.run(*CONTINUE).code == 7

    current = shop.run("current", "--json")
    assert (current.code, current.json["partial"], list(current.json["left"])) == (4, revision, ["b"])
    assert f"partial:{revision}" in shop.run("current").out
    check = shop.run("check")
    assert check.code == 4
    assert f"Revision {revision} is partly applied (b: " in check.out
    assert "differ" not in check.out
    status = shop.run("status", "--json").json
    assert (status["partial"], status["interrupted"]) == (revision, False)
    assert [(each["index"], each["state"]) for each in status["indexes"]] == [
        ("a", "done"),
        ("c", "done"),
        ("b", "failed"),
    ]
    text = shop.run("status").out
    assert f"is partial:{revision}" in text
    assert "index b: failed: " in text
    for command in (
        ("downgrade", "base"),
        ("stamp", "head"),
        ("plan",),
        ("upgrade", later, "--phase", "expand"),
    ):
        refused = shop.run(*command)
        assert refused.code in {2, 7}, (command, refused.err)
    is_partial(shop, 3)
    assert shop.run("upgrade", "head").code == 7
    mend_document(shop)
    assert shop.run("upgrade", "head").code == 0
    assert (shop.state("head") or {})["heads"] == [later]


def without_names(found: dict[str, Any]) -> dict[str, Any]:
    """An outcome but for what indexes are called that were built again, and whether a name is an alias."""
    return {
        "indexes": found["indexes"],
        "found": found["found"],
        "documents": found["documents"],
        "heads": found["heads"],
        "run": found["run"],
        "owners": found["owners"],
    }
