"""Two indexes over the same documents that one revision changes: what is left to do, and what is recorded."""

from __future__ import annotations

import pytest

from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.execution.cutover import with_quantizations
from redismigrate.execution.run import begin
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.planning.rewrites import DoneRewrite
from redismigrate.schema import IndexSchema, VectorField
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.moves import PathRename
from redismigrate.schema.quantization import Quantization

SCALE = Quantization("int8_per_index", 0.01)
RECORDED = RecordedRevision("00000000000b", "upgrade", "m", (), (), "", ())


def recoding(after="INT8", metric="L2", before="FLOAT32", quantization=None):
    return Recoding("embedding", 4, metric, before, after, quantization)


def rest(prefixes, asked, done=None, done_prefixes=("a:",)):
    done_rewrite = Rewrite("hash", (asked if done is None else done,))
    return DoneRewrite("first", done_prefixes, done_rewrite).remainder(
        "second", prefixes, Rewrite("hash", (asked,))
    )


def test_what_the_first_index_did_to_all_documents_of_the_second_is_done():
    assert not rest(("a:",), recoding())
    assert not rest(("a:b:",), recoding())


def test_it_is_done_though_only_one_index_has_a_record_of_its_integers():
    back = recoding(after="FLOAT32", before="INT8")
    known = recoding(after="FLOAT32", before="INT8", quantization=SCALE)
    assert not rest(("a:",), back, done=known)
    assert not rest(("a:",), known, done=back)


def test_integers_with_one_scale_and_documents_that_are_shared_in_part_are_refused():
    with pytest.raises(ValueError, match="have one scale for all of an index") as caught:
        rest(("a:", "b:"), recoding())
    assert str(caught.value) == (
        "shares some of its documents with index first, and the integers of embedding have one scale for "
        "all of an index: change the index that covers all of the documents first"
    )


@pytest.mark.parametrize("asked", [recoding("FLOAT16"), recoding(metric="COSINE")])
def test_other_vectors_of_documents_that_are_shared_in_part_are_converted_where_they_are_not_yet(asked):
    assert rest(("a:", "b:"), asked) == Rewrite("hash", (asked,), excluded_prefixes=("a:",))


def test_integers_that_two_metrics_would_make_differently_are_refused():
    with pytest.raises(ValueError, match="index first re-encodes it otherwise: change both alike"):
        rest(("a:",), recoding(), done=recoding(metric="COSINE"))


def test_the_metric_does_not_matter_where_no_integers_are_made():
    assert not rest(("a:",), recoding("FLOAT16"), done=recoding("FLOAT16", metric="COSINE"))


def definition(name, prefix, datatype="INT8", path="embedding", quantization=None):
    field = VectorField(name="v", path=path, algorithm="FLAT", dims=4, datatype=datatype)
    schema = IndexSchema(name=name, prefixes=(prefix,), fields=(field,))
    return IndexDefinition(schema, name, quantization=quantization or {})


def recorded_after(rewrite, found, *definitions):
    """The integers that are recorded of each index once the first of them was rewritten."""
    first = definitions[0]
    step = Step(kind="rewrite_documents", index=first.served, before=first, after=first, rewrite=rewrite)
    run = begin("upgrade", "head", RevisionPlan(recorded=RECORDED, steps=(step,)), "", (), {})
    run = run.with_changes(quantizations={first.served: found})
    catalog = with_quantizations(Catalog({each.served: each for each in definitions}), run)
    return {name: each.quantization for name, each in catalog.items()}


def test_the_scale_is_recorded_of_every_index_that_reads_the_integers():
    found = recorded_after(
        Rewrite("hash", (recoding(),)),
        {"embedding": SCALE},
        definition("first", "a:"),
        definition("second", "a:b:"),
        definition("elsewhere", "b:"),
        definition("another_field", "a:", path="w"),
        definition("another_type", "a:", datatype="FLOAT32"),
    )
    assert found == {
        "first": {"embedding": SCALE},
        "second": {"embedding": SCALE},
        "elsewhere": {},
        "another_field": {},
        "another_type": {},
    }


def test_the_record_follows_a_rename_in_every_index():
    old = {"embedding": SCALE}
    found = recorded_after(
        Rewrite("hash", renames=(PathRename("embedding", "vector"),)),
        {},
        definition("first", "a:", path="vector", quantization=old),
        definition("second", "a:", path="vector", quantization=old),
    )
    assert found == {"first": {"vector": SCALE}, "second": {"vector": SCALE}}


def test_no_index_has_a_record_of_integers_that_became_floats():
    old = {"embedding": SCALE}
    found = recorded_after(
        Rewrite("hash", (recoding("FLOAT32", before="INT8"),)),
        {},
        definition("first", "a:", "FLOAT32", quantization=old),
        definition("second", "a:", "FLOAT32", quantization=old),
    )
    assert found == {"first": {}, "second": {}}
