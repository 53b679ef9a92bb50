"""What is kept of a recorded revision brings head and catalog back, whatever the indexes are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.errors import StateError
from redismigrate.execution.run import Run, begin
from redismigrate.execution.undo_record import UndoRecord
from redismigrate.operations.recorded import Direction, RecordedRevision
from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.stored_documents import AppliedRevision, Head, parse_document, render_document

REVISION = "aaaaaaaaaaaa"
APPLIED = AppliedRevision(
    parents=(),
    depends_on=(),
    message="products",
    sha256="",
    applied_at="2026-11-20T10:07:00+00:00",
    seconds=0.5,
    by="ann@build",
    adopted=("caf\udce9",),
)
# Names of indexes may hold bytes that are not UTF-8, as lone surrogates.
names = st.sampled_from(["products", "orders", "caf\udce9", "users"])
definitions = st.builds(
    lambda served, prefixes: IndexDefinition.plain(
        IndexSchema(name=served, storage_type="hash", prefixes=prefixes, fields=())
    ),
    names,
    st.lists(st.sampled_from(["a:", "b:"]), unique=True, min_size=1).map(tuple),
)
catalogs = st.lists(definitions, max_size=4).map(
    lambda found: Catalog({definition.served: definition for definition in found})
)


def _run(direction: Direction = "upgrade", steps: tuple[Step, ...] = ()) -> Run:
    recorded = RecordedRevision(REVISION, direction, "products", (), (), "", ())
    return begin(direction, "head", RevisionPlan(recorded=recorded, steps=steps), "", (), {"max_failures": 3})


def _through_redis(record: UndoRecord) -> UndoRecord:
    return UndoRecord.from_content(parse_document("key", render_document(1, record.content())).content, "key")


@given(catalogs, catalogs)
def test_the_indexes_come_back_as_they_were(before: Catalog, after: Catalog):
    record = _through_redis(UndoRecord.of(_run(), before, after, None))
    assert record.met(after) == record.left(after) == before


@given(catalogs)
def test_indexes_that_the_revision_left_alone_are_not_kept(catalog: Catalog):
    assert UndoRecord.of(_run(), catalog, catalog, None).before == {}


def test_an_upgrade_is_taken_out_of_the_head_and_a_downgrade_put_back():
    applied, undone = Head({REVISION: APPLIED}), Head()
    up = _through_redis(UndoRecord.of(_run(), Catalog(), Catalog(), None))
    down = _through_redis(UndoRecord.of(_run("downgrade"), Catalog(), Catalog(), APPLIED))
    assert (up.head_before(applied), down.head_before(undone)) == (undone, applied)


def test_the_run_turns_back_with_its_id_and_arguments_and_the_record_last():
    steps = (Step(kind="claim_index", index="products"), Step(kind="record_revision"))
    run = _run(steps=steps).with_changes(position=1, done=("eeeeeeeeeeee",))
    back = _through_redis(UndoRecord.of(run, Catalog(), Catalog(), None)).rollback((REVISION,), ("bbb",))
    assert (back.id, back.arguments, back.direction) == (run.id, run.arguments, "upgrade")
    assert [step.kind for step in back.undo] == ["release_index", "unrecord_revision"]
    assert (back.position, back.done, back.undone) == (0, (REVISION,), ("bbb",))
    assert (back.rolls_back, back.is_recorded) == (True, True)


def test_what_another_version_kept_is_refused():
    with pytest.raises(StateError, match="can't be read by this version"):
        UndoRecord.from_content({"run": {"id": "a1b2"}}, "key")


def test_a_step_changes_only_what_its_progress_document_keeps():
    run = _run()
    assert run.moved(position=1).position == 1
    with pytest.raises(ValueError, match="the :progress document has no done"):
        run.moved(done=(REVISION,))
