"""However a command ends, it leaves no file of a backup and no connection open."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from vector_documents import (
    DIMS,
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    Meanwhile,
    migrate,
    stock,
    vector,
)

from redismigrate import commands
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.errors import RunFailed, RunInterrupted
from redismigrate.execution.documents.beside.follower import Follower

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.backup.chunk_file import Chunk
    from redismigrate.backup.manifest import ChunkRecord
    from redismigrate.planning.step_life import StepKind

PRODUCTS = 30
OPEN_FILES = Path("/proc/self/fd")
SECONDS = 5
Ending = Callable[["Shop"], None]
Action = Callable[[], object]

pytestmark = pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="the system does not list open files")


def open_files(folder: Path) -> list[str]:
    """The files below a folder that this process has open."""
    found = []
    for link in OPEN_FILES.iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return sorted(each for each in found if each.startswith(f"{folder}/"))


def connections(shop: Shop) -> int:
    return len(shop.client.client_list())


@contextmanager
def nothing_stays_open(shop: Shop) -> Iterator[None]:
    """Look at what is open, and at what the collector closes."""
    before = connections(shop)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        yield
        assert open_files(shop.folder) == []
        deadline = time.monotonic() + SECONDS  # the server notices a closed connection a moment later
        while connections(shop) > before:
            assert time.monotonic() < deadline, shop.client.client_list()
            time.sleep(0.01)
        gc.collect()
    assert [str(each.message) for each in told] == []


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of the backups that were opened to be written."""
    folders: list[Path] = []
    begin = BackupWriter.__init__

    def begin_noted(writer: BackupWriter, folder: Path, *arguments: Any) -> None:
        folders.append(folder)
        begin(writer, folder, *arguments)

    monkeypatch.setattr(BackupWriter, "__init__", begin_noted)
    return folders


@pytest.fixture
def ends_after_chunk(monkeypatch: pytest.MonkeyPatch) -> list[Action]:
    """What happens as soon as another chunk of a backup is on disk, each once."""
    actions: list[Action] = []
    add = BackupWriter.add

    def add_and_act(writer: BackupWriter, chunk: Chunk) -> ChunkRecord:
        record = add(writer, chunk)
        if actions:
            actions.pop()()
        return record

    monkeypatch.setattr(BackupWriter, "add", add_and_act)
    return actions


