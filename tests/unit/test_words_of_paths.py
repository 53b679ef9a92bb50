"""What a script is told of paths that its documents can't have, and of calls that belong elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redismigrate.errors import SchemaError, ScriptError
from redismigrate.operations.index_block import IndexChanges
from redismigrate.operations.recorder import Operations
from redismigrate.operations.script_calls import record
from redismigrate.schema.definition import Catalog

FIELDS = [
    {"name": "title", "type": "text"},
    {"name": "embedding", "type": "vector", "attrs": {"dims": 4, "algorithm": "flat"}},
]
Call = Callable[[IndexChanges], None]


def recorder(**index: Any) -> Operations:
    op = Operations(Catalog())
    op.create_index({"index": {"name": "products", "prefix": "product:", **index}, "fields": FIELDS})
    return op


def refusal(call: Call, **index: Any) -> tuple[str, str]:
    """What is wrong, and what to do."""
    op = recorder(**index)
    with pytest.raises(SchemaError) as refused, op.index("products") as block:
        call(block)
    return refused.value.message, str(refused.value.hint)


@pytest.mark.parametrize(
    ("call", "path", "write"),
    [
        (
            lambda index: index.alter_field("embedding", datatype="float16", path="$.f16"),
            "$.f16",
            'path="f16"',
        ),
        (lambda index: index.truncate("embedding", 2, path="$.e"), "$.e", 'path="e"'),
        (lambda index: index.rename_field("title", "name", path="$.name"), "$.name", 'path="name"'),
        (lambda index: index.rename_field("title", "name", path='$["name"]'), '$["name"]', 'path="name"'),
        (lambda index: index.drop_values("$.old"), "$.old", 'drop_values("old")'),
    ],
)
def test_a_json_path_is_refused_where_documents_are_hashes(call: Call, path: str, write: str):
    assert refusal(call) == (
        f"{path!r} is a JSON path, and products is an index of hashes.",
        f"Write {write}.",
    )


def test_a_field_of_hashes_that_is_called_like_a_json_path_and_read_stays_one():
    op = recorder()
    with op.index("products") as index:
        index.alter_field("title", path="$.title")
        index.rename_field("title", "name", path="$.title")
    assert op.catalog["products"].schema.field("name").path_in("hash") == "$.title"


@pytest.mark.parametrize(
    ("storage_type", "place"), [("hash", "a field of the hashes"), ("json", "a JSON path")]
)
def test_an_empty_path_is_refused(storage_type: str, place: str):
    calls: list[Call] = [
        lambda index: index.truncate("embedding", 2, path=""),
        lambda index: index.alter_field("embedding", datatype="float16", path=""),
        lambda index: index.rename_field("title", "name", path=""),
    ]
    for call in calls:
        assert refusal(call, storage_type=storage_type) == ("path= is empty.", f"Name {place}.")


def test_values_are_restored_in_a_downgrade_alone():
    catalog = recorder().catalog

    def restore(op: Operations) -> None:
        with op.index("products") as index:
            index.restore_values("old")

    with pytest.raises(ScriptError, match=r"restore_values belongs in downgrade\(\)"):
        record(restore, catalog, __file__, is_upgrade=True)
    assert len(record(restore, catalog, __file__).recorded) == 1
