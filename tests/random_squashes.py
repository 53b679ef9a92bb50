"""Random histories of one index and its neighbours, as bodies of scripts, for what squashes them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from redismigrate.errors import SchemaError
from redismigrate.operations.index_block import IndexChanges
from redismigrate.operations.operation_types import Operation
from redismigrate.operations.recorder import Operations
from redismigrate.operations.reversing import reversed_operations
from redismigrate.operations.source import source_lines
from redismigrate.schema import IndexSchema, TagField, VectorField
from redismigrate.schema.definition import Catalog

DIMS = 4
PRODUCTS = {
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "brand", "type": "tag"},
        {
            "name": "embedding",
            "type": "vector",
            "attrs": {"algorithm": "flat", "dims": DIMS, "datatype": "float32", "distance_metric": "l2"},
        },
    ],
}
DATATYPES = ("float32", "float16", "float64", "bfloat16")


@dataclass(frozen=True)
class RandomRevision:
    """What one revision does.

    Attributes:
        operations: Up.
        back: Down.
        upgrade: The body of `upgrade`.
        downgrade: The body of `downgrade`.
    """

    operations: tuple[Operation, ...]
    back: tuple[Operation, ...]
    upgrade: str
    downgrade: str


def random_history(seed: int, length: int) -> Iterator[RandomRevision]:
    """Revisions that can be applied one after the other; the first creates the index.

    Args:
        seed: The same one gives the same history.
        length: How many.
    """
    chance, catalog = random.Random(seed), Catalog()  # noqa: S311
    for number in range(length):
        while True:
            op = Operations(catalog)
            try:
                if number == 0:
                    op.create_index(PRODUCTS)
                else:
                    _ask(op, chance, number)
                back = reversed_operations(op.recorded, catalog)
                if not any(map(_says_nothing, back)):
                    break
            except (SchemaError, IndexError):  # IndexError: there is no such field
                continue
        yield RandomRevision(
            op.recorded,
            back,
            "\n".join(source_lines(op.recorded, catalog)) or "pass",
            "\n".join(source_lines(back, op.catalog)) or "pass",
        )
        catalog = op.catalog


def _ask(op: Operations, chance: random.Random, number: int) -> None:
    """Ask for one or two random changes."""
    names = sorted(op.catalog)
    main = next(name for name in names if not name.startswith("other"))
    others = [name for name in names if name != main]
    kind = chance.choice(("change", "change", "change", "change", "change", "alias", "other", "synonyms"))
    if kind == "alias":
        op.create_alias(chance.choice(("shop", "store")), chance.choice(names))
    elif kind == "synonyms":
        op.set_synonyms(main, "shoes", [f"shoe{number}"])
    elif kind == "other" and others:
        op.drop_index(others[0])
    elif kind == "other":
        fields = [{"name": "title", "type": "text"}]
        op.create_index({"index": {"name": f"other{number}", "prefix": "o:"}, "fields": fields})
    else:
        schema = op.catalog[main].schema
        with op.index(main) as index:
            for _ in range(chance.choice((1, 1, 2))):
                _change(index, chance, number, schema)


def _change(index: IndexChanges, chance: random.Random, number: int, schema: IndexSchema) -> None:
    tags = [each.name for each in schema.fields if isinstance(each, TagField)]
    vectors = [each.name for each in schema.fields if isinstance(each, VectorField)]
    chance.choice(
        (
            lambda: index.add_field({"name": f"tag{number}_{chance.randrange(2)}", "type": "tag"}),
            lambda: index.drop_field(chance.choice(tags)),
            lambda: index.alter_field(vectors[0], datatype=chance.choice(DATATYPES)),
            lambda: index.alter_field(vectors[0], algorithm=chance.choice(("flat", "hnsw"))),
            lambda: index.rename_field(chance.choice([*tags, *vectors]), f"name{number}"),
            lambda: index.alter_field(chance.choice(tags), sortable=chance.random() < 0.5),
            lambda: index.rename_to(f"goods{number}"),
        )
    )()


def _says_nothing(operation: Operation) -> bool:
    """Whether it takes back a change to what was so already, which no script can say."""
    changes = operation.changes if operation.kind == "change_index" else ()
    return any(change.kind == "alter_field" and not change.attributes for change in changes)
