"""Vectors are truncated to fewer dimensions, and come back whole from the backup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from vector_documents import CHANGE, Meanwhile, applied, documents, kill_before

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

DIMS, CUT = 32, 8
PRODUCTS = 60
TRUNCATE = CHANGE + f"index.truncate('embedding', dims={CUT})"
GROW = CHANGE + f"index.alter_field('embedding', dims={DIMS})"


def embedding(number: int) -> bytes:
    """A vector whose first components say most, as those of models trained for it."""
    numbers = np.random.default_rng(number).normal(size=DIMS) / (1 + np.arange(DIMS))
    return (numbers / np.linalg.norm(numbers)).astype("<f4").tobytes()


def truncated(value: bytes, *, renormalize: bool = True, dtype: str = "<f4") -> bytes:
    numbers = np.frombuffer(value, "<f4")[:CUT].astype(np.float64)
    if renormalize:
        numbers /= np.linalg.norm(numbers)
    return numbers.astype(dtype).tobytes()


def stocked(shop: Shop, up: str = TRUNCATE, down: str = GROW, metric: str = "cosine") -> None:
    """Products in an index, and a revision that truncates their vectors."""
    for number in range(PRODUCTS):
        shop.client.hset(f"p:{number}", mapping={"title": f"shoe {number}", "embedding": embedding(number)})
    attrs = {"algorithm": "flat", "dims": DIMS, "distance_metric": metric, "datatype": "float32"}
    schema = {
        "index": {"name": "products", "prefix": "p:"},
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "embedding", "type": "vector", "attrs": attrs},
        ],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(up, down)


def embeddings(shop: Shop) -> dict[bytes, bytes]:
    return {key: fields[b"embedding"] for key, fields in documents(shop).items()}


def nearest(shop: Shop, query: bytes, count: int = 3) -> list[bytes]:
    """The keys of the nearest products."""
    reply: Any = shop.client.execute_command(
        "FT.SEARCH",
        "products",
        f"*=>[KNN {count} @embedding $v AS d]",
        "PARAMS",
        "2",
        "v",
        query,
        "SORTBY",
        "d",
        "NOCONTENT",
        "DIALECT",
        "2",
    )
    return list(reply[1:])


@pytest.mark.parametrize("options", [(), ("--strategy", "rebuild"), ("--exclusive",)])
def test_truncated_vectors_are_found_and_the_way_back_is_exact(shop: Shop, options: tuple[str, ...]):
    stocked(shop)
    before = documents(shop)

    applied(shop, *options)

    assert embeddings(shop) == {key: truncated(value[b"embedding"]) for key, value in before.items()}
    assert all(fields.keys() == before[key].keys() for key, fields in documents(shop).items())
    assert nearest(shop, truncated(embedding(7)))[0] == b"p:7"
    assert shop.run("check").code == 0

    applied(shop, "-1", *options, verb="downgrade")

    assert documents(shop) == before
    assert nearest(shop, embedding(7))[0] == b"p:7"
    applied(shop, *options)
    assert embeddings(shop) == {key: truncated(value[b"embedding"]) for key, value in before.items()}


def test_a_rollback_brings_whole_vectors_back(shop: Shop):
    stocked(shop)
    before = documents(shop)
    run = shop.run("upgrade", "head", "--json").json["run"]
    assert embeddings(shop)[b"p:1"] == truncated(embedding(1))
    assert shop.run("rollback", "--run", run).code == 0
    assert documents(shop) == before


def test_vectors_are_truncated_as_they_are_where_the_script_says_so(shop: Shop):
    up = CHANGE + f"index.truncate('embedding', dims={CUT}, renormalize=False)"
    stocked(shop, up, metric="ip")
    applied(shop)
    assert embeddings(shop)[b"p:3"] == truncated(embedding(3), renormalize=False)


@pytest.mark.parametrize("renormalize", [True, False])
def test_what_is_written_while_a_truncation_is_taken_back_is_truncated_as_the_script_says(
    shop: Shop, renormalize: bool
):
    """The way back is expanded, a release writes whole vectors, and all is rolled back after all."""
    stocked(shop, CHANGE + f"index.truncate('embedding', dims={CUT}, renormalize={renormalize})")
    applied(shop)
    before = embeddings(shop)
    applied(shop, "-1", "--phase", "expand", verb="downgrade")
    shop.client.hset("p:1", "embedding", embedding(1001))
    applied(shop, "--allow-lossy", verb="rollback")
    assert embeddings(shop) == before | {b"p:1": truncated(embedding(1001), renormalize=renormalize)}


def test_another_datatype_and_another_name_are_one_pass_with_fewer_dimensions(shop: Shop):
    up = f"""
with op.index('products') as index:
    index.rename_field('embedding', 'vector')
    index.truncate('vector', dims={CUT})
    index.alter_field('vector', datatype='float16')
"""
    down = f"""
with op.index('products') as index:
    index.alter_field('vector', datatype='float32', dims={DIMS})
    index.rename_field('vector', 'embedding')
