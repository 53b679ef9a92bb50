"""A field is renamed while two releases of an application write and search: nothing is lost or short."""

from __future__ import annotations

from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from patience import wait_until
from renaming_application import Release, Work, expected, found
from test_two_releases import followed
from vector_documents import Meanwhile

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import Shop

    from redismigrate.commands.migration_options import MigrationResult

OLD, NEW = "desc", "description"
RENAME = f"with op.index('products') as index:\n    index.rename_field('{OLD}', '{NEW}')"
RENAME_BACK = f"with op.index('products') as index:\n    index.rename_field('{NEW}', '{OLD}')"
FLAT, HNSW = MappingProxyType({"algorithm": "flat"}), MappingProxyType({"algorithm": "hnsw"})
# A graph that takes each write some milliseconds.
MEAN = MappingProxyType({"algorithm": "hnsw", "m": 64, "ef_construction": 700})
# Writes of each release that have to happen at least in every part of a roll-out.
SOME = 30


def creation(storage: str, dims: int, attributes: Mapping[str, Any]) -> str:
    attributes = {"dims": dims, "distance_metric": "l2", "datatype": "float32", **attributes}
    if storage == "json":
        fields: list[dict[str, Any]] = [
            {"name": OLD, "type": "text", "path": f"$.spec.{OLD}"},
            {"name": "views", "type": "numeric", "path": "$.views"},
            {"name": "embedding", "type": "vector", "path": "$.embedding", "attrs": attributes},
        ]
    else:
        fields = [
            {"name": OLD, "type": "text"},
            {"name": "views", "type": "numeric"},
            {"name": "embedding", "type": "vector", "attrs": attributes},
        ]
    schema = {"index": {"name": "products", "prefix": "p:", "storage_type": storage}, "fields": fields}
    return f"op.create_index({schema!r})"


class RollOut:
    """A shop whose field is renamed, and the two releases of its application.

    Args:
        shop: The project.
        storage: Of its documents.
        documents: How many there are to begin with.
        per_second: Writes of each release.
        dims: Components of a vector.
        index: Attributes of the vectors in the index.
    """

    def __init__(
        self,
        shop: Shop,
        storage: Any,
        documents: int,
        per_second: int = 100,
        dims: int = 8,
        index: Mapping[str, Any] = FLAT,
    ) -> None:
        self.shop = shop
        self.storage = storage
        self.old, self.new = (
            Release(
                shop.url, str(shop.folder / f"{name}.log"), storage, name, first, documents, dims, per_second
            )
            for first, name in enumerate((OLD, NEW))
        )
        self.old.fill()
        shop.write(creation(storage, dims, index), "op.drop_index('products')")
        self.migrate("upgrade", "head")
        shop.write(RENAME, RENAME_BACK)

    def migrate(
        self, verb: str, target: str, actions: Mapping[Any, Any] | None = None, **options: Any
    ) -> MigrationResult:
        """Up or down in this process; what is done before steps of a kind."""
        project = commands.Project.load(self.shop.folder / "redismigrate.toml")
        result = getattr(commands, verb)(
            project, target, MigrationOptions(**options), Meanwhile(actions or {})
        )
        self.shop.wait_until_indexed()
        assert result.documents.failed == ()
        return result  # type: ignore[no-any-return]

    def let_write(self, *releases: Release) -> None:
        """Wait until each has written some more."""
        until = {release.log: release.has_written() + SOME for release in releases}
        wait_until(lambda: all(release.has_written() >= until[release.log] for release in releases))

    def require_all(self, name: str) -> None:
        """Every document is as it was written last, with the field under one name."""
        wanted, there = expected([self.old, self.new], name), found(self.shop.client, self.storage)
        assert there.keys() == wanted.keys()
        wrong = {key: (there[key], wanted[key]) for key in wanted if there[key] != wanted[key]}
        assert not wrong, (len(wrong), next(iter(wrong.items())))
        assert self.shop.hits("products", f"@{name}:shoe") == len(wanted)
        # 3 is drift; below the head a revision waits.
        assert self.shop.run("check").code in {0, 4}

    def physical(self) -> str:
        """The index that is built beside the one that serves."""
        shown = self.shop.run("current", "--json").json["indexes"]["products"]["expanded"]
        return str(shown["physical"])

    def left_over(self) -> set[bytes]:
        """Marks of a run, which end with it."""
        return set(self.shop.client.scan_iter(match="{redismigrate:shop}:mark:*", count=10_000))


