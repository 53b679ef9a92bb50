"""The runner that tests of migrations use: up and down the history, documents in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from redis.commands.search.query import Query
from redis.exceptions import ResponseError

from redismigrate.commands import Project, plan
from redismigrate.errors import PlanBlocked, SchemaError, UsageError
from redismigrate.testing import MigrationRunner
from redismigrate.testing.interruption import upgrade_interrupted
from redismigrate.testing.scratch_server import ScratchProject, ScratchServer, scratch_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shop

    from redismigrate.testing.document_forms import SampleDocuments

PRODUCTS = """op.create_index({{
    "index": {{"name": "products", "prefix": "p:", "storage_type": "{storage}"}},
    "fields": [
        {{"name": "brand", "type": "tag"}},
        {{"name": "embedding", "type": "vector",
          "attrs": {{"algorithm": "flat", "dims": 2, "datatype": "{datatype}", "distance_metric": "l2"}}}},
    ],
}})"""
FLOATS = PRODUCTS.format(storage="hash", datatype="float32")


@pytest.fixture
def runner_for(shop: Shop, redis_url: str) -> Iterator[Callable[..., MigrationRunner]]:
    """Makes the runner of the shop, once its scripts are written."""
    made: list[MigrationRunner] = []

    def make(samples: SampleDocuments | None = None) -> MigrationRunner:
        settings = Project.load(shop.folder / "redismigrate.toml", {"url": redis_url}).settings
        made.append(
            MigrationRunner(ScratchProject(settings), ScratchServer(redis_url, is_private=True), samples)
        )
        return made[-1]

    yield make
    for runner in made:
        with runner:
            pass


def alter(separator: str) -> str:
    return f"with op.index('products') as index:\n    index.alter_field('brand', separator={separator!r})"


@pytest.fixture
def branches(shop: Shop) -> tuple[str, str, str, str]:
    """A base, two revisions on it, and their merge."""
    base = shop.write(FLOATS, "op.drop_index('products')")
    one = shop.write(alter("|"), alter(","), down_revision=base)
    two = shop.write("op.create_alias('catalog', 'products')", "op.drop_alias('catalog')", down_revision=base)
    return base, one, two, shop.write(down_revision=(one, two))


def test_a_step_up_applies_one_revision_whatever_the_history_is_like(runner_for, branches):
    runner = runner_for()
    assert runner.history == branches
    assert runner.heads == branches[-1:]
    assert runner.current == ()
    assert [runner.migrate_up_one() for _ in range(5)] == [*((revision,) for revision in branches), ()]
    assert runner.current == branches[-1:]


def test_a_step_down_undoes_one_revision_whatever_the_history_is_like(runner_for, branches):
    runner = runner_for()
    runner.migrate_up_to()
    steps = [runner.migrate_down_one() for _ in range(5)]
    assert steps == [*((revision,) for revision in reversed(branches)), ()]
    assert runner.current == ()


def test_before_a_revision_all_is_applied_that_it_stands_on_and_no_more(runner_for, branches):
    base, one, two, merge = branches
    runner = runner_for()
    assert runner.migrate_up_before(base) == ()
    assert runner.migrate_up_before(two) == (base,)
    assert runner.migrate_up_before("head") == (one, two)
    assert runner.current == (one, two)
    assert runner.migrate_up_to(merge[:12]) == (merge,)
    with pytest.raises(UsageError, match=rf"^Revision {two} is applied already"):
        runner.migrate_up_before(two)


def test_before_a_revision_its_dependencies_are_applied(runner_for, shop):
    first = shop.write()
    other = shop.write(down_revision=None)
    last = shop.write(down_revision=first, depends_on=(other,))
    assert set(runner_for().migrate_up_before(last)) == {first, other}


def test_down_to_a_revision_leaves_it_applied(runner_for, branches):
    runner = runner_for()
    runner.migrate_up_to("heads")
    assert runner.migrate_down_to(branches[0]) == tuple(reversed(branches[1:]))
    assert runner.current == branches[:1]
    assert runner.migrate_down_to("base") == branches[:1]


def test_a_round_trip_ends_with_the_revision_applied(runner_for, branches):
    runner = runner_for()
    for revision in branches:
        runner.roundtrip(revision)
        assert revision in runner.state.head.applied


def test_a_round_trip_that_does_not_lead_back_says_where_to(runner_for, shop):
    shop.write(FLOATS, "op.drop_index('products')")
    revision = shop.write(alter("|"), alter(";"))
    with pytest.raises(AssertionError) as caught:
        runner_for().roundtrip(revision)
    assert str(caught.value) == (
        f"The downgrade of {revision} (revision 2) does not lead back:\n"
        "  index products: field 'brand': separator changes from ',' to ';'"
    )


def test_a_round_trip_that_changes_documents_says_which(runner_for, shop):
    shop.write(FLOATS, "op.drop_index('products')")
    change = "lambda client: client.hset('p:1', mapping={'brand': 'x', 'added': 1})"
    revision = shop.write(f"op.run({change}, lambda client: client.delete('p:2'))")
    runner = runner_for({"products": [{"brand": "acme"}, {"brand": "globex"}]})
    with pytest.raises(AssertionError) as caught:
        runner.roundtrip(revision)
    assert str(caught.value).splitlines()[1:] == [
        "  key p:1: brand changes from acme to x",
        "  key p:1: added changes from nothing to 1",
        "  key p:2 is gone",
    ]


def test_a_revision_without_a_way_back_is_refused_as_on_the_command_line(runner_for, shop):
    shop.write("op.run(lambda client: None)")
    runner = runner_for()
    runner.migrate_up_to()
    with pytest.raises(PlanBlocked):
        runner.migrate_down_one()


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("float32", np.float32),
        ("float64", np.float64),
        ("float16", np.float16),
        ("bfloat16", ml_dtypes.bfloat16),
    ],
)
def test_vectors_of_hashes_are_stored_as_the_index_reads_them(runner_for, shop, client, datatype, dtype):
    shop.write(PRODUCTS.format(storage="hash", datatype=datatype))
    runner = runner_for()
    runner.migrate_up_to()
    assert runner.insert_documents("products", [{"embedding": [0.5, 2]}, {"embedding": np.ones(2)}]) == (
        "p:1",
        "p:2",
    )
    assert client.hget("p:1", "embedding") == np.array([0.5, 2], dtype).tobytes()
    assert runner.search("products").total == 2
    stored = runner.documents("products")["p:1"]["embedding"]
    assert stored.dtype == dtype
    assert stored.tolist() == [0.5, 2]


def test_queries_take_vectors_in_the_datatype_of_the_moment(runner_for, shop):
    shop.write(FLOATS)
    change = "with op.index('products') as index:\n    index.alter_field('embedding', datatype='float16')"
    shop.write(change)
    runner = runner_for({"products": {"p:a": {"embedding": [0, 1]}, "p:b": {"embedding": [5, 5]}}})
    query = Query("*=>[KNN 1 @embedding $near]").no_content().dialect(2)
    for size in (8, 4):
        runner.migrate_up_one()
        runner.insert_sample_documents()
        vector = runner.vector("products", "embedding", [0, 1])
        assert len(vector) == size
        assert [hit.id for hit in runner.search("products", query, {"near": vector}).docs] == ["p:a"]
    with pytest.raises(UsageError, match=r"^Field 'brand' of index 'products' holds no vectors"):
        runner.vector("products", "brand", [0, 1])


def test_json_documents_are_stored_as_they_are(runner_for, shop):
    shop.write(PRODUCTS.format(storage="json", datatype="float32"))
    runner = runner_for()
    runner.migrate_up_to()
    document = {"brand": "acme", "embedding": np.array([0.5, 1]), "parts": [{"size": np.int64(3)}]}
    assert runner.insert_documents("products", [document]) == ("p:1",)
    assert runner.documents("products") == {
        "p:1": {"brand": "acme", "embedding": [0.5, 1.0], "parts": [{"size": 3}]}
    }
    assert runner.search("products", "@brand:{acme}").total == 1


def test_lists_become_tags_and_text_stays_text(runner_for, shop):
    shop.write(FLOATS.replace('"type": "tag"}', '"type": "tag", "attrs": {"separator": "|"}}'))
    runner = runner_for()
    runner.migrate_up_to()
    runner.insert_documents("products", {"p:x": {"brand": ["a", "b"], "name": "café", "price": 3}})
    assert runner.documents("products") == {"p:x": {"brand": "a|b", "name": "café", "price": "3"}}


def test_documents_get_keys_that_are_free(runner_for, shop, client):
    shop.write(FLOATS)
    runner = runner_for()
    runner.migrate_up_to()
    client.hset("p:2", "brand", "acme")
    assert runner.insert_documents("products", [{"brand": "a"}, {"brand": "b"}]) == ("p:1", "p:3")


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ({"q:1": {}}, "The key 'q:1' is none of index 'products'."),
        ({1: {"brand": "a"}}, "The key 1 is none of index 'products'."),
        ([{"embedding": [1, 2, 3]}], "p:1: Field 'embedding' takes vectors of 2 numbers, not of shape (3,)."),
        (
            [{"embedding": [[1, 2]]}],
            "p:1: Field 'embedding' takes vectors of 2 numbers, not of shape (1, 2).",
        ),
        ([{"embedding": ["a", "b"]}], "p:1: Field 'embedding' takes numbers, not ['a', 'b']."),
        ([{"brand": "a"}, {}], "p:2: There is no hash without fields."),
        ([{"brand": "a"}, {"price": None}], "p:2: Field 'price' of a hash can't hold None."),
        ([{"brand": "a", "sold": True}], "p:1: Field 'sold' of a hash can't hold True."),
        ([{"brand": "a", "sizes": [1, 2]}], "p:1: Field 'sizes' of a hash can't hold [1, 2]."),
    ],
)
def test_documents_that_no_index_would_find_are_refused(runner_for, shop, client, documents, message):
    shop.write(FLOATS)
    runner = runner_for()
    runner.migrate_up_to()
    with pytest.raises(SchemaError) as caught:
        runner.insert_documents("products", documents)
    assert caught.value.message == message
    assert not [key for key in client.scan_iter() if key.startswith((b"p:", b"q:"))]


def test_what_the_server_refuses_half_way_is_removed_as_well(shop, client, redis_url):
    shop.write(FLOATS, "op.drop_index('products')")
    settings = Project.load(shop.folder / "redismigrate.toml", {"url": redis_url}).settings
    with MigrationRunner(ScratchProject(settings), ScratchServer(redis_url, is_private=False)) as runner:
        runner.migrate_up_to()
        client.set("p:2", "no hash")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            runner.insert_documents("products", {"p:1": {"brand": "a"}, "p:2": {"brand": "b"}})
        assert client.exists("p:1")
    assert client.keys() == []


def test_json_that_is_none_is_refused(runner_for, shop):
    shop.write(PRODUCTS.format(storage="json", datatype="float32"))
    runner = runner_for()
    runner.migrate_up_to()
    with pytest.raises(SchemaError) as caught:
        runner.insert_documents("products", [{"brand": {"a"}}])
    assert caught.value.message == "p:1 can't be stored as JSON: {'a'} is nothing that JSON has."


def test_an_index_that_does_not_exist_yet_takes_no_documents(runner_for, shop):
    shop.write(FLOATS)
    with pytest.raises(SchemaError, match=r"^There is no index products at this revision"):
        runner_for().insert_documents("products", [{}])


def test_samples_are_inserted_once_their_index_exists(runner_for, shop):
    shop.write()
    shop.write(FLOATS)
    runner = runner_for({"products": [{"brand": "acme"}], "others": [{"brand": "never"}]})
    for documents in (0, 1, 1):
        runner.migrate_up_one()
        runner.insert_sample_documents()
        assert len([key for key in runner.client.scan_iter() if key.startswith(b"p:")]) == documents


def test_a_reset_begins_anew(runner_for, shop, client):
    shop.write(FLOATS)
    runner = runner_for({"products": [{"brand": "acme"}]})
    for _ in range(2):
        runner.migrate_up_to()
        runner.insert_sample_documents()
        assert len(runner.documents("products")) == 1
        runner.reset()
        assert client.keys() == []


def test_an_interrupted_upgrade_is_ended_once_at_each_of_its_steps(runner_for, shop):
    shop.write(FLOATS)
    revision = shop.write(alter("|"))
    runner = runner_for({"products": [{"brand": "acme"}]})
    runner.migrate_up_one()
    runner.insert_sample_documents()
    steps = plan(runner.project, revision).revisions[0].steps
    assert upgrade_interrupted(runner.project, revision, runner.options) == len(steps)
    assert runner.current == (revision,)


def test_an_interrupted_function_is_carried_out_once_more(runner_for, shop, client):
    revision = shop.write("op.run(lambda client: client.incr('calls'))")
    runner = runner_for()
    upgrade_interrupted(runner.project, revision, runner.options)
    assert client.get("calls") == b"2"


def test_an_embedded_server_that_keeps_its_data_is_not_emptied(monkeypatch, tmp_path):
    monkeypatch.setenv("REDISMIGRATE_TEST_URL", f"embedded://{tmp_path}")
    with scratch_server() as scratch:
        assert not scratch.is_private
    monkeypatch.setenv("REDISMIGRATE_TEST_URL", "embedded://")
    with scratch_server() as scratch:
        assert scratch.is_private
