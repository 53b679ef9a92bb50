"""`path=` and `attribute=`: vectors that get a new form at another path of the same documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from redismigrate.documents.rewrite import Recoding
from redismigrate.errors import SchemaError
from redismigrate.operations.changes import IndexChange
from redismigrate.operations.field_changes import AlterField, Truncate
from redismigrate.operations.index_block import IndexChanges
from redismigrate.operations.operation_types import ChangeIndex, Operation
from redismigrate.operations.recorder import Operations
from redismigrate.operations.reversing import reversed_operations
from redismigrate.operations.source import source_lines
from redismigrate.planning.rewrites import rewrite_of
from redismigrate.schema.definition import Catalog

ADAPTER: TypeAdapter[Operation] = TypeAdapter(Operation)
Block = Callable[[IndexChanges], object]


def _catalog(storage_type: str = "hash", **attrs: Any) -> Catalog:
    op = Operations(Catalog())
    vector = {"dims": 8, "algorithm": "flat", "distance_metric": "cosine", "datatype": "float32", **attrs}
    op.create_index(
        {
            "index": {"name": "products", "prefix": "p:", "storage_type": storage_type},
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "embedding", "type": "vector", "attrs": vector},
            ],
        }
    )
    return op.catalog


def _recorded(before: Catalog, block: Block) -> tuple[ChangeIndex, Catalog]:
    op = Operations(before)
    with op.index("products") as index:
        block(index)
    (change,) = op.recorded
    assert isinstance(change, ChangeIndex)
    return change, op.catalog


@pytest.mark.parametrize(
    ("storage_type", "block", "field", "back"),
    [
        (
            "hash",
            lambda i: i.alter_field("embedding", datatype="float16", path="short"),
            ("short", None),
            '    index.alter_field("short", datatype="float32", path="embedding")',
        ),
        (
            "hash",
            lambda i: i.alter_field("embedding", datatype="float16", path="short", attribute="embedding"),
            ("embedding", "short"),
            '    index.alter_field("embedding", datatype="float32", path="embedding")',
        ),
        (
            "hash",
            lambda i: i.truncate("embedding", 4, path="short"),
            ("short", None),
            '    index.alter_field("short", dims=8, path="embedding", attribute="embedding")',
        ),
        (
            "json",
            lambda i: i.truncate("embedding", 4, path="$.short"),
            ("embedding", "$.short"),
            '    index.alter_field("embedding", dims=8, path="$.embedding", attribute="embedding")',
        ),
        (
            "json",
            lambda i: i.truncate("embedding", 4, path="$.short", attribute="short"),
            ("short", None),
            '    index.alter_field("short", dims=8, path="$.embedding", attribute="embedding")',
        ),
    ],
)
def test_new_form_elsewhere(
    storage_type: str, block: Block, field: tuple[str, str | None], back: str
) -> None:
    before = _catalog(storage_type)
    change, after = _recorded(before, block)
    schema = after["products"].schema
    assert [(each.name, each.path) for each in schema.fields] == [("title", None), field]
    reverse = reversed_operations((change,), before)
    assert source_lines(reverse, after)[1:] == (back,)
    assert reverse[0].apply(after) == before
    old, new = (
        each.field(name) for each, name in ((before["products"].schema, "embedding"), (schema, field[0]))
    )
    (recoding,) = rewrite_of(before["products"], after["products"], change.changes).recodings
    paths = old.path_in(schema.storage_type), new.path_in(schema.storage_type)
    assert (recoding.path, recoding.new_path) == paths
    (way_back,) = rewrite_of(
        after["products"], before["products"], reverse[0].changes, is_way_back=True
    ).recodings
    assert (way_back.path, way_back.new_path) == paths[::-1]
    assert ADAPTER.validate_json(ADAPTER.dump_json(change)) == change


def test_source_says_what_was_recorded() -> None:
    before = _catalog()
    for block in (
        lambda i: i.alter_field("embedding", datatype="float16", path="short", algorithm="hnsw", m=32),
        lambda i: i.alter_field("embedding", datatype="float16", path="short", attribute="other"),
        lambda i: i.truncate("embedding", 4, path="short", attribute="other", renormalize=False),
        lambda i: i.drop_values("old"),
        lambda i: i.restore_values("old"),
    ):
        change, _ = _recorded(before, block)
        op = Operations(before)
        exec("\n".join(source_lines((change,), before)), {"op": op})  # noqa: S102 - our own source
        assert op.recorded == (change,)


@pytest.mark.parametrize(
    ("storage_type", "block", "message"),
    [
        (
            "hash",
            lambda i: i.alter_field("embedding", datatype="float16", path="title", attribute="short"),
            "Field 'title' reads title, so it can't get the new form",
        ),
        (
            "hash",
            lambda i: i.alter_field("embedding", datatype="float16", path="title"),
            "already has a field 'title'",
        ),
        (
            "hash",
            lambda i: i.alter_field("embedding", datatype="float32", path="short"),
            "is FLOAT32 already: there is no new form of it to write to short",
        ),
        (
            "hash",
            lambda i: i.alter_field("embedding", m=3, attribute="short"),
            "attribute='short' says what a new form of vectors is called",
        ),
        (
            "hash",
            lambda i: i.truncate("embedding", 4, attribute="short"),
            "attribute='short' says what shorter vectors are called",
        ),
        (
            "hash",
            lambda i: i.truncate("embedding", 4, path="embedding"),
            "hold field 'embedding' at embedding already",
        ),
        (
            "json",
            lambda i: i.alter_field("embedding", datatype="float16", path="$.short"),
            "datatype= makes no new form of field 'embedding' at $.short",
        ),
        (
            "json",
            lambda i: i.truncate("embedding", 4, path="$.a.short"),
            "would go from $.embedding to $.a.short, into another object",
        ),
        (
            "json",
            lambda i: i.truncate("embedding", 4, path='$["title"]'),
            "Field 'title' reads $.title, so it can't get the new form",
        ),
        (
            "hash",
            lambda i: (
                i.alter_field("embedding", datatype="float16", path="short"),
                i.rename_field("short", "shorter"),
            ),
            "Field 'short' of index 'products' is given two places in one block",
        ),
        (
            "hash",
            lambda i: (
                i.rename_field("embedding", "vector"),
                i.alter_field("vector", datatype="float16", path="short"),
            ),
            "Field 'vector' of index 'products' is given two places in one block",
        ),
    ],
)
def test_refused_at_its_line(storage_type: str, block: Block, message: str) -> None:
    with pytest.raises(SchemaError) as refused:
        _recorded(_catalog(storage_type), block)
    assert message in refused.value.message


def test_two_readers_of_one_path_do_not_part() -> None:
    op = Operations(_catalog())
    with op.index("products") as index:
        index.add_field(
            {
                "name": "exact",
                "type": "vector",
                "path": "embedding",
                "attrs": {"dims": 8, "algorithm": "flat", "datatype": "float32"},
            }
        )
    with pytest.raises(SchemaError, match="one of the two would stay with the old form"):
        _recorded(op.catalog, lambda i: i.alter_field("embedding", datatype="float16", path="short"))


def test_dimensions_at_a_path_are_read_there_as_ever() -> None:
    """A new model's vectors, which the application has written."""
    before = _catalog()
    change, after = _recorded(before, lambda i: i.alter_field("embedding", dims=768, path="v2"))
    assert change.changes == (AlterField("embedding", {"dims": 768, "path": "v2"}),)
    assert after["products"].schema.field("embedding").path == "v2"
    assert not rewrite_of(before["products"], after["products"], change.changes)


