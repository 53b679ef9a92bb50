"""Writers of the old form who do not stop while second fields of vectors are made, moved and removed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from document_writer import REWRITES, Writer, vector_of, written
from signalled_process import KILLED, kill_at
from test_follow import following, wait_until
from vector_documents import (
    CHANGE,
    DIMS,
    TO_FLOAT16,
    TO_FLOAT32,
    applied,
    converted,
    creation,
    documents,
    migrate,
    stock,
    vector,
)

from redismigrate.backup.folders import open_in_place
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.execution.steps import second_field_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop

SECOND = "embedding__000000000002"


@pytest.fixture
def products(shop: Shop) -> Shop:
    """A few products in float32, and a revision that takes them to float16 with search up."""
    shop.strategy = "shadow_field"
    stock(shop, 6)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


def near(number: float, offset: float) -> bytes:
    """A float32 vector that float16 can't tell from the one without the offset."""
    return np.full(DIMS, number + offset, np.float32).tobytes()


@pytest.mark.parametrize(
    ("count", "per_second"), [(1500, 1500), pytest.param(8000, 2000, marks=pytest.mark.slow)]
)
def test_all_that_was_written_until_the_end_comes_back_as_it_was(
    shop: Shop, tmp_path: Path, count: int, per_second: int
) -> None:
    log = tmp_path / "writer.log"
    application = Writer(shop.url, str(log), DIMS, "float32", count, per_second, REWRITES)
    application.fill()
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    with application.at_work():
        result = shop.run("upgrade", "--strategy", "shadow_field", "--json")

    assert result.code == 0, result.err
    assert "writers of products have not stopped writing FLOAT32" in result.err
    assert "until they are written in FLOAT16" in result.err
    expected = {
        key: vector_of(document.vector or 0, DIMS, "float32") for key, document in written(log).items()
    }
    left = sum(len(fields[b"embedding"]) == 4 * DIMS for fields in documents(shop).values())
    # They went on until after it was told.
    assert result.json["documents"]["left_in_old_type"] <= left
    assert shop.run("rollback", "--run", result.json["run"]).code == 0
    assert {key: fields[b"embedding"] for key, fields in documents(shop).items()} == expected


FAR_AWAY = 4_102_444_800_000
STEPS = 15
# Before it nothing is told of the new form: a vector of that length is no vector.
COPY = 3


def act(shop: Shop, *, writes_new_form: bool) -> dict[bytes, bytes | None]:
    """What two releases write; the vectors that there have to be in the end, as they were written."""
    client = shop.client
    client.hset("p:1", "embedding", near(50, 0.0001))
    client.hpexpireat("p:1", FAR_AWAY, "embedding")
    if writes_new_form:
        client.hset("p:2", "embedding", vector(60, "float16"))
        client.hpexpireat("p:2", FAR_AWAY + 1000, "embedding")
    client.delete("p:3")
    client.hset("p:3", mapping={"title": "boot", "embedding": near(70, 0.0001)})
    client.hdel("p:4", "embedding")
    for offset in (0.00002, 0.0001, 0.00002):  # float16 does not tell them apart
        client.hset("p:5", "embedding", near(5, offset))
    client.hset("p:new", mapping={"title": "boot", "embedding": near(80, 0.0001)})
    client.pexpireat("p:new", FAR_AWAY)
    written = {
        b"p:1": near(50, 0.0001),
        b"p:3": near(70, 0.0001),
        b"p:4": None,
        b"p:5": near(5, 0.00002),
        b"p:new": near(80, 0.0001),
    }
    return written | ({b"p:2": vector(60, "float16")} if writes_new_form else {})


def old_form(value: bytes | None) -> bytes | None:
    return value if value is None or len(value) == 4 * DIMS else converted(value, "float16", "float32")


def new_form(value: bytes | None) -> bytes | None:
    return value if value is None or len(value) == 2 * DIMS else converted(value, "float32", "float16")


def vectors_of(shop: Shop, *others: bytes) -> dict[bytes, bytes | None]:
    """The vectors; fails where anything but them, the titles and some other fields is left in a document."""
    found = documents(shop)
    assert {name for fields in found.values() for name in fields} <= {b"title", b"embedding", *others}
    return {key: fields.get(b"embedding") for key, fields in found.items()}