def let_closing_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is closed first of all that follows writers raises, once it is closed."""
    end = Follower.__exit__

    def end_badly(follower: Follower, *arguments: Any) -> None:
        end(follower, *arguments)
        raise OSError("can't be closed")

    monkeypatch.setattr(Follower, "__exit__", end_badly)


def interrupt(shop: Shop) -> None:
    raise KeyboardInterrupt


def take_lock(shop: Shop) -> None:
    shop.client.set("{redismigrate:shop}:fence", "999999")


ENDINGS = [interrupt, take_lock]


def to_float16(shop: Shop, strategy: str) -> None:
    shop.strategy = strategy
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)


def written_by_both(shop: Shop) -> None:
    """Products whose copies are there, one of which both releases have written."""
    stock(shop, PRODUCTS)
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX)
    migrate(shop, {}, phase="expand")
    shop.client.hset("p:3", "title", "of the old release")
    shop.client.hset("q:3", "title", "of the new release")


@pytest.mark.parametrize("strategy", ["rebuild", "shadow_field"])
def test_after_a_run_that_is_refused(shop: Shop, written: list[Path], strategy: str):
    to_float16(shop, strategy)
    shop.client.hset("p:3", "embedding", np.full(DIMS, 1e6, np.float32).tobytes())
    with nothing_stays_open(shop), pytest.raises(RunFailed) as error:
        migrate(shop, {})
    assert "p:3" in str(error.value)
    assert len(written) == 1


def end_before_each(shop: Shop, kinds: Sequence[StepKind], action: Action = lambda: None, **options: Any):
    """A run that ends before each of some steps in turn, twice, and goes on with the next command."""
    for kind in kinds:
        for end in ENDINGS:

            def act_and_end(end: Ending = end) -> None:
                action()
                end(shop)

            with nothing_stays_open(shop), pytest.raises(RunInterrupted):
                migrate(shop, {kind: act_and_end}, **options)
    with nothing_stays_open(shop):
        migrate(shop, {}, **options)
    assert shop.hits("products") == PRODUCTS


@pytest.mark.slow
def test_after_a_rebuild_that_ends_before_a_step(shop: Shop, written: list[Path]):
    to_float16(shop, "rebuild")
    end_before_each(shop, ("rewrite_documents", "record_revision"))
    assert written


@pytest.mark.slow_beyond(1)
def test_after_a_run_by_second_fields_that_ends_before_a_step(shop: Shop, written: list[Path]):
    to_float16(shop, "shadow_field")
    end_before_each(shop, ("copy_documents", "promote_documents", "remove_documents"))
    assert written


@pytest.mark.slow_beyond(1)
def test_after_a_contraction_that_ends_before_a_step(shop: Shop, written: list[Path]):
    written_by_both(shop)
    kinds: tuple[StepKind, ...] = ("swap_alias", "remove_documents")
    end_before_each(shop, kinds, phase="contract", max_failures=1)
    assert written


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("end", ENDINGS)
def test_after_a_contraction_that_ends_when_an_original_is_backed_up(
    shop: Shop, written: list[Path], ends_after_chunk: list[Action], end: Ending
):
    written_by_both(shop)
    ends_after_chunk.append(lambda: end(shop))
    with nothing_stays_open(shop), pytest.raises(RunInterrupted):
        migrate(shop, {}, phase="contract")
    assert len(written) == 1


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("end", ENDINGS)
def test_after_a_run_by_second_fields_that_ends_when_its_backup_grows(
    shop: Shop, written: list[Path], ends_after_chunk: list[Action], end: Ending
):
    to_float16(shop, "shadow_field")

    def write_late() -> None:
        shop.client.hset("p:3", "embedding", vector(30))
        ends_after_chunk.append(lambda: end(shop))

    with nothing_stays_open(shop), pytest.raises(RunInterrupted):
        migrate(shop, {"promote_documents": write_late})
    assert len(written) == 2


def test_after_a_rollback_that_ends_before_a_step(shop: Shop, written: list[Path]):
    written_by_both(shop)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    for end in ENDINGS:
        with nothing_stays_open(shop), pytest.raises(RunInterrupted):
            commands.rollback(project, watcher=Meanwhile({"drop_index": lambda end=end: end(shop)}))
    with nothing_stays_open(shop):
        commands.rollback(project)
    assert written


@pytest.mark.parametrize("end", ENDINGS)
def test_after_following_that_ends_when_an_original_is_backed_up(
    shop: Shop, written: list[Path], ends_after_chunk: list[Action], end: Ending
):
    written_by_both(shop)
    ends_after_chunk.append(lambda: end(shop))
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with nothing_stays_open(shop):
        try:
            # Who has lost the lock follows anew, with a token of its own.
            commands.follow(project, lambda _: False)
        except KeyboardInterrupt:
            assert end is interrupt
    assert written


def test_after_following_that_is_stopped(shop: Shop, written: list[Path]):
    written_by_both(shop)
    project = commands.Project.load(shop.folder / "redismigrate.toml")
    with nothing_stays_open(shop):
        commands.follow(project, lambda _: False)
    assert len(written) == 1


def test_though_one_thing_can_not_be_closed(
    shop: Shop, written: list[Path], ends_after_chunk: list[Action], monkeypatch: pytest.MonkeyPatch
):
    written_by_both(shop)
    let_closing_fail(monkeypatch)
    ends_after_chunk.append(lambda: interrupt(shop))
    with nothing_stays_open(shop), pytest.raises(RunInterrupted, match="can't be closed"):
        migrate(shop, {}, phase="contract")
    assert len(written) == 1
