"""What a survey finds out about documents before a plan is made, on real servers."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from redismigrate.execution.indexes.survey import survey
from redismigrate.operations.changes import AlterField, ChangePrefix, RenameField, RenameTo, SetOptions
from redismigrate.operations.operation_types import ChangeIndex, CreateIndex
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.redis_server.connection import connect
from redismigrate.schema import IndexSchema, NumericField, TagField, TextField, VectorField
from redismigrate.schema.create import create_arguments
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.json_paths import WHOLE_DOCUMENT

DIMS = 16
TO_FLOAT16 = AlterField("embedding", {"datatype": "FLOAT16"})
VECTOR = VectorField(name="embedding", algorithm="FLAT", dims=DIMS)
PRODUCTS = IndexSchema(
    name="products", prefixes=("p:",), fields=(TextField(name="title"), NumericField(name="price"), VECTOR)
)


@pytest.fixture
def server(redis_url):
    with connect(redis_url) as server:
        yield server


def revision(*operations, number=1):
    return RecordedRevision(f"{number:012x}", "upgrade", "", (), (), "00", operations)


def create(server, schema):
    server.execute(*create_arguments(schema))


def catalog_of(*schemas):
    return Catalog({schema.name: IndexDefinition.plain(schema) for schema in schemas})


def add_documents(server, count, prefix="p:", **fields):
    pipeline = server.client.pipeline(transaction=False)
    for number in range(count):
        pipeline.hset(f"{prefix}{number}", mapping=fields)
    pipeline.execute()


def sample_of(server, *changes, schema=PRODUCTS):
    inventory = survey(server, "shop", catalog_of(schema), [revision(ChangeIndex(schema.name, changes))])
    return inventory.samples.get(schema.name)


def as_bytes(*numbers, dtype="<f4"):
    return np.resize(np.array(numbers, dtype), DIMS).tobytes()


def test_a_sample_tells_how_many_documents_have_a_field_and_how_long_it_is(server):
    create(server, PRODUCTS)
    add_documents(server, 100, title="x" * 30, embedding=as_bytes(0.5))
    add_documents(server, 100, prefix="p:bare", price=1)
    sample = sample_of(server, TO_FLOAT16)
    assert sample.documents == 200
    assert sample.fields["title"].share == 0.5
    assert sample.fields["title"].mean_bytes == 30
    assert sample.fields["embedding"].share == 0.5
    assert sample.fields["embedding"].mean_bytes == 4 * DIMS
    assert sample.fields["embedding"].wrong_length == 0
    assert 3 <= sample.key_bytes <= 9
    assert "price" not in sample.fields


def test_a_sample_tells_the_range_of_the_vectors(server):
    add_documents(server, 10, embedding=as_bytes(-0.25, 0.5))
    server.client.hset("p:far", "embedding", as_bytes(0.0, -3.0))
    field = sample_of(server, TO_FLOAT16).fields["embedding"]
    assert (field.smallest, field.largest, field.largest_magnitude) == (-3.0, 0.5, 3.0)


def test_numbers_that_are_none_are_left_out_of_the_range(server):
    server.client.hset("p:1", "embedding", as_bytes(1.0, float("nan"), float("inf"), -2.0))
    field = sample_of(server, TO_FLOAT16).fields["embedding"]
    assert (field.smallest, field.largest) == (-2.0, 1.0)


def test_vectors_of_a_wrong_length_are_counted_and_not_read(server):
    add_documents(server, 20, embedding=as_bytes(1.0))
    server.client.hset("p:long", "embedding", b"\xff" * 1000)
    server.client.hset("p:short", "embedding", b"x")
    field = sample_of(server, TO_FLOAT16).fields["embedding"]
    assert field.wrong_length == 2
    assert (field.smallest, field.largest) == (1.0, 1.0)


def test_a_huge_value_is_never_read(server):
    add_documents(server, 20, embedding=as_bytes(1.0), title="short")
    server.client.hset("p:huge", mapping={"embedding": bytes(30_000_000), "title": bytes(30_000_000)})
    sent_before = server.client.info("stats")["total_net_output_bytes"]
    sample = sample_of(server, TO_FLOAT16)
    assert server.client.info("stats")["total_net_output_bytes"] - sent_before < 1_000_000
    assert sample.fields["title"].mean_bytes > 1_000_000


def test_no_more_than_two_megabytes_of_vectors_are_read(server):
    wide = VectorField(name="embedding", algorithm="FLAT", dims=25_000)
    add_documents(server, 60, embedding=bytes(100_000))
    sent_before = server.client.info("stats")["total_net_output_bytes"]
    sample = sample_of(server, TO_FLOAT16, schema=PRODUCTS.with_fields((wide,)))
    assert 500_000 < server.client.info("stats")["total_net_output_bytes"] - sent_before < 2_200_000
    assert sample.fields["embedding"].mean_bytes == 100_000


def test_documents_that_are_rare_among_many_keys_are_asked_of_the_index(server):
    create(server, PRODUCTS)
    server.client.eval("for i = 1, 200000 do redis.call('SET', 'other:' .. i, 1) end", 0)
    add_documents(server, 40, title="x", embedding=as_bytes(1.0))
    while int(server.execute("FT.SEARCH", "products", "*", "LIMIT", "0", "0")[0]) < 40:
        time.sleep(0.01)
    assert sample_of(server, TO_FLOAT16).documents == 40


def test_documents_of_several_prefixes_are_sampled(server):
    add_documents(server, 50, prefix="a:", title="x")
    add_documents(server, 50, prefix="b:", title="x")
    add_documents(server, 50, prefix="c:", title="x")
    assert sample_of(server, TO_FLOAT16, schema=PRODUCTS.with_options(prefixes=("a:", "b:"))).documents == 100


def test_an_index_without_documents_has_no_sample(server):
    create(server, PRODUCTS)
    server.client.set("p:1", "no hash")
    assert sample_of(server, TO_FLOAT16) is None


def test_a_sample_of_json_documents_tells_the_length_of_their_texts(server):
    text = json.dumps({"title": "x" * 200, "tags": ["a", "b"]}, separators=(",", ":"))
    for number in range(10):
        server.execute("JSON.SET", f"p:{number}", "$", text)
    schema = IndexSchema(
        name="products",
        storage_type="json",
        prefixes=("p:",),
        fields=(
            TextField(name="title"),
            TagField(name="tags", path="$.tags[*]"),
            TagField(name="none", path="$.none"),
            TagField(name="old", path=".none"),
        ),
    )
    sample = sample_of(server, AlterField("title", {"weight": 2.0}), schema=schema)
    assert sample.fields[WHOLE_DOCUMENT].mean_bytes == len(text)
    assert 200 <= sample.fields["$.title"].mean_bytes < 250
    assert sample.fields["$.title"].share == 1
    assert sample.fields["$.tags[*]"].mean_bytes > 0
    assert sample.fields["$.none"].share == sample.fields[".none"].share == 0


@pytest.fixture
def without_right(redis_url, server):
    """Connects as a user who may do all but one command."""
    with connect(redis_url) as narrow:

        def connected(command):
            server.execute("ACL", "SETUSER", "narrow", "on", "nopass", "~*", "+@all", f"-{command}")
            narrow.execute("AUTH", "narrow", "any")
            return narrow

        yield connected
    server.execute("ACL", "DELUSER", "narrow")


def test_lengths_that_the_user_may_not_ask_for_are_left_out_of_the_sample(server, without_right):
    add_documents(server, 10, title="x", embedding=as_bytes(1.0))
    sample = sample_of(without_right("hstrlen"), TO_FLOAT16)
    assert sample.fields == {}
    assert sample.documents == 10


def test_a_plan_of_a_user_who_may_not_scan_does_without_a_sample(server, without_right):
    add_documents(server, 10, title="x")
    assert sample_of(without_right("scan"), TO_FLOAT16) is None


def test_a_user_who_may_not_ask_the_index_gets_the_documents_of_scan(server, without_right):
    create(server, PRODUCTS)
    add_documents(server, 10, title="x")
    assert sample_of(without_right("ft.aggregate"), TO_FLOAT16).documents == 10


def test_an_index_that_is_renamed_first_is_sampled_under_its_first_name(server):
    add_documents(server, 10, embedding=as_bytes(1.0))
    chain = [
        revision(ChangeIndex("products", (RenameTo("items"),)), number=1),
        revision(ChangeIndex("items", (TO_FLOAT16,)), number=2),
    ]
    inventory = survey(server, "shop", catalog_of(PRODUCTS), chain)
    assert list(inventory.samples) == ["products"]
    assert inventory.samples["products"].fields["embedding"].wrong_length == 0


def test_documents_of_an_index_that_is_yet_to_be_created_are_sampled(server):
    add_documents(server, 10, title="x" * 50)
    inventory = survey(server, "shop", Catalog(), [revision(CreateIndex(PRODUCTS))])
    assert inventory.samples["products"].fields["title"].mean_bytes == 50


@pytest.mark.parametrize(
    "change", [TO_FLOAT16, RenameField("title", "name"), ChangePrefix("p:", "q:")], ids=lambda c: c.kind
)
def test_the_schemas_of_all_indexes_are_read_where_documents_may_be_rewritten(server, change):
    other = IndexSchema(name="other", fields=(TagField(name="tag"),))
    create(server, PRODUCTS)
    create(server, other)
    chain = [revision(ChangeIndex("products", (change,)))]
    inventory = survey(server, "shop", catalog_of(PRODUCTS), chain)
    assert sorted(inventory.schemas) == ["other", "products"]
    assert inventory.schemas["other"].fields[0].name == "tag"


def test_the_schemas_of_other_indexes_are_not_read_for_nothing(server):
    create(server, PRODUCTS)
    chain = [revision(ChangeIndex("products", (SetOptions({"stopwords": []}),)))]
    assert survey(server, "shop", catalog_of(PRODUCTS), chain).schemas == {}


def test_a_survey_tells_the_room_for_backups_and_all_keys(server, tmp_path):
    add_documents(server, 7, title="x")
    inventory = survey(server, "shop", Catalog(), (), tmp_path / "not" / "there")
    assert inventory.backup_free_bytes > 0
    assert inventory.total_keys == 7
    assert survey(server, "shop", Catalog()).backup_free_bytes is None


def test_a_sample_is_quick_among_many_keys(server):
    server.client.eval("for i = 1, 300000 do redis.call('HSET', 'p:' .. i, 'title', 'x') end", 0)
    create(server, PRODUCTS.with_options(skip_initial_scan=True))
    sample_of(server, TO_FLOAT16)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        sample_of(server, TO_FLOAT16)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    assert sum(1 for _ in server.client.scan_iter(count=1000)) == 300_000
    assert min(seconds) < time.perf_counter() - started


def test_a_slow_server_makes_estimates_longer(server):
    add_documents(server, 500, embedding=as_bytes(1.0))
    sample = sample_of(server, TO_FLOAT16)
    assert 0.5 <= sample.slowness <= 20
    assert replace(sample, read_seconds=1.0).slowness == 20
    assert replace(sample, read_seconds=0.0).slowness == 0.5