def expand_roll_out_contract(roll: RollOut) -> None:
    """The whole roll-out, with both releases at work as long as each is deployed."""
    with ExitStack() as stack:
        old_asks = stack.enter_context(roll.old.asking("products"))
        old_writes = stack.enter_context(roll.old.writing())
        roll.migrate("upgrade", "head", phase="expand")
        with followed(roll.shop):
            physical = roll.physical()
            new_asks = stack.enter_context(roll.new.asking(physical))
            old_asks_there = stack.enter_context(roll.old.asking(physical))
            new_writes = stack.enter_context(roll.new.writing())
            roll.let_write(roll.old, roll.new)
            old_writes.stop()
            old_asks_there.stop()
        swaps: list[Work] = [old_asks]

        def moved() -> None:
            """The first swap is to an index with both names, the second to that with the new ones."""
            if len(swaps) == 2:
                old_asks.stop()
            swaps.append(old_asks)

        roll.migrate("upgrade", "head", {"swap_alias": moved}, phase="contract")
        assert len(swaps) == 3
        new_asks_served = stack.enter_context(roll.new.asking("products"))
        roll.let_write(roll.new)
        for work in (new_writes, new_asks, new_asks_served):
            work.stop()
    roll.require_all(NEW)
    assert roll.left_over() == set()


def at_once(roll: RollOut, verb: str, target: str, before: Release, after: Release) -> None:
    """Without phases: the release that knows the old name goes on until the new one alone is left."""
    with before.writing() as writing, before.asking("products") as asking:
        roll.let_write(before)

        def stop_asking() -> None:
            asking.stop()

        roll.migrate(verb, target, {"swap_alias": stop_asking, "remove_documents": writing.stop})
    with after.asking("products"), after.writing():
        roll.let_write(after)
    roll.require_all(after.name)
    assert roll.left_over() == set()


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("storage", ["hash", "json"])
def test_a_field_is_renamed_while_an_application_writes_and_searches(shop: Shop, storage: str):
    roll = RollOut(shop, storage, 300)
    with roll.old.writing() as writing, roll.old.asking("products") as asking:
        roll.migrate("upgrade", "head", {"swap_alias": asking.stop, "remove_documents": writing.stop})
    roll.require_all(NEW)
    assert roll.left_over() == set()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("storage", ["hash", "json"])
def test_a_field_is_renamed_under_two_releases_up_down_and_up(shop: Shop, storage: str):
    roll = RollOut(shop, storage, 2000)
    expand_roll_out_contract(roll)
    at_once(roll, "downgrade", "-1", roll.new, roll.old)
    at_once(roll, "upgrade", "head", roll.old, roll.new)


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("storage", ["hash", "json"])
@pytest.mark.parametrize(("index", "per_second"), [(FLAT, 200), (HNSW, 20)], ids=["flat", "hnsw"])
def test_many_documents_are_renamed_under_two_releases(
    shop: Shop, storage: str, index: Mapping[str, Any], per_second: int
):
    roll = RollOut(shop, storage, 20_000, per_second, 128, index)
    expand_roll_out_contract(roll)
    at_once(roll, "downgrade", "-1", roll.new, roll.old)
    at_once(roll, "upgrade", "head", roll.old, roll.new)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_writers_that_are_ahead_of_a_graph_are_told_of_and_the_run_ends_in_order(shop: Shop):
    """A machine that keeps up with them ends it well."""
    roll = RollOut(shop, "hash", 2000, 2000, 128, MEAN)
    with roll.old.writing():
        roll.let_write(roll.old)
        result = shop.run("upgrade", "head", "--max-wait", "1")
    assert result.code in {0, 1}, result.err
    if result.code == 0:
        return
    assert "ahead" in result.err
    assert shop.state("run") is None
    assert roll.left_over() == set()
    roll.require_all(OLD)
