"""What a run tells of documents: all of them once, whoever did them and however often they were looked at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from vector_documents import TO_FLOAT16, TO_FLOAT32, TO_NEW_PREFIX, TO_OLD_PREFIX, Meanwhile, stock

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.execution.steps import document_work

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.plan import Step
    from redismigrate.planning.strategies import StrategyChoice

COUNT = 600
CHANGES: dict[str, tuple[str, str, StrategyChoice]] = {
    "rebuild": (TO_FLOAT16, TO_FLOAT32, "rebuild"),
    "shadow_field": (TO_FLOAT16, TO_FLOAT32, "auto"),
    "shadow_copy": (TO_NEW_PREFIX, TO_OLD_PREFIX, "auto"),
}
SLOW_STEPS = {"copy_documents", "rewrite_documents"}


class Counting(Meanwhile):
    """Remembers what is told of progress."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[tuple[int, int]] = []

    def indexed(self, step: Step, documents: int, of: int) -> None:
        """Remember it."""
        del step
        self.told.append((documents, of))


@pytest.mark.parametrize("way", CHANGES)
def test_progress_is_never_more_than_there_are_documents(
    shop: Shop, way: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(document_work, "HEARTBEAT_SECONDS", 0.0)
    change, back, strategy = CHANGES[way]
    stock(shop, COUNT)
    shop.write(change, back)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    for migrate, target in ((commands.upgrade, "head"), (commands.downgrade, "-1")):
        watcher = Counting()
        result = migrate(project, target, MigrationOptions(strategy=strategy), watcher)
        assert max(watcher.told) == (COUNT, COUNT)
        assert result.documents is not None
        assert (result.documents.read, result.documents.rewritten) == (COUNT, COUNT)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("way", CHANGES)
def test_a_run_that_was_killed_and_taken_up_counts_all_documents(shop: Shop, way: str):
    change, back, strategy = CHANGES[way]
    stock(shop, COUNT)
    shop.write(change, back)
    arguments = ("upgrade", "head", "--strategy", strategy)
    with shop.process(*arguments, "--max-docs-per-second", "500") as process:
        while not _is_at_work(shop):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(0.5)
        process.kill()
    result = shop.run(*arguments, "--json").json
    assert result["result"] == "done"
    assert (result["documents"]["read"], result["documents"]["rewritten"]) == (COUNT, COUNT)


def _is_at_work(shop: Shop) -> bool:
    run = shop.state("run")
    if run is None:
        return False
    position = (shop.state("progress") or {}).get("position", run["position"])
    return run["plan"]["steps"][position]["kind"] in SLOW_STEPS