def require_lifetimes(shop: Shop, *, with_new_form: bool) -> None:
    client = shop.client
    assert client.hpexpiretime("p:1", "embedding") == [FAR_AWAY]
    assert client.hpexpiretime("p:2", "embedding") == [FAR_AWAY + 1000 if with_new_form else -1]
    assert client.hpexpiretime("p:3", "embedding") == [-1]
    assert client.pexpiretime("p:new") == FAR_AWAY


@pytest.mark.parametrize(
    "at",
    [pytest.param(at, marks=() if at in {4, 11, STEPS} else pytest.mark.slow) for at in range(1, STEPS + 1)],
)
@pytest.mark.parametrize("ending", ["resumed", "rolled back"])
def test_a_run_that_is_killed_before_any_step_loses_nothing_of_what_is_written_then(
    products: Shop, at: int, ending: str
) -> None:
    expected: dict[bytes, bytes | None] = dict(vectors_of(products))
    options = MigrationOptions(strategy="shadow_field")
    assert kill_at(products, "upgrade", "head", at, options=options) == KILLED
    writes_new_form = at > COPY
    expected |= act(products, writes_new_form=writes_new_form)
    run = products.state("run")
    assert run is not None

    if ending == "resumed":
        counts = applied(products)
        assert (counts["left_in_old_type"], counts["failed"]) == (0, [])
        assert vectors_of(products) == {key: new_form(value) for key, value in expected.items()}
        require_lifetimes(products, with_new_form=writes_new_form)
        assert products.hits("products") == 7
        counts = applied(products, "--run", run["id"], verb="rollback")
    else:
        counts = applied(products, verb="rollback")

    assert vectors_of(products) == {key: old_form(value) for key, value in expected.items()}
    # What was turned back is not left as it is.
    assert "p:2" not in {document["key"] for document in counts["failed"]}
    require_lifetimes(products, with_new_form=writes_new_form)
    assert products.hits("products") == 7
    assert products.run("backup", "verify").code == 0


def test_what_the_old_form_can_not_tell_is_in_the_backup_when_it_is_turned_back(shop: Shop) -> None:
    stock(shop, 6, datatype="float16")
    shop.write(TO_FLOAT32, TO_FLOAT16)
    applied(shop, "--phase", "expand", "--strategy", "shadow_field")
    precise = near(9, 0.0001)
    shop.client.hset("p:1", "embedding", precise)
    applied(shop, "--phase", "contract")
    assert shop.client.hget("p:1", "embedding") == precise
    shop.client.hset("p:2", "embedding", near(8, 0.0001))
    run = shop.state("last_run")
    assert run is not None

    counts = applied(shop, "--run", run["run"], verb="rollback")

    assert counts["failed"] == []
    assert shop.client.hget("p:1", "embedding") == converted(precise, "float32", "float16")
    kept = kept_values(shop)
    assert {(b"p:1", precise), (b"p:2", near(8, 0.0001))} <= kept
    assert shop.run("backup", "verify").code == 0


def test_a_rollback_between_the_phases_backs_up_what_goes_with_the_second_field(shop: Shop) -> None:
    stock(shop, 6, datatype="float16")
    shop.write(TO_FLOAT32, TO_FLOAT16)
    applied(shop, "--phase", "expand", "--strategy", "shadow_field")
    shop.client.hset("p:1", "embedding", near(9, 0.0001))
    with following(shop):
        wait_until(lambda: len(shop.client.hget("p:1", "embedding") or b"") == 2 * DIMS)

    applied(shop, verb="rollback")

    assert shop.client.hget("p:1", "embedding") == converted(near(9, 0.0001), "float32", "float16")
    assert (b"p:1", near(9, 0.0001)) in kept_values(shop)


def kept_values(shop: Shop) -> set[tuple[bytes, bytes]]:
    """Every value in the backups, with its key."""
    return {
        (key, value)
        for manifest in (shop.folder / "redismigrate-backups").rglob("manifest.json")
        for chunk in open_in_place(manifest.parent).chunks()
        for column in chunk.documents.columns.values()
        for key, value in zip(chunk.documents.keys, column, strict=True)
        if value is not None
    }