"""
    stocked(shop, up, down)
    before = documents(shop)
    applied(shop, "--exclusive")
    after = documents(shop)
    assert after[b"p:5"] == {b"title": b"shoe 5", b"vector": truncated(embedding(5), dtype="<f2")}
    applied(shop, "-1", "--exclusive", verb="downgrade")
    assert documents(shop) == before


@pytest.mark.parametrize("options", [(), ("--exclusive",)])
def test_vectors_without_an_original_are_named_and_lose_nothing_unasked(shop: Shop, options: tuple[str, ...]):
    stocked(shop)
    applied(shop, *options)
    new = truncated(embedding(999))
    shop.client.hset("p:new", mapping={"title": "shoe", "embedding": new})
    shop.client.hset("p:4", "embedding", new)
    before = documents(shop)

    refused = shop.run("downgrade", "-1", *options)

    assert refused.code == 1
    assert "2 of 61 documents of products can't get back what they had: " in refused.err
    assert "p:4: embedding: written since it was truncated, so that no backup has its" in refused.err
    assert "--allow-lossy" in refused.err
    assert documents(shop) == before

    applied(shop, "-1", "--allow-lossy", *options, verb="downgrade")
    after = embeddings(shop)
    zeros = bytes(4 * (DIMS - CUT))
    assert after.pop(b"p:4") == after.pop(b"p:new") == new + zeros
    assert after == {b"p:%d" % number: embedding(number) for number in range(PRODUCTS) if number != 4}
    assert nearest(shop, embedding(7))[0] == b"p:7"


def test_without_its_backup_the_way_back_is_blocked(shop: Shop):
    stocked(shop)
    applied(shop)
    (shop.folder / "redismigrate-backups").rename(shop.folder / "elsewhere")
    blocked = shop.run("downgrade", "-1")
    assert blocked.code == 6, blocked.err
    assert "has truncated embedding of index products to 8 dimensions" in blocked.out + blocked.err
    assert shop.run("downgrade", "-1", "--backup-dir", str(shop.folder / "elsewhere")).code == 0
    assert embeddings(shop)[b"p:9"] == embedding(9)


def test_what_writers_write_meanwhile_is_truncated_as_well(shop: Shop):
    stocked(shop)

    def write() -> None:
        shop.client.hset("p:5", "embedding", embedding(500))
        shop.client.hset("p:late", mapping={"title": "shoe", "embedding": embedding(501)})

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    commands.upgrade(project, "head", MigrationOptions(), Meanwhile({"wait_for_index": write}))
    found = embeddings(shop)
    assert found[b"p:5"] == truncated(embedding(500))
    assert found[b"p:late"] == truncated(embedding(501))


@pytest.mark.parametrize("kind", ["copy_documents", "swap_alias", "promote_documents", "remove_documents"])
@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
@pytest.mark.slow_beyond(3)
def test_a_killed_run_goes_on_and_goes_back(shop: Shop, kind: Any, verb: str):
    stocked(shop)
    whole = embeddings(shop)
    if verb == "downgrade":
        applied(shop)
    target = "head" if verb == "upgrade" else "-1"
    kill_before(shop, kind, verb, target)
    assert shop.run(verb, target).code == 0
    cut = {key: truncated(value) for key, value in whole.items()}
    assert embeddings(shop) == (cut if verb == "upgrade" else whole)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("index.truncate('title', dims=8)", "Field 'title' of index 'products' is a text field"),
        ("index.truncate('embedding', dims=32)", "has 32 dimensions and can't be truncated to 32"),
        ("index.truncate('embedding', dims=True)", "takes a number of dimensions"),
        ("index.truncate('embeding', dims=8)", "embeding"),
        (
            "index.truncate('embedding', dims=16)\n    index.truncate('embedding', 8, renormalize=False)",
            "Field 'embedding' of index 'products' is truncated twice in one block",
        ),
        (
            "index.truncate('embedding', 16); index.rename_field('embedding', 'v'); index.truncate('v', 8)",
            "Field 'v' of index 'products' is truncated twice in one block",
        ),
    ],
)
def test_what_can_not_be_truncated_is_told_with_its_line(shop: Shop, call: str, told: str):
    stocked(shop, CHANGE + call)
    refused = shop.run("upgrade", "head")
    assert refused.code == 8
    assert "000000000002" in refused.err
    assert told in refused.err


def test_integers_with_one_scale_are_not_truncated(shop: Shop):
    both = f"index.truncate('embedding', dims={CUT})\n    index.alter_field('embedding', datatype='int8')"
    stocked(shop, CHANGE + both, metric="l2")
    refused = shop.run("plan")
    assert "integers have one scale under L2" in refused.out


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_plan_tells_what_is_saved_and_which_neighbours_stay(shop: Shop, is_trained: bool):
    stocked(shop)
    for number in range(500):
        numbers = np.random.default_rng(number).normal(size=DIMS)
        if is_trained:
            numbers[CUT:] /= 100
        shop.client.hset(f"p:{number}", "embedding", numbers.astype("<f4").tobytes())
    told = " ".join(shop.run("plan").out.split())
    assert "embedding of products keeps 8 of 32 components, which saves <0.1 MB in the documents" in told
    assert "in a sample of 500 (overlap@10)" in told
    assert ("not to be trained" in told) == (not is_trained)
    share = re.search(r"of a vector (\d+)% stay the same", told)
    assert share is not None
    assert (int(share[1]) >= 90) == is_trained


def test_few_vectors_do_not_tell_which_neighbours_stay(shop: Shop):
    stocked(shop)
    assert "there are too few vectors to tell" in " ".join(shop.run("plan").out.split())


def test_clients_that_go_on_writing_whole_vectors_are_told_before(shop: Shop):
    stocked(shop)
    told = " ".join(shop.run("plan").out.split())
    assert (
        "what is written to products with 32 dimensions after the run is not converted: searches do not find "
        "it until it is written with 8 dimensions (old_form_writers)"
    ) in told
