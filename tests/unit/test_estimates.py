"""What plans tell of costs: in the right order of magnitude, and scaled by what a sample shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import SERVER

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.planning.document_estimates import (
    backup_estimate,
    catch_up_estimate,
    rewrite_estimate,
)
from redismigrate.planning.document_sample import DocumentSample, FieldSample
from redismigrate.planning.estimates import build_estimate, memory_of
from redismigrate.planning.index_memory import allocated_bytes
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Estimate, Step
from redismigrate.planning.room import why_backup_does_not_fit
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema import IndexSchema, NumericField, TagField, TextField, VectorField
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.json_paths import WHOLE_DOCUMENT
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.schema.read import IndexStatistics

# As fast as the reference machine: no bytes, and the time for none.
AVERAGE = DocumentSample(documents=500, key_bytes=9, read_seconds=4.0e-6, read_bytes=0)


def vector(algorithm="FLAT", dims=384, datatype="FLOAT32", **parameters):
    return VectorField(name="embedding", algorithm=algorithm, dims=dims, datatype=datatype, **parameters)


def definition(*fields, **options):
    return IndexDefinition.plain(IndexSchema(name="products", prefixes=("p:",), fields=fields, **options))


def inventory_of(index, documents, sample=None, size_bytes=0, **values):
    statistics = IndexStatistics(
        num_docs=documents,
        max_doc_id=documents,
        is_indexing=False,
        percent_indexed=1.0,
        indexing_failures=0,
        last_failure_key=None,
        last_failure_error=None,
        size_bytes=size_bytes,
    )
    live = LiveIndex(
        physical=index.physical,
        schema=index.schema,
        statistics=statistics,
        synonyms={},
        has_vector_details=True,
        vector_labels={},
    )
    samples = {} if sample is None else {index.served: sample}
    return Inventory("shop", SERVER, live={index.physical: live}, samples=samples, **values)


def built(*fields, documents=20_000, sample=None, **options):
    inventory = Inventory(
        "shop",
        SERVER,
        matching_keys={"products": documents},
        samples={} if sample is None else {"products": sample},
    )
    return build_estimate(None, definition(*fields, **options), inventory)


def with_fields(sample=AVERAGE, **fields):
    return replace(sample, fields=fields)


def recoding(after="FLOAT16", before="FLOAT32", dims=384):
    return Rewrite("hash", (Recoding("embedding", dims, "COSINE", before, after),))


@pytest.mark.parametrize(
    ("field", "seconds", "megabytes"),
    [
        (NumericField(name="n"), 0.14, 3.0),
        (vector(dims=128), 0.17, 17.0),
        (vector(dims=768), 0.19, 77.3),
        (vector(datatype="FLOAT16"), 0.17, 22.2),
        (vector("HNSW", dims=128), 4.65, 23.8),
        (vector("HNSW", dims=384), 9.31, 47.4),
        (vector("HNSW", dims=768), 16.1, 84.0),
        (vector("HNSW", datatype="FLOAT64"), 15.6, 84.0),
        (vector("HNSW", m=32), 14.1, 50.8),
        (vector("HNSW", ef_construction=100), 6.96, 47.4),
    ],
)
def test_a_build_is_told_as_it_was_measured(field, seconds, megabytes):
    estimate = built(field)
    assert seconds / 2 < estimate.seconds < seconds * 2
    assert megabytes / 1.2 < estimate.memory_bytes / 1e6 < megabytes * 1.2


@pytest.mark.parametrize(
    ("text_bytes", "seconds", "bytes_each"),
    [(44, 10e-6, 381), (1_406, 114e-6, 2_238), (10_573, 740e-6, 13_004)],
)
def test_text_is_told_by_the_length_that_a_sample_shows(text_bytes, seconds, bytes_each):
    sample = with_fields(title=FieldSample(1.0, text_bytes))
    estimate = built(TextField(name="title"), documents=100_000, sample=sample)
    assert seconds / 2 < estimate.seconds / 100_000 < seconds * 2
    assert bytes_each / 2 < estimate.memory_bytes / 100_000 < bytes_each * 2


def test_text_that_few_documents_have_takes_less():
    field = TextField(name="title")
    rare = built(field, sample=with_fields(title=FieldSample(0.1, 1000)))
    common = built(field, sample=with_fields(title=FieldSample(1.0, 1000)))
    assert rare.memory_bytes < common.memory_bytes / 3


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"sortable": True}, {}),
        ({"withsuffixtrie": True}, {}),
    ],
)
def test_what_a_text_field_keeps_besides_takes_memory(more, less):
    assert (
        built(TextField(name="t", **more)).memory_bytes
        > built(TextField(name="t", **less)).memory_bytes * 1.1
    )


def test_the_first_vector_takes_a_block_of_memory_and_none_takes_none():
    field = vector(dims=4096)
    assert 20.5e6 < built(field, documents=1).memory_bytes < 21.5e6  # 21.1 MB, measured
    none = with_fields(embedding=FieldSample(0.0, 0.0))
    assert built(field, documents=500, sample=none).memory_bytes < 100_000


def test_vectors_that_few_documents_have_are_built_sooner():
    rare = with_fields(embedding=FieldSample(0.1, 1536))
    assert built(vector("HNSW"), sample=rare).seconds < built(vector("HNSW")).seconds / 5


def test_an_index_without_offsets_takes_less_memory():
    field = TextField(name="t")
    assert built(field, no_offsets=True).memory_bytes < built(field).memory_bytes


def test_a_build_on_json_takes_longer_for_its_vectors():
    assert built(vector(), storage_type="json").seconds > built(vector()).seconds * 1.5


def test_a_graph_grows_slower_the_more_vectors_it_has():
    few, many = (built(vector("HNSW"), documents=count).seconds for count in (20_000, 2_000_000))
    assert 100 * few < many < 200 * few


def test_few_documents_among_many_keys_cost_the_scan():
    field = NumericField(name="n")
    index = definition(field)
    alone = build_estimate(index, index, inventory_of(index, 100))
    among_others = build_estimate(index, index, inventory_of(index, 100, total_keys=1_000_000))
    assert alone.seconds < 0.01
    assert 0.5 < among_others.seconds < 5


def test_an_index_without_documents_costs_nothing():
    assert built(vector(), TextField(name="t"), documents=0) == Estimate()


def test_searches_miss_documents_only_while_an_index_is_rebuilt():
    index = definition(vector())
    inventory = inventory_of(index, 100_000)
    assert build_estimate(index, index, inventory, "alter").search_downtime_seconds == 0
    rebuilt = build_estimate(index, index, inventory, "rebuild")
    assert rebuilt.search_downtime_seconds == rebuilt.seconds > 0


def test_a_rebuild_adds_what_the_new_index_takes_more():
    old, new = definition(vector()), definition(vector("HNSW"))
    added = build_estimate(old, new, inventory_of(old, 20_000), "rebuild").memory_bytes
    assert 5e6 < added < 9e6  # 340 bytes each, measured
    assert build_estimate(new, old, inventory_of(new, 20_000), "rebuild").memory_bytes == 0


def test_the_live_index_tells_what_its_texts_take():
    old = definition(TextField(name="t"))
    new = definition(TextField(name="t"), TextField(name="more"))
    told = [
        build_estimate(old, new, inventory_of(old, 5_000, size_bytes=size), "alter").memory_bytes
        for size in (1_000_000, 35_000_000)
    ]
    assert told[1] > 10 * told[0]


def test_a_slower_server_takes_longer_for_everything():
    index, slow = definition(vector()), replace(AVERAGE, read_seconds=40e-6)
    assert slow.slowness == pytest.approx(10)
    average, slowed = (inventory_of(index, 100_000, sample) for sample in (AVERAGE, slow))
    for estimate in (
        lambda inventory: build_estimate(index, index, inventory),
        lambda inventory: rewrite_estimate(index, recoding(), inventory, exclusive=True),
        lambda inventory: catch_up_estimate(index, recoding(), inventory),
    ):
        assert estimate(slowed).seconds == pytest.approx(10 * estimate(average).seconds, rel=0.05)
    backup = [backup_estimate(index, recoding(), inventory).seconds for inventory in (average, slowed)]
    assert 3 * backup[0] < backup[1] < 10 * backup[0]  # the disk is not the server's


@given(seconds=st.floats(0, 1), size_bytes=st.floats(0, 1e6))
def test_chance_makes_nothing_very_slow_or_fast(seconds, size_bytes):
    assert 0.5 <= replace(AVERAGE, read_seconds=seconds, read_bytes=size_bytes).slowness <= 20


def test_a_backup_holds_the_vectors_and_the_keys():
    index = definition(vector(dims=768))
    estimate = backup_estimate(index, recoding(dims=768), inventory_of(index, 100_000, AVERAGE))
    assert estimate.documents == 100_000
    assert estimate.bytes_read == 100_000 * 3072
    assert 100_000 * (3072 + 30) < estimate.backup_bytes < 100_000 * (3072 + 50)
    assert 1 < estimate.seconds < 5
    assert estimate.search_downtime_seconds == estimate.memory_bytes == estimate.bytes_written == 0


def test_documents_without_a_vector_are_not_read_or_written():
    index = definition(vector())
    sample = with_fields(embedding=FieldSample(0.25, 1536))
    inventory = inventory_of(index, 1000, sample)
    assert backup_estimate(index, recoding(), inventory).bytes_read == 1000 * 1536 / 4
    assert rewrite_estimate(index, recoding(), inventory, exclusive=True).bytes_written == 1000 * 768 / 4


def test_values_that_move_within_hashes_are_not_read():
    index = definition(TextField(name="desc"))
    rewrite = Rewrite("hash", renames=(PathRename("desc", "description"),))
    inventory = inventory_of(index, 100_000, with_fields(desc=FieldSample(1.0, 5000)))
    backup = backup_estimate(index, rewrite, inventory)
    assert backup.bytes_read == 0
    assert backup.backup_bytes < 100_000 * 50
    rewritten = rewrite_estimate(index, rewrite, inventory, exclusive=True)
    assert rewritten.bytes_written == 100_000 * 5000
    assert rewritten.memory_bytes == 100_000 * len("ription")
    assert 0.3 < rewritten.seconds < 1.5


def test_whole_json_documents_are_read_where_values_move_within_them():
    index = definition(TagField(name="tag"), storage_type="json")
    rewrite = Rewrite("json", renames=(PathRename("$.tag", "$.tags"),))
    sample = replace(AVERAGE, fields={WHOLE_DOCUMENT: FieldSample(1.0, 2500), "$.tag": FieldSample(1.0, 20)})
    inventory = inventory_of(index, 1000, sample)
    assert backup_estimate(index, rewrite, inventory).bytes_read == 2_500_000
    assert rewrite_estimate(index, rewrite, inventory, exclusive=True).bytes_written == 20_000


def test_keys_that_move_take_their_longer_names():
    index = definition(TagField(name="tag"))
    rewrite = Rewrite("hash", prefixes=(PrefixChange("p:", "products:"),))
    estimate = rewrite_estimate(index, rewrite, inventory_of(index, 1000), exclusive=True)
    assert estimate.memory_bytes == 7000
    assert estimate.bytes_written == 0


def test_searches_are_down_while_documents_are_rewritten():
    index = definition(vector())
    inventory = inventory_of(index, 100_000)
    compared = rewrite_estimate(index, recoding(), inventory, exclusive=False)
    plain = rewrite_estimate(index, recoding(), inventory, exclusive=True)
    assert plain.search_downtime_seconds == plain.seconds > 0
    assert compared.seconds > 1.5 * plain.seconds


def test_wider_vectors_take_memory_and_narrower_ones_none():
    index = definition(vector())
    inventory = inventory_of(index, 1000)
    wider = rewrite_estimate(index, recoding("FLOAT64"), inventory, exclusive=True)
    assert 1000 * 1536 <= wider.memory_bytes <= 1000 * 1536 * 1.2
    assert rewrite_estimate(index, recoding("FLOAT16"), inventory, exclusive=True).memory_bytes == 0


def test_vectors_are_read_again_only_where_their_length_tells_nothing():
    index = definition(vector(datatype="FLOAT16"))
    inventory = inventory_of(index, 1000)
    assert catch_up_estimate(index, recoding("BFLOAT16", "FLOAT16"), inventory).bytes_read == 768_000
    assert catch_up_estimate(index, recoding("FLOAT32", "FLOAT16"), inventory).bytes_read == 0


def test_a_backup_that_does_not_fit_is_told_with_its_numbers():
    inventory = Inventory("shop", SERVER, backup_free_bytes=5_000_000)
    assert why_backup_does_not_fit(12_000_000, inventory, ()) == (
        "the backup takes about 12.0 MB, but the folder for backups has room for 5.0 MB; free some, or name "
        "another folder with --backup-dir"
    )
    assert why_backup_does_not_fit(5_000_000, inventory, ()) is None
    assert why_backup_does_not_fit(10**15, Inventory("shop", SERVER), ()) is None


def test_the_memory_of_steps_adds_up():
    steps = [Step(kind="create_index", estimate=Estimate(memory_bytes=size)) for size in (1, 20)]
    assert memory_of(steps) == 21


@given(size_bytes=st.integers(1, 1 << 30))
def test_an_allocation_wastes_at_most_a_fifth_of_what_is_large(size_bytes):
    allocated = allocated_bytes(size_bytes)
    assert size_bytes <= allocated <= max(size_bytes * 1.25, size_bytes + 15)
    assert allocated_bytes(allocated) == allocated


@pytest.mark.parametrize(("asked", "given"), [(1, 16), (128, 128), (129, 160), (3077, 3584), (6149, 7168)])
def test_allocations_are_those_of_jemalloc(asked, given):
    assert allocated_bytes(asked) == given


def test_a_sample_follows_the_rewrite_and_doing_so_twice_changes_nothing():
    rewrite = Rewrite(
        "hash", recoding().recodings, (PathRename("embedding", "vector"), PathRename("desc", "description"))
    )
    sample = with_fields(
        embedding=FieldSample(0.5, 1536, wrong_length=3, smallest=-1.0, largest=2.0),
        desc=FieldSample(1.0, 50),
    )
    after = sample.after(rewrite)
    assert after.fields == {"vector": FieldSample(0.5, 768), "description": FieldSample(1.0, 50)}
    assert after.after(rewrite) == after


def test_the_largest_magnitude_is_that_of_either_end():
    assert FieldSample(1.0, 4, smallest=-3.0, largest=2.0).largest_magnitude == 3.0
    assert FieldSample(1.0, 4, smallest=1.0, largest=2.0).largest_magnitude == 2.0
    assert FieldSample(1.0, 4).largest_magnitude is None


def test_statistics_and_samples_follow_an_index_that_gets_another_name():
    old = definition(vector())
    new = IndexDefinition.plain(old.schema.renamed("items"))
    inventory = inventory_of(old, 1000, with_fields(embedding=FieldSample(1.0, 1536)))
    step = Step(kind="rewrite_documents", index="items", before=old, after=new, rewrite=recoding())
    renamed = inventory.renamed([step])
    assert renamed.live["items"].statistics.num_docs == 1000
    assert renamed.samples["items"].fields["embedding"].mean_bytes == 768
    assert renamed.renamed([step]) == renamed


def test_an_alias_that_moves_takes_no_sample_along():
    one, other = definition(vector()), IndexDefinition.plain(IndexSchema(name="other", fields=(vector(),)))
    inventory = Inventory("shop", SERVER, samples={"products": AVERAGE})
    step = Step(kind="set_alias", alias="a", before=one, after=other)
    assert inventory.renamed([step]).samples == {"products": AVERAGE}


def test_the_schemas_of_later_revisions_are_those_that_earlier_ones_leave():
    old, new = definition(vector()), definition(vector(datatype="FLOAT16"))
    foreign = IndexSchema(name="foreign", fields=(vector(),))
    inventory = Inventory("shop", SERVER, schemas={"products": old.schema, "foreign": foreign})
    changed = inventory.after(Catalog({"products": old}), Catalog({"products": new}))
    assert changed.schemas == {"products": new.schema, "foreign": foreign}
    assert changed.after(Catalog({"products": new}), Catalog()).schemas == {"foreign": foreign}