def test_older_records_read_as_they_were_meant() -> None:
    old: dict[str, Any] = {
        "name": "embedding",
        "attributes": {"datatype": "FLOAT16", "path": "other"},
        "kind": "alter_field",
    }
    adapter: TypeAdapter[IndexChange] = TypeAdapter(IndexChange)
    change = adapter.validate_python(old)
    before = _catalog()["products"]
    after = before.with_schema(change.apply(before.schema))
    assert (after.schema.field("embedding").path, rewrite_of(before, after, (change,)).recodings) == (
        "other",
        (),
    )
    assert adapter.dump_python(change, mode="json") == old
    plain = {"name": "embedding", "dims": 4, "renormalize": True, "kind": "truncate"}
    assert adapter.dump_python(Truncate("embedding", 4), mode="json") == plain


def test_both_in_one_block_are_one_form() -> None:
    before = _catalog()
    expected = Recoding("embedding", 8, "COSINE", "FLOAT32", "FLOAT16", None, 4, new_path="short")
    for block in (
        lambda i: (i.truncate("embedding", 4, path="short"), i.alter_field("short", datatype="float16")),
        lambda i: (i.alter_field("embedding", datatype="float16", path="short"), i.truncate("short", 4)),
    ):
        change, after = _recorded(before, block)
        assert rewrite_of(before["products"], after["products"], change.changes).recodings == (expected,)
        back = reversed_operations((change,), before)
        assert back[0].apply(after) == before


def test_dropped_values() -> None:
    before = _catalog()
    change, after = _recorded(before, lambda i: (i.drop_values("old"), i.drop_values("older")))
    assert after == before
    assert str(change) == "change index products: drop the values at old; drop the values at older"
    back = reversed_operations((change,), before)
    assert source_lines(back, after)[1:] == (
        '    index.restore_values("older")',
        '    index.restore_values("old")',
    )


@pytest.mark.parametrize(
    ("storage_type", "block", "message"),
    [
        (
            "hash",
            lambda i: i.drop_values("embedding"),
            "reads embedding, so the values at embedding can't be dropped",
        ),
        (
            "hash",
            lambda i: (i.drop_field("embedding"), i.drop_values("embedding")),
            "can't drop the values at embedding beside other changes",
        ),
        (
            "json",
            lambda i: i.drop_values("embedding"),
            "only members along plain names can",
        ),
    ],
)
def test_values_that_stay(storage_type: str, block: Block, message: str) -> None:
    with pytest.raises(SchemaError) as refused:
        _recorded(_catalog(storage_type), block)
    assert message in refused.value.message
