"""Vectors in JSON documents are truncated, and come back in their own words from the backup."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from json_vector_documents import (
    CUT,
    DIMS,
    GROW,
    embedding,
    nearest,
    put,
    stocked,
    texts,
    truncated,
    vectors,
)
from patience import wait_until
from test_follow import following
from vector_documents import CHANGE, Meanwhile, applied, kill_before

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

REBUILD = ("--strategy", "rebuild")
WAYS = ((), REBUILD, ("--exclusive", *REBUILD))


def without(text: bytes, *path: str) -> bytes:
    """The text of a document with an empty array in the place of one."""
    document = json.loads(text)
    holder = document
    for name in path[:-1]:
        holder = holder[name]
    found = json.dumps(holder[path[-1]])
    begin = text.index(b'"' + path[-1].encode() + b'":[') + len(path[-1]) + 3
    assert json.loads(text[begin : text.index(b"]", begin) + 1]) == json.loads(found)
    return text[:begin] + text[text.index(b"]", begin) + 1 :]


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.slow_beyond(2)
def test_truncated_vectors_are_found_and_the_way_back_is_exact(shop: Shop, options: tuple[str, ...]):
    stocked(shop)
    before = texts(shop)

    applied(shop, *options)

    for key, numbers in vectors(shop).items():
        wanted = truncated(embedding(int(key[2:])))
        assert np.array_equal(np.float32(numbers), np.float32(wanted))
    # All else stays as it is, word for word and in its place.
    assert {key: without(text, "embedding") for key, text in texts(shop).items()} == {
        key: without(text, "embedding") for key, text in before.items()
    }
    assert nearest(shop, truncated(embedding(7)))[0] == b"p:7"
    assert shop.run("check").code == 0

    applied(shop, "-1", *options, verb="downgrade")

    assert texts(shop) == before
    assert nearest(shop, embedding(7))[0] == b"p:7"
    applied(shop, *options)
    assert len(vectors(shop)[b"p:7"]) == CUT


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("options", WAYS[:2])
@pytest.mark.parametrize("path", ["$.nested.vectors.v", '$["nested"].vectors["v"]'])
def test_nested_members_are_truncated_and_rolled_back(shop: Shop, path: str, options: tuple[str, ...]):
    stocked(shop, path=path)
    before = texts(shop)
    run = shop.run("upgrade", "head", "--json", *options).json["run"]
    assert all(len(found) == CUT for found in vectors(shop, "$.nested.vectors.v").values())
    assert all(len(found) == DIMS for found in vectors(shop, "$.other").values())
    assert nearest(shop, truncated(embedding(3)))[0] == b"p:3"
    assert shop.run("rollback", "--run", run).code == 0
    assert texts(shop) == before


@pytest.mark.parametrize("options", WAYS[:2])
@pytest.mark.slow_beyond(1)
def test_what_is_cut_off_as_it_is_keeps_its_words(shop: Shop, options: tuple[str, ...]):
    stocked(shop, CHANGE + f"index.truncate('embedding', dims={CUT}, renormalize=False)")
    before = texts(shop)
    applied(shop, *options)
    for key, text in texts(shop).items():
        cut = b",".join(before[key].split(b'"embedding":[')[1].split(b"]")[0].split(b",")[:CUT])
        assert b'"embedding":[' + cut + b"]" in text


@pytest.mark.parametrize("options", WAYS[:2])
@pytest.mark.slow_beyond(1)
def test_doubles_are_spelled_in_full(shop: Shop, options: tuple[str, ...]):
    stocked(shop, datatype="float64")
    applied(shop, *options)
    for key, numbers in vectors(shop).items():
        assert np.allclose(numbers, truncated(embedding(int(key[2:]))), rtol=1e-15, atol=0)


def test_the_plan_tells_what_is_saved_and_which_neighbours_stay(shop: Shop):
    stocked(shop)
    for number in range(500):
        put(shop, number)
    told = " ".join(shop.run("plan", *REBUILD).out.split())
    assert f"embedding of products keeps {CUT} of {DIMS} components, which saves" in told
    assert "% stay the same, in a sample of 500 (overlap@10)" in told
    result = shop.run("plan", *REBUILD, "--json").json
    kinds = [step["kind"] for step in result["revisions"][0]["steps"]]
    assert "rewrite_documents" in kinds
    assert "queries on products must send vectors of 8 dimensions" in told
    assert "with 32 dimensions after the run is not converted" in told


@pytest.mark.parametrize("options", WAYS[:2])
@pytest.mark.slow_beyond(1)
def test_documents_that_have_no_such_array_are_named(shop: Shop, options: tuple[str, ...]):
    stocked(shop)
    shop.client.execute_command("JSON.SET", "p:3", "$.embedding", "[1,2,3]")
    shop.client.execute_command("JSON.SET", "p:4", "$.embedding", '"text"')
    shop.client.execute_command("JSON.DEL", "p:5", "$.embedding")
    before = texts(shop)
    refused = shop.run("upgrade", *options)
    assert refused.code == 1
    assert "p:3: $.embedding: 3 components, expected 32" in refused.err
    assert "p:4: $.embedding: it is no array of numbers, expected one of 32" in refused.err
    assert texts(shop) == before
    applied(shop, *options, "--max-failures", "2")
    assert texts(shop)[b"p:3"] == before[b"p:3"]
    applied(shop, "-1", *options, "--max-failures", "2", verb="downgrade")
    assert texts(shop) == before


@pytest.mark.parametrize("options", WAYS[:2])
@pytest.mark.slow_beyond(1)
def test_vectors_without_an_original_are_named_and_lose_nothing_unasked(shop: Shop, options: tuple[str, ...]):
    stocked(shop)
    originals = texts(shop)
    applied(shop, *options)
    put(shop, 999, embedding=[1.0] * CUT)
    shop.client.execute_command("JSON.SET", "p:4", "$.embedding", json.dumps([0.5] * CUT))
    before = texts(shop)

    refused = shop.run("downgrade", "-1", *options)

    assert refused.code == 1
    assert "2 of 61 documents of products can't get back what they had: " in refused.err
    assert "p:4: $.embedding: written since it was truncated, so that no backup has its" in refused.err
    assert "--allow-lossy" in refused.err
    assert texts(shop) == before

    applied(shop, "-1", *options, "--allow-lossy", verb="downgrade")

    after = vectors(shop)
    assert after[b"p:4"] == [0.5] * CUT + [0] * (DIMS - CUT)
    assert after[b"p:999"] == [1] * CUT + [0] * (DIMS - CUT)
    kept = {key: text for key, text in texts(shop).items() if key not in {b"p:4", b"p:999"}}
    assert kept == {key: text for key, text in originals.items() if key != b"p:4"}


@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
@pytest.mark.parametrize("kind", ["rewrite_documents", "create_index", "record_revision"])
@pytest.mark.slow_beyond(2)
def test_a_run_that_was_killed_ends_as_one_that_was_not(shop: Shop, verb: Any, kind: Any):
    stocked(shop)
    before = texts(shop)
    if verb == "downgrade":
        applied(shop, *REBUILD)
    target = "head" if verb == "upgrade" else "-1"
    kill_before(shop, kind, verb, target, strategy="rebuild")
    assert shop.run(verb, target, *REBUILD).code == 0
    if verb == "upgrade":
        assert all(len(found) == CUT for found in vectors(shop).values())
        assert shop.run("rollback", "--run", shop.state("last_run")["run"]).code == 0
    assert texts(shop) == before


@pytest.mark.parametrize(
    "kind", ["copy_documents", "create_index", "wait_for_index", "swap_alias", "promote_documents"]
)
@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
@pytest.mark.slow_beyond(2)
def test_a_killed_run_with_search_up_goes_on_and_goes_back(shop: Shop, kind: Any, verb: str):
    stocked(shop)
    whole = texts(shop)
    if verb == "downgrade":
        applied(shop)
    target = "head" if verb == "upgrade" else "-1"
    kill_before(shop, kind, verb, target)
    assert shop.run(verb, target).code == 0
    if verb == "upgrade":
        assert all(len(found) == CUT for found in vectors(shop).values())
        assert shop.run("rollback", "--run", shop.state("last_run")["run"]).code == 0
    assert texts(shop) == whole


def test_both_forms_serve_while_expanded_and_follow_each_other(shop: Shop):
    stocked(shop)
    whole = texts(shop)
    assert shop.run("upgrade", "--phase", "expand").code == 0
    second = "$.embedding__000000000002"
    assert all(len(found) == CUT for found in vectors(shop, second).values())
    with following(shop):
        # A release that knows one member writes whole documents; another one writes the new form.
        put(shop, 5, title="other")
        shop.client.execute_command("JSON.SET", "p:6", "$.embedding", json.dumps(embedding(600)))
        put(shop, 700, embedding=[0.25] * CUT)
        shop.client.execute_command("JSON.DEL", "p:7", "$.embedding")
        wait_until(lambda: has(shop, "p:5", second) and has(shop, "p:700", second))
        wait_until(lambda: not has(shop, "p:7", second))
        wait_until(lambda: np.allclose(member(shop, "p:6", second), truncated(embedding(600)), rtol=1e-6))
        counts = wait_until(lambda: shop.run("status", "--json").json["while_expanded"])
    assert counts["born"] >= 1
    assert nearest(shop, embedding(9))[0] == b"p:9"
    assert shop.run("upgrade", "--phase", "contract").code == 0
    after = vectors(shop)
    assert after[b"p:700"] == [0.25] * CUT
    assert nearest(shop, truncated(embedding(600)))[0] == b"p:6"
    assert not any(b"__000000000002" in text for text in texts(shop).values())
    told = json.loads(texts(shop)[b"p:7"])
    assert "embedding" not in told
    applied(shop, "-1", "--allow-lossy", verb="downgrade")
    kept = texts(shop)
    changed = {b"p:5", b"p:6", b"p:7", b"p:700"}
    assert {key: kept[key] for key in kept.keys() - changed} == {
        key: whole[key] for key in whole.keys() - changed
    }
    assert np.allclose(vectors(shop)[b"p:6"], embedding(600), rtol=1e-12)


def has(shop: Shop, key: str, path: str) -> bool:
    return bool(json.loads(shop.client.execute_command("JSON.GET", key, path)))


def member(shop: Shop, key: str, path: str) -> list[float]:
    found = json.loads(shop.client.execute_command("JSON.GET", key, path))
    return found[0] if found and len(found[0]) == CUT else [0] * CUT


def test_a_rollback_while_expanded_leaves_no_second_member(shop: Shop):
    stocked(shop, path="$.nested.vectors.v")
    whole = texts(shop)
    assert shop.run("upgrade", "--phase", "expand").code == 0
    assert has(shop, "p:1", "$.nested.vectors.v__000000000002")
    assert shop.run("rollback").code == 0
    assert texts(shop) == whole


def test_writers_of_the_old_form_are_converted_meanwhile(shop: Shop):
    stocked(shop)

    def write() -> None:
        shop.client.execute_command("JSON.SET", "p:5", "$.embedding", json.dumps(embedding(500)))
        put(shop, 501)

    project = commands.Project.load(shop.folder / "redismigrate.toml")
    options = MigrationOptions(strategy="rebuild")
    commands.upgrade(project, "head", options, Meanwhile({"wait_for_index": write}))
    found = vectors(shop)
    assert np.allclose(found[b"p:5"], truncated(embedding(500)), rtol=1e-6)
    assert np.allclose(found[b"p:501"], truncated(embedding(501)), rtol=1e-6)
    assert nearest(shop, truncated(embedding(501)))[0] == b"p:501"
    assert shop.run("rollback", "--run", shop.state("last_run")["run"]).code == 0
    assert np.allclose(vectors(shop)[b"p:5"], embedding(500), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"path": "$.embeddings[*]"}, "truncated at plain paths only"),
        ({"path": "$..embedding"}, "truncated at plain paths only"),
    ],
)
def test_paths_that_are_not_one_member_are_refused(shop: Shop, field: dict[str, str], message: str):
    attrs = {"algorithm": "flat", "dims": DIMS, "distance_metric": "cosine", "datatype": "float32"}
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [{"name": "embedding", "type": "vector", "attrs": attrs, **field}],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(CHANGE + f"index.truncate('embedding', dims={CUT})", GROW)
    refused = shop.run("plan")
    assert refused.code == 8
    assert message in " ".join(refused.err.split())
