"""The documents of the state as text: what is written can be read, and what can't be is said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_strategies import schemas

from redismigrate.errors import NewerState, StateError
from redismigrate.operations.squash import Squash
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.state.keys import OWNERS_KEY, StateKeys
from redismigrate.state.squashed_records import put_together
from redismigrate.state.store import State
from redismigrate.state.stored_documents import (
    LAYOUT,
    AppliedRevision,
    Head,
    StateDocument,
    catalog_content,
    catalog_from_content,
    parse_document,
    render_document,
)

# How the transaction script finds the version of a document, as a regular expression of Python.
VERSION_IN_LUA = re.compile(rb'^\{"version": ?(\d+)')
KEY = "{redismigrate:shop}:head"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
contents = st.dictionaries(
    st.text().filter(lambda name: name not in {"version", "layout"}), json_values, max_size=5
)
ids = st.text(alphabet="0123456789abcdef", min_size=12, max_size=12)
# Names of indexes may hold bytes that are not UTF-8, as lone surrogates.
names = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"), min_size=1, max_size=8
)
records = st.builds(
    AppliedRevision,
    parents=st.lists(ids, max_size=2).map(tuple),
    depends_on=st.lists(ids, max_size=1).map(tuple),
    message=st.text(),
    sha256=st.text(alphabet="0123456789abcdef", min_size=64, max_size=64),
    applied_at=st.datetimes().map(lambda moment: f"{moment.isoformat()}+00:00"),
    seconds=st.floats(0, 1e6),
    by=st.text(),
    plan_digest=st.text(),
    backup=st.none() | st.text(),
    adopted=st.lists(names, max_size=2).map(tuple),
)


def _record(*parents: str, depends_on: tuple[str, ...] = ()) -> AppliedRevision:
    return AppliedRevision(
        parents=parents,
        depends_on=depends_on,
        message="",
        sha256="",
        applied_at="2026-11-20T10:07:00+00:00",
        seconds=0.0,
        by="ann@build",
    )


@given(st.integers(1, 10**12), contents)
def test_a_document_that_is_written_can_be_read(version: int, content: dict[str, Any]):
    assert parse_document(KEY, render_document(version, content)) == StateDocument(version, content)


@given(st.integers(1, 10**12), contents)
def test_the_version_stands_where_the_scripts_look_for_it(version: int, content: dict[str, Any]):
    match = VERSION_IN_LUA.match(render_document(version, content))
    assert match is not None
    assert int(match[1]) == version


def test_a_key_that_is_absent_is_a_document_of_version_0():
    document = parse_document(KEY, None)
    assert document == StateDocument(0, {})
    assert not document.exists


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b'"version"',
        b"{}",
        b'{"version": 1}',
        b'{"layout": 1}',
        b'{"version": "one", "layout": 1}',
        b'{"version": null, "layout": 1}',
        b'{"version": 1, "layout": []}',
    ],
)
def test_a_damaged_document_is_told_with_its_key_and_what_to_do(text: bytes):
    with pytest.raises(StateError) as caught:
        parse_document(KEY, text)
    assert caught.value.message == f"The key {KEY} is damaged: it is no document of redismigrate."
    assert "`redismigrate stamp`" in caught.value.hint
    assert caught.value.exit_code == 1


@given(st.binary())
def test_no_bytes_are_a_surprise(text: bytes):
    try:
        parse_document(KEY, text)
    except StateError:
        return
    assert isinstance(json.loads(text), dict)


def test_a_document_of_a_newer_version_is_refused_with_both_layouts():
    with pytest.raises(NewerState) as caught:
        parse_document(KEY, b'{"version": 1, "layout": 7, "unheard": "of"}')
    assert caught.value.message == (
        f"The state of this project has layout 7; this version of redismigrate knows {LAYOUT}."
    )
    assert caught.value.hint == "Upgrade redismigrate."


@given(st.dictionaries(ids, records, max_size=5))
def test_applied_revisions_survive_the_way_through_redis(revisions: dict[str, AppliedRevision]):
    head = Head(revisions)
    assert Head.from_content(_through_redis(head.content()), "key") == head


def test_what_a_later_version_adds_to_a_record_is_ignored():
    content = Head({"a": _record()}).content()
    content["revisions"]["a"]["mood"] = "good"
    assert Head.from_content(_through_redis(content), "key") == Head({"a": _record()})


@pytest.mark.parametrize("revisions", [[], {"a": []}, {"a": {}}, {"a": {"parents": []}}, {"a": None}, "a", 3])
def test_damaged_records_of_revisions_are_told(revisions: Any):
    with pytest.raises(StateError, match="The record of applied revisions of this project is damaged"):
        Head.from_content({"revisions": revisions}, "key")


@pytest.mark.parametrize("indexes", [[], {"products": []}, {"products": {"schema": 1}}, "products"])
def test_damaged_records_of_indexes_are_told(indexes: Any):
    with pytest.raises(StateError, match="The record of indexes of this project is damaged"):
        catalog_from_content({"indexes": indexes}, "key")


def test_without_applied_revisions_there_is_no_head():
    assert Head().heads == ()
    assert Head.from_content({}, "key") == Head()


def test_the_heads_are_the_revisions_that_no_applied_one_stands_on():
    head = Head({"a": _record(), "b": _record("a"), "c": _record("a"), "d": _record("b")})
    assert head.heads == ("c", "d")


def test_a_merge_is_one_head():
    head = Head({"a": _record(), "b": _record("a"), "c": _record("a"), "m": _record("b", "c")})
    assert head.heads == ("m",)


def test_a_revision_that_another_depends_on_is_no_head():
    assert Head({"a": _record(), "x": _record(depends_on=("a",))}).heads == ("x",)


def test_heads_are_stored_beside_the_revisions():
    assert Head({"b": _record("a"), "a": _record()}).content()["heads"] == ["b"]


@given(st.dictionaries(ids, records, max_size=4), ids, records)
def test_applying_and_undoing_a_revision_leaves_the_others(
    revisions: dict[str, AppliedRevision], revision: str, record: AppliedRevision
):
    revisions.pop(revision, None)
    head = Head(revisions)
    applied = head.with_revision(revision, record)
    assert applied.applied == head.applied | {revision}
    assert applied.without_revisions([revision]) == head


@given(
    schemas(), st.lists(names, max_size=2), st.dictionaries(names, st.lists(names, min_size=1), max_size=2)
)
def test_definitions_survive_the_way_through_redis(
    schema: IndexSchema, aliases: list[str], synonyms: dict[str, list[str]]
):
    definition = IndexDefinition(
        schema=schema,
        physical=f"{schema.name}__8f3a1c9b2d4e",
        aliases=tuple(aliases),
        synonyms={group: tuple(terms) for group, terms in synonyms.items()},
    )
    catalog = Catalog({schema.name: definition})
    assert catalog_from_content(_through_redis(catalog_content(catalog)), "key") == catalog


def test_a_state_exists_when_any_document_does():
    nothing = {name: StateDocument(0, {}) for name in ("head", "indexes", "run")}
    assert not State(nothing, StateKeys("shop")).exists
    for name in nothing:
        assert State({**nothing, name: StateDocument(1, {})}, StateKeys("shop")).exists


def test_there_is_no_run_without_its_document():
    nothing = {name: StateDocument(0, {}) for name in ("head", "indexes", "run")}
    assert State(nothing, StateKeys("shop")).run is None
    assert State({**nothing, "run": replace(nothing["run"], version=1)}, StateKeys("shop")).run == {}


def test_all_keys_of_a_project_share_a_slot_of_a_cluster():
    keys = StateKeys("shop")
    named = (keys.head, keys.indexes, keys.run, keys.lock, keys.fence, keys.journal, keys.scratch_prefix)
    assert {key[: key.index("}") + 1] for key in named} == {"{redismigrate:shop}"}
    assert len(set(named)) == len(named)


def test_the_owners_belong_to_no_project():
    assert OWNERS_KEY == "{redismigrate}:owners"


def _through_redis(content: dict[str, Any]) -> Any:
    return parse_document(KEY, render_document(1, content)).content


def test_a_squashed_revision_expects_what_the_last_that_it_stands_for_did():
    expected = ({"index": "products", "count": 20},)
    last = replace(_record("a"), expectations=expected)
    squash = Squash("c", ("a", "b"), (), (), "both", "", "")
    together = put_together(Head({"a": _record(), "b": last}), squash)
    assert together.revisions["c"].expectations == expected
