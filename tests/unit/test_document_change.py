"""A rewrite of documents: what forbids it, where lost originals come from, and who is followed meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_revisions import (
    REVISION,
    catalog,
    index,
    live,
    re_encoding,
    recoding,
    recorded,
    server,
    vector,
)

from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import BackupDamaged
from redismigrate.planning.document_changes import DocumentChange
from redismigrate.planning.document_sample import DocumentSample, FieldSample
from redismigrate.planning.inventory import KnownBackup
from redismigrate.planning.plan import Estimate
from redismigrate.schema import TagField, TextField
from redismigrate.schema.moves import PathRename, PrefixChange

WIDE, NARROW = index("products", vector()), index("products", vector("FLOAT16"))
RENAME = PathRename("desc", "description")
BUILD = Estimate(documents=1_000, seconds=10.0, memory_bytes=1_000_000)


def change(old=WIDE, new=NARROW, rewrite=None, *, on=None, direction="upgrade", **values):
    """A change of products; by default to a datatype that holds less."""
    told = {
        "recorded": recorded(lambda op: None, direction=direction),
        "start": catalog(old),
        "old": old,
        "new": new,
        "rewrite": re_encoding() if rewrite is None else rewrite,
        "inventory": server(old) if on is None else on,
        "exclusive": False,
        "allow_lossy": False,
    }
    return DocumentChange(**{**told, **values})


def way_back(*, rewrite=None, **values):
    """The downgrade of the same: only a backup brings the originals."""
    back = re_encoding("FLOAT32", "FLOAT16") if rewrite is None else rewrite
    return change(NARROW, WIDE, back, direction="downgrade", **values)


def with_backups(**backups):
    return server(
        NARROW,
        backups={(revision, "products"): backup for revision, backup in backups.items()},
    )


BACKUP = KnownBackup("host:/backup", is_here=True, paths=("embedding",), prefixes=("p:",))


def test_a_change_whose_way_back_keeps_all_needs_no_backup_of_another_revision():
    assert change(on=with_backups(**{REVISION: BACKUP})).restores_from == ()
    lossless = change(WIDE, index("products", vector("FLOAT64")), re_encoding("FLOAT64"))
    assert list(lossless.problems(1_000)) == []


def test_undoing_a_change_that_lost_precision_takes_the_originals_of_its_own_backup():
    inventory = with_backups(**{REVISION: BACKUP, "000000000000": replace(BACKUP, location="host:/other")})
    assert way_back(on=inventory).restores_from == ("host:/backup",)
    assert list(way_back(on=inventory).problems(1_000)) == []


@pytest.mark.parametrize(
    "backup",
    [
        replace(BACKUP, is_here=False),
        replace(BACKUP, paths=("another",)),
        replace(BACKUP, prefixes=("p:1",)),
        None,
    ],
)
def test_without_the_originals_going_back_is_refused_unless_it_is_said_to_be_fine(backup):
    inventory = with_backups(**({REVISION: backup} if backup else {}))
    [problem] = way_back(on=inventory).problems(1_000)
    assert f"revision {REVISION} has re-encoded embedding of index products to FLOAT16" in problem
    assert "--allow-lossy" in problem
    assert list(way_back(on=inventory, allow_lossy=True).problems(1_000)) == []


def test_of_an_index_without_documents_nothing_is_lost():
    assert list(way_back().problems(0)) == []


def test_going_back_from_a_wider_type_loses_nothing():
    wider = index("products", vector("FLOAT64"))
    back = change(wider, WIDE, re_encoding("FLOAT32", "FLOAT64"), direction="downgrade")
    assert back.restores_from == ()
    assert list(back.problems(1_000)) == []


def test_a_backup_that_is_elsewhere_is_named_and_a_damaged_one_says_what_is_wrong():
    [problem] = way_back(on=with_backups(**{REVISION: replace(BACKUP, is_here=False)})).problems(1)
    assert "its backup host:/backup is not here" in problem
    [problem] = way_back().problems(1)
    assert "there is no backup of it" in problem
    damaged = replace(BACKUP, is_here=False, problem=BackupDamaged("Chunk 3 is cut off.", "Fetch a copy."))
    [problem] = way_back(on=with_backups(**{REVISION: damaged})).problems(1)
    assert "Chunk 3 is cut off. Fetch a copy." in problem


@given(st.lists(st.sampled_from(["p:", "p:1", "p:2", "q:"]), min_size=1, max_size=3))
def test_originals_are_taken_only_from_backups_that_together_have_all_documents(prefixes):
    backups = {
        (REVISION, f"index{number}"): replace(BACKUP, location=f"host:/{number}", prefixes=(prefix,))
        for number, prefix in enumerate(prefixes)
    }
    found = way_back(on=server(NARROW, backups=backups)).restores_from
    assert bool(found) == ("p:" in prefixes)
    held = {backups[REVISION, f"index{location.removeprefix('host:/')}"].prefixes[0] for location in found}
    assert "q:" not in held


def test_originals_are_found_under_the_name_that_the_field_had():
    renamed = Rewrite(
        "hash", (recoding("FLOAT32", "FLOAT16", path="image"),), (PathRename("image", "embedding"),)
    )
    assert way_back(on=with_backups(**{REVISION: BACKUP}), rewrite=renamed).restores_from == ("host:/backup",)


def test_what_a_conversion_brings_back_needs_no_backup_that_has_it():
    both = Rewrite("hash", (recoding("FLOAT32", "FLOAT16"), recoding("FLOAT32", "FLOAT64", path="image")))
    assert way_back(on=with_backups(**{REVISION: BACKUP}), rewrite=both).restores_from == ("host:/backup",)


def costs(*args, **values):
    return change(*args, **values).costs(BUILD)


def test_writers_are_followed_where_vectors_are_re_encoded_and_they_may_go_on():
    assert costs().catch_up is not None
    assert costs(exclusive=True).catch_up is None


@pytest.mark.parametrize(
    "rewrite",
    [
        Rewrite("hash", (recoding(),), prefixes=(PrefixChange("p:", "q:"),)),
        Rewrite("hash", (recoding(),), renames=(PathRename("embedding", "image"),)),
    ],
)
def test_what_moves_is_not_followed(rewrite):
    assert costs(rewrite=rewrite).catch_up is None
    beside = Rewrite("hash", (recoding(),), renames=(RENAME,))
    assert costs(rewrite=beside).catch_up is not None


def test_documents_that_a_filter_keeps_out_cannot_be_told_from_those_that_are_written():
    filtered = replace(WIDE, schema=WIDE.schema.with_options(filter="@color=='red'"))
    assert costs(filtered).catch_up is None


def test_few_documents_among_many_keys_are_shown_to_the_index_one_by_one():
    few = server(WIDE, documents=100, total_keys=1_000_000)
    assert costs(on=few).is_sparse
    assert costs(on=few).build.seconds < BUILD.seconds
    assert not costs().is_sparse
    assert costs().build == BUILD
    # A FILTER keeps a document without its field out of a scan, but not out of a write.
    filtered = replace(NARROW, schema=NARROW.schema.with_options(filter="@color=='red'"))
    assert not costs(WIDE, filtered, on=few).is_sparse


def moving(*, on=None, old=None, **values):
    """A rename, which is only allowed in place while nobody else writes."""
    old = old or index("products", TextField(name="desc"))
    return change(
        old,
        index("products", TextField(name="description")),
        Rewrite("hash", renames=(RENAME,)),
        on=server(old) if on is None else on,
        **values,
    )


def test_what_is_allowed_for_want_of_documents_is_marked_to_be_looked_at_again():
    old = index("products", TextField(name="desc"))
    empty = server(old, documents=0, empty=frozenset({"products"}))
    assert list(moving(on=empty).problems(0)) == []
    assert moving(on=empty).counts_on_none
    assert not moving(on=empty, exclusive=True).counts_on_none
    assert not moving().counts_on_none
    assert "needs --exclusive" in next(iter(moving().problems(1_000)))
    assert not change(on=server(WIDE, empty=frozenset({"products"}))).counts_on_none


def test_an_index_that_the_run_has_made_is_rewritten_without_a_pause_and_says_so():
    made = server(index("products", TextField(name="desc")), made=frozenset({"products"}))
    assert list(moving(on=made).problems(1_000)) == []
    [warning] = moving(on=made).warnings(moving(on=made).costs(BUILD))
    assert "is made in this run, so writers need not be paused" in warning
    alone = moving(on=made, exclusive=True)
    assert list(alone.warnings(alone.costs(BUILD))) == []
    none = moving(on=replace(made, live={"products": live(moving().old, documents=0)}))
    assert list(none.warnings(none.costs(BUILD))) == []


def test_another_index_of_the_documents_has_to_be_changed_in_the_same_revision():
    other = index("other", vector())
    [problem] = change(on=server(WIDE, other)).problems(1_000)
    assert problem.startswith("index other reads field embedding of the same keys as 4 x FLOAT32")

    def both(op):
        with op.index("other") as changes:
            changes.alter_field("embedding", datatype="FLOAT16")

    def drops(op):
        op.drop_index("other")

    for script in (both, drops):
        together = change(
            on=server(WIDE, other), recorded=recorded(script, WIDE, other), start=catalog(WIDE, other)
        )
        assert list(together.problems(1_000)) == []


def test_a_second_form_asks_for_no_pause_but_not_for_a_cluster():
    assert list(moving(is_beside=True).problems(1_000)) == []
    old = index("products", TextField(name="desc"))
    [problem] = moving(is_beside=True, on=server(old, capabilities={"is_cluster": True})).problems(1_000)
    assert "slots of a cluster" in problem


def test_vectors_that_their_length_does_not_tell_apart_are_warned_of_while_others_write():
    halves = change(
        NARROW, index("products", vector("BFLOAT16")), re_encoding("BFLOAT16", "FLOAT16"), is_beside=True
    )
    [warning] = halves.warnings_beside()
    assert "whatever writers write to embedding until the revision is recorded" in warning
    assert list(replace(halves, exclusive=True).warnings_beside()) == []
    assert list(change(is_beside=True).warnings_beside()) == []


def test_how_integers_will_be_made_is_told_by_the_sample():
    sample = DocumentSample(
        500, 9, 4.0e-6, 0, {"embedding": FieldSample(1.0, 16.0, smallest=-0.5, largest=1.27)}
    )
    integers = index("products", vector("INT8", distance_metric="L2"))
    made = change(
        index("products", vector(distance_metric="L2")),
        integers,
        re_encoding("INT8", metric="L2"),
        on=server(WIDE, samples={"products": sample}),
    )
    [warning] = made.warnings(made.costs(BUILD))
    assert warning.startswith("embedding of products becomes ")
    assert "0.01" in warning


def test_an_index_that_has_failed_or_never_looked_may_lack_documents():
    assert change().is_all_indexed
    assert not change(on=server(WIDE, live={"products": live(WIDE, failures=1)})).is_all_indexed
    assert not change(on=server(live={})).is_all_indexed
    unscanned = replace(WIDE, schema=WIDE.schema.with_options(skip_initial_scan=True))
    assert not change(unscanned, on=server(unscanned)).is_all_indexed


def test_a_second_form_costs_memory_once_and_time_for_every_write():
    beside = change(is_beside=True).second_form_costs(BUILD, "shadow_field")
    assert beside.build == BUILD
    assert beside.backup is not None
    assert beside.promote.seconds == pytest.approx(beside.copy.seconds + BUILD.seconds, abs=0.01)
    assert (beside.promote.memory_bytes, beside.remove.memory_bytes) == (0, 0)
    assert beside.copy.memory_bytes > 0
    copies = change(
        index("products", TagField(name="color")),
        index("products", TagField(name="color"), prefixes=("q:",)),
        Rewrite("hash", prefixes=(PrefixChange("p:", "q:"),)),
        is_beside=True,
    )
    assert copies.second_form_costs(BUILD, "shadow_copy").backup is None  # the originals stay
