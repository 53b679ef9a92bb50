"""Products with vectors, and what is done to them while a migration is at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from signalled_process import KILLED, kill_at

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions, MigrationResult
from redismigrate.execution.progress import Watcher

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.operations.recorded import Direction
    from redismigrate.planning.plan import Step
    from redismigrate.planning.step_life import StepKind

DIMS = 8
DTYPES = {"float32": "<f4", "float16": "<f2", "float64": "<f8", "bfloat16": ml_dtypes.bfloat16}
CHANGE = "with op.index('products') as index:\n    "
TO_FLOAT16 = CHANGE + "index.alter_field('embedding', datatype='float16')"
TO_FLOAT32 = CHANGE + "index.alter_field('embedding', datatype='float32')"
TO_BFLOAT16 = CHANGE + "index.alter_field('embedding', datatype='bfloat16')"
TO_NEW_PREFIX = CHANGE + "index.change_prefix('p:', 'q:')"
TO_OLD_PREFIX = CHANGE + "index.change_prefix('q:', 'p:')"
ONE_PASS = """
with op.index('products') as index:
    index.rename_field('embedding', 'vector')
    index.alter_field('vector', datatype='float16')
"""
ONE_PASS_BACK = """
with op.index('products') as index:
    index.alter_field('vector', datatype='float32')
    index.rename_field('vector', 'embedding')
"""


def creation(
    name: str = "products", prefix: str = "p:", datatype: str = "float32", metric: str = "l2"
) -> str:
    """The body of an `upgrade` that creates an index of titles and vectors."""
    vector = {"algorithm": "flat", "dims": DIMS, "distance_metric": metric, "datatype": datatype}
    schema = {
        "index": {"name": name, "prefix": prefix},
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "embedding", "type": "vector", "attrs": vector},
        ],
    }
    return f"op.create_index({schema!r})"


def vector(number: int, datatype: str = "float32") -> bytes:
    """The vector of a product; in float16 it is another one than in float32, for numbers are rounded."""
    numbers = np.array([number % 100 + 1 + place / 10 for place in range(DIMS)], np.float32)
    return numbers.astype(DTYPES[datatype]).tobytes()


def converted(value: bytes, before: str, after: str) -> bytes:
    """A vector in another datatype."""
    return np.frombuffer(value, DTYPES[before]).astype(np.float32).astype(DTYPES[after]).tobytes()


def add_products(shop: Shop, count: int, prefix: str = "p:", datatype: str = "float32") -> None:
    """Write products `<prefix>0` and on."""
    pipeline = shop.client.pipeline(transaction=False)
    for number in range(count):
        product: dict[Any, Any] = {"title": f"shoe {number}", "embedding": vector(number, datatype)}
        pipeline.hset(f"{prefix}{number}", mapping=product)
    pipeline.execute()


def stock(shop: Shop, count: int, datatype: str = "float32") -> None:
    """Products, in an index that a first revision makes."""
    add_products(shop, count, datatype=datatype)
    shop.write(creation(datatype=datatype), "op.drop_index('products')")
    applied(shop)


def stock_to_re_encode(shop: Shop, count: int) -> None:
    """Products, and a revision that re-encodes them, which is not applied."""
    stock(shop, count)
    shop.write(TO_FLOAT16, TO_FLOAT32)


def documents(shop: Shop) -> dict[bytes, dict[bytes, bytes]]:
    """Every hash, by its key."""
    keys = sorted(shop.client.scan_iter(count=10_000, _type="hash"))
    pipeline = shop.client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    return dict(zip(keys, pipeline.execute(), strict=True))


def applied(shop: Shop, *arguments: str, verb: str = "upgrade") -> dict[str, Any]:
    """Run a migration that succeeds; the counts of documents that it tells."""
    result = shop.run(verb, *arguments, "--json")
    assert result.code == 0, result.out + result.err
    shop.wait_until_indexed()
    counts: dict[str, Any] = result.json["documents"]
    return counts


class Meanwhile(Watcher):
    """Does something just before a step of a kind, every time that one comes.

    Args:
        actions: Kind of step -> what to do.
    """

    def __init__(self, actions: Mapping[StepKind, Callable[[], object]]) -> None:
        self._actions = actions
        self.warnings: list[str] = []

    def step_started(self, step: Step) -> None:
        """Act."""
        self._actions.get(step.kind, lambda: None)()

    def warned(self, message: str) -> None:
        """Remember it."""
        self.warnings.append(message)


def migrate(shop: Shop, actions: Mapping[StepKind, Callable[[], object]], **options: Any) -> MigrationResult:
    """Upgrade to the head in this process while an application is at work.

    Args:
        shop: The project.
        actions: What the application does before a step of a kind.
        options: Of the upgrade.
    """
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    chosen = MigrationOptions(**{"strategy": shop.strategy, **options})
    result = commands.upgrade(project, "head", chosen, Meanwhile(actions))
    shop.wait_until_indexed()
    return result


def kill_half_way(shop: Shop, *arguments: str, is_done: Callable[[], int], of: int) -> None:
    """Start the command as a process and kill it once some documents are done, and not all.

    A quarter of them, so that a busy machine has the time of the others for the kill.

    Args:
        shop: The project.
        arguments: Of the command.
        is_done: How many of the documents that are watched are done.
        of: How many are watched.
    """
    with shop.process(*arguments) as process:
        while is_done() < of / 4:
            assert process.poll() is None, process.communicate()
        process.kill()
    assert is_done() < of, "it was over before it was killed"
    assert shop.state("run") is not None


def kill_before(shop: Shop, kind: StepKind, direction: Direction, target: str, **options: Any) -> None:
    """Run a migration of one revision that is killed just before a step.

    Args:
        shop: The project.
        kind: Of the step.
        direction: Up or down.
        target: To where.
        options: Of the migration.
    """
    chosen = MigrationOptions(**{"strategy": shop.strategy, **options})
    plan = commands.plan(commands.Project.load(shop.folder / "redismigrate.toml"), target, direction, chosen)
    at = 1 + [step.kind for step in plan.revisions[0].steps].index(kind)
    assert kill_at(shop, direction, target, at=at, options=chosen) == KILLED