def test_second_fields_of_a_run_whose_record_is_lost_are_never_read(shop: Shop) -> None:
    stock(shop, 6, datatype="float16")
    shop.write(TO_FLOAT32, TO_FLOAT16)
    before = documents(shop)
    # They say more than the vectors beside them, as if a new release had written them.
    for number in range(6):
        shop.client.hset(f"p:{number}", SECOND, near(number + 1, 0.0001))
        shop.client.hset(
            f"p:{number}", "embedding", converted(near(number + 1, 0.0001), "float32", "float16")
        )
        before[b"p:%d" % number][b"embedding"] = shop.client.hget(f"p:{number}", "embedding") or b""

    result = migrate(shop, {}, strategy="shadow_field")

    assert documents(shop) == {
        key: fields | {b"embedding": converted(fields[b"embedding"], "float16", "float32")}
        for key, fields in before.items()
    }
    assert shop.run("rollback", "--run", str(result.run)).code == 0
    assert documents(shop) == before


def test_what_is_told_to_be_left_is_there_when_it_is_told_and_counts_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
    fields = [{"name": name, "type": "vector", "attrs": attributes} for name in ("a", "b")]
    shop.write(f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields!r}}})")
    applied(shop)
    for number in range(40):
        shop.client.hset(f"p:{number}", mapping={"a": vector(number), "b": vector(number + 1)})
    both = "index.alter_field('a', datatype='{0}'); index.alter_field('b', datatype='{0}')"
    shop.write(CHANGE + both.format("float16"), CHANGE + both.format("float32"))
    count_left = second_field_steps.count_left

    def write_and_count(*arguments: Any) -> int:
        for number in range(3):
            shop.client.hset(f"p:{number}", mapping={"a": vector(50), "b": vector(51)})
        return count_left(*arguments)

    monkeypatch.setattr(second_field_steps, "count_left", write_and_count)

    def write_before_the_end() -> None:
        for number in range(20):
            shop.client.hset(f"p:{number}", mapping={"a": vector(60), "b": vector(61)})

    result = migrate(shop, {"remove_documents": write_before_the_end}, strategy="shadow_field")

    found = documents(shop)
    assert sum(len(document[b"a"]) == 4 * DIMS for document in found.values()) == 3
    assert result.documents is not None
    assert (result.documents.left_in_old_type, result.documents.read) == (3, 40)
    assert shop.run("rollback", "--run", str(result.run)).code == 0
    expected = {b"p:%d" % number: (vector(number), vector(number + 1)) for number in range(40)}
    expected |= {b"p:%d" % number: (vector(60), vector(61)) for number in range(20)}
    expected |= {b"p:%d" % number: (vector(50), vector(51)) for number in range(3)}
    assert {key: (held[b"a"], held[b"b"]) for key, held in documents(shop).items()} == expected


def test_of_values_that_become_the_same_the_last_one_comes_back_though_it_was_there_before(
    products: Shop,
) -> None:
    first, second = near(5, 0.00002), near(5, 0.0001)

    def write(value: bytes) -> Callable[[], object]:
        return lambda: products.client.hset("p:1", "embedding", value)

    result = migrate(
        products,
        {
            "back_up_documents": write(first),
            "promote_documents": write(second),
            "remove_documents": write(first),
        },
        strategy="shadow_field",
    )

    assert products.client.hget("p:1", "embedding") == converted(first, "float32", "float16")
    assert products.run("rollback", "--run", str(result.run)).code == 0
    assert products.client.hget("p:1", "embedding") == first


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.8, 1.1, 1.4, 1.7, 2.0, 2.4])
@pytest.mark.parametrize("ending", ["resumed", "rolled back"])
def test_a_run_that_is_killed_at_any_moment_while_writers_write_loses_nothing(
    shop: Shop, tmp_path: Path, seconds: float, ending: str
) -> None:
    log = tmp_path / "writer.log"
    application = Writer(shop.url, str(log), DIMS, "float32", 2000, 1500, REWRITES)
    application.fill()
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    with application.at_work():
        with shop.process("upgrade", "--strategy", "shadow_field") as process:
            time.sleep(seconds)
            process.kill()
        if ending == "resumed":
            assert shop.run("upgrade").code == 0
    if shop.state("run") is not None:
        assert shop.run("rollback").code == 0
    elif (last := shop.state("last_run")) is not None:
        assert shop.run("rollback", "--run", last["run"]).code == 0

    expected = {
        key: vector_of(document.vector or 0, DIMS, "float32") for key, document in written(log).items()
    }
    assert vectors_of(shop, b"number") == expected
