"""Operations of several revisions as those of one lead to the same indexes, and documents end the same."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from random_squashes import PRODUCTS, random_history

from redismigrate.commands.authoring.composing import Asked, composed, rewritten_twice
from redismigrate.operations.block_moves import moves_of
from redismigrate.operations.operation_types import ChangeIndex, Operation
from redismigrate.operations.recorder import Operations
from redismigrate.planning.rewrites import recodings_of
from redismigrate.schema.compare import diff
from redismigrate.schema.definition import Catalog


def before() -> Catalog:
    op = Operations(Catalog())
    op.create_index(PRODUCTS)
    return op.catalog


def end_of(operations: Iterable[Operation], catalog: Catalog) -> tuple[Catalog, dict[str, tuple[str, ...]]]:
    """The indexes after operations, and what became of a document of the one index: path -> its story."""
    document: dict[str, tuple[str, ...]] = {name: (name,) for name in ("title", "brand", "embedding")}
    for operation in operations:
        if isinstance(operation, ChangeIndex):
            old = catalog[operation.name].schema
            new = operation.apply(catalog)[operation.name_after].schema
            renames, _ = moves_of(operation.changes, old)
            for each in recodings_of(old, new, renames, {}):
                if each.path in document:
                    is_lossless = each.is_lossless
                    story = document[each.path]
                    document[each.path] = story if is_lossless else (*story, f"as {each.after}")
            moved = {each.new: document.pop(each.old) for each in renames if each.old in document}
            document |= moved
        catalog = operation.apply(catalog)
    return catalog, document


def composed_of(*bodies: str) -> tuple[tuple[Asked, ...], list[Operation]]:
    catalog, asked = before(), []
    for number, body in enumerate(bodies):
        op = Operations(catalog)
        exec(body, {"op": op})  # noqa: S102 - as a script is run
        asked += [(str(number), operation) for operation in op.recorded]
        catalog = op.catalog
    found = composed(asked, before())
    one, other = end_of([o for _, o in asked], before()), end_of([e.operation for e in found], before())
    assert one[0].keys() == other[0].keys()
    assert [diff(one[0][name].schema, other[0][name].schema) for name in one[0]] == [()] * len(one[0])
    assert one[1] == other[1]
    return found, [each.operation for each in found]


def change(*lines: str) -> str:
    return "\n    ".join(["with op.index('products') as index:", *lines])


def to_type(datatype: str) -> str:
    return f"index.alter_field('embedding', datatype='{datatype}')"


def test_changes_of_one_index_become_one_block():
    found, _ = composed_of(
        change("index.add_field({'name': 'a', 'type': 'tag'})"),
        change("index.alter_field('embedding', datatype='float16')"),
        change("index.alter_field('embedding', algorithm='hnsw')"),
    )
    assert len(found) == 1
    assert found[0].revisions == ("0", "1", "2")


def test_what_is_taken_back_is_gone():
    found, _ = composed_of(
        change("index.add_field({'name': 'a', 'type': 'tag'})"), change("index.drop_field('a')")
    )
    assert found == ()


def test_a_change_of_what_is_created_goes_into_the_schema_unless_documents_change():
    create = "op.create_index({'index': {'name': 'new', 'prefix': 'n:'}, 'fields': FIELDS})"
    fields = [{"name": "t", "type": "text"}, PRODUCTS["fields"][2]]
    create = create.replace("FIELDS", repr(fields))
    _, (one,) = composed_of(
        create, "with op.index('new') as index:\n    index.alter_field('embedding', algorithm='hnsw')"
    )
    assert "embedding vector" in str(one)
    found, _ = composed_of(
        create, "with op.index('new') as index:\n    index.alter_field('embedding', datatype='float16')"
    )
    assert len(found) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "index.alter_field('embedding', datatype='float16')",
            "index.alter_field('embedding', datatype='float32')",
        ),
        (
            "index.alter_field('embedding', datatype='float16')",
            "index.alter_field('embedding', datatype='int8')",
        ),
        (
            "index.alter_field('embedding', datatype='float64')",
            "index.alter_field('embedding', datatype='int8')",
        ),
        ("index.rename_field('brand', 'b')", "index.drop_field('b')"),
    ],
)
def test_blocks_stay_apart_where_documents_would_end_otherwise(first: str, second: str):
    found, _ = composed_of(change(first), change(second))
    assert len(found) == 2
    assert (rewritten_twice(found) is None) == ("drop" in second)


def test_renames_one_after_the_other_are_one():
    _, (one,) = composed_of(
        change("index.rename_field('brand', 'b')"), change("index.rename_field('b', 'label')")
    )
    assert "rename field brand to label" in str(one)


def test_by_way_of_a_form_that_holds_more_is_the_same():
    _, (one,) = composed_of(
        change("index.alter_field('embedding', datatype='float64')"),
        change("index.alter_field('embedding', datatype='float16')"),
    )
    assert "FLOAT16" in str(one)


def test_what_lies_between_and_is_about_the_same_index_stays_between():
    found, _ = composed_of(
        change("index.add_field({'name': 'a', 'type': 'tag'})"),
        "op.create_alias('shop', 'products')",
        change("index.rename_to('goods')"),
    )
    assert len(found) == 3


@pytest.mark.parametrize("seed", range(30))
def test_random_histories_end_the_same(seed: int):
    catalog, asked, down = Catalog(), [], []
    for number, revision in enumerate(random_history(seed, 7)):
        asked += [(str(number), operation) for operation in revision.operations]
        down[:0] = [(str(number), operation) for operation in revision.back]
    found = composed(asked, catalog)
    one = end_of([operation for _, operation in asked], catalog)
    other = end_of([each.operation for each in found], catalog)
    assert one[0].keys() == other[0].keys()
    for name, definition in one[0].items():
        assert not diff(definition.schema, other[0][name].schema)
        assert (definition.aliases, definition.synonyms) == (other[0][name].aliases, other[0][name].synonyms)
    assert one[1] == other[1]
    assert len(found) <= len(asked)
    back = composed(down, one[0], is_back=True)
    assert not end_of([each.operation for each in back], one[0])[0]
