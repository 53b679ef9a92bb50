"""`demo`: takes the example from base to head and back on a private server, one revision at a time."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from redismigrate.commands.demo.demo_questions import Answer, Asker
from redismigrate.commands.demo.demo_scenes import SCENES, Scene
from redismigrate.commands.migrate import downgrade, plan, upgrade
from redismigrate.commands.migration_options import MigrationResult
from redismigrate.commands.project import Project
from redismigrate.config import load_settings
from redismigrate.configuration_file import CONFIGURATION_FILE
from redismigrate.errors import RunFailed, RunInterrupted
from redismigrate.execution.progress import Watcher
from redismigrate.foreign_modules import functions_in
from redismigrate.packaged import packaged_folder
from redismigrate.planning.plan import Plan
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.inspection import list_indexes

PREFIX = b"package:"


@dataclass(frozen=True)
class Loaded:
    """What the demo begins with.

    Attributes:
        redis_version: Of the private server.
        packages: How many packages were loaded, one hash each.
        revisions: How many revisions follow.
        seconds: How long loading took.
    """

    redis_version: str
    packages: int
    revisions: int
    seconds: float


@dataclass(frozen=True)
class PlannedScene:
    """A scene whose revision is about to be applied.

    Attributes:
        number: Its place, from 1.
        scene: What it shows.
        message: The revision's own message.
        plan: What applying it will do.
    """

    number: int
    scene: Scene
    message: str
    plan: Plan


@dataclass(frozen=True)
class PlayedScene:
    """A scene whose revision was applied.

    Attributes:
        planned: What was planned.
        query: The question in Redis Search's query language.
        before: The answer before it was applied.
        after: The answer since.
        documents: How many documents the index sees now.
        seconds: How long applying it took.
    """

    planned: PlannedScene
    query: str
    before: Answer
    after: Answer
    documents: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The scene as data for `--json`."""
        scene = self.planned.scene
        steps = [step for item in self.planned.plan.revisions for step in item.steps]
        return {
            "revision": scene.revision,
            "message": self.planned.message,
            "shows": scene.shows,
            "strategies": sorted({step.strategy for step in steps if step.strategy is not None}),
            "question": asdict(scene.question) | {"query": self.query},
            "before": asdict(self.before),
            "after": asdict(self.after),
            "documents": self.documents,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class DemoResult:
    """What the demo did.

    Attributes:
        loaded: What it began with.
        applied: The revisions of the example, each with its query before and after.
        undone: The downgrade to base.
        indexes_left: Indexes after the downgrade.
        are_packages_unchanged: Every package's hash is, after the downgrade, what was loaded.
        seconds: How long all of it took.
        kept: The folder of the project; None when it was removed.
    """

    loaded: Loaded
    applied: tuple[PlayedScene, ...]
    undone: MigrationResult
    indexes_left: tuple[str, ...]
    are_packages_unchanged: bool
    seconds: float
    kept: Path | None

    def to_json(self) -> dict[str, Any]:
        """All that was played, as data for `--json`."""
        return {
            "redis_version": self.loaded.redis_version,
            "packages": self.loaded.packages,
            "revisions": [revision.to_json() for revision in self.applied],
            "downgrade": self.undone.to_json(),
            "indexes_left": list(self.indexes_left),
            "packages_unchanged": self.are_packages_unchanged,
            "seconds": round(self.seconds, 3),
            "kept": None if self.kept is None else str(self.kept),
        }


class DemoWatcher(Watcher):
    """Is told what happens; this one does nothing. Between these calls come those of each run."""

    def loaded(self, loaded: Loaded) -> None:
        """The server is up and holds the packages."""

    def planned(self, planned: PlannedScene) -> None:
        """A revision is about to be applied."""

    def applied(self, applied: PlayedScene) -> None:
        """Called when a revision of the demo was applied."""

    def downgrade_started(self) -> None:
        """All revisions are applied; now they are undone."""


def run_demo(watcher: DemoWatcher | None = None, *, keep: bool = False) -> DemoResult:
    """Copy the example, start a private server, and show each revision by a query before and after it.

    Neither the server nor the folder of the copy outlives the call. Settings in the environment don't count.

    Args:
        watcher: Is told what happens.
        keep: Leave the folder of the copy.

    Raises:
        ConfigurationError: The installation lacks its example.
        EmbeddedServerUnavailable: No server with Search could be started on this machine.
        RunFailed: A revision could not be applied or undone, or was interrupted.
    """
    started = time.monotonic()
    watcher = watcher or DemoWatcher()
    with _copy_of_example(keep=keep) as folder, EmbeddedServer() as running, connect(running.url) as server:
        settings = load_settings(folder / CONFIGURATION_FILE, {"url": running.url}, environment={})
        loaded = _load(server, folder)
        watcher.loaded(loaded)
        at_first = _digest_of_packages(server)
        try:
            applied, undone = _there_and_back(Project(settings), Asker(server, folder), watcher)
        except RunInterrupted as error:
            raise RunFailed(error.message, "Its server is gone, so start the demo anew.") from error
        with server.translated_errors():
            indexes_left = list_indexes(server.client.execute_command)
        return DemoResult(
            loaded=loaded,
            applied=applied,
            undone=undone,
            indexes_left=indexes_left,
            are_packages_unchanged=_digest_of_packages(server) == at_first,
            seconds=time.monotonic() - started,
            kept=folder if keep else None,
        )


@contextmanager
def _copy_of_example(*, keep: bool) -> Iterator[Path]:
    """A copy to work on, as an installed package may be read-only; after an error it is never kept."""
    example = packaged_folder("_example", "alembic_style_example", "example")
    folder = Path(tempfile.mkdtemp(prefix="redismigrate-demo-"))
    is_kept = False
    try:
        # pip compiles what it installs, and a checkout fills with the caches of its tools.
        caches = shutil.ignore_patterns("__pycache__", "*_cache")
        shutil.copytree(example, folder, ignore=caches, dirs_exist_ok=True)
        yield folder
        is_kept = keep
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)


def _load(server: Server, folder: Path) -> Loaded:
    load_packages = functions_in(folder / "load_data.py")["load_packages"]
    started = time.monotonic()
    with server.translated_errors():
        packages = load_packages(server.client)
    return Loaded(
        server.capabilities.redis_version, packages, len(SCENES), seconds=time.monotonic() - started
    )


def _there_and_back(
    project: Project, asker: Asker, watcher: DemoWatcher
) -> tuple[tuple[PlayedScene, ...], MigrationResult]:
    applied = tuple(
        _apply(project, asker, number, scene, watcher) for number, scene in enumerate(SCENES, start=1)
    )
    watcher.downgrade_started()
    return applied, downgrade(project, "base", watcher=watcher)


def _apply(project: Project, asker: Asker, number: int, scene: Scene, watcher: DemoWatcher) -> PlayedScene:
    message = project.history[scene.revision].message
    planned = PlannedScene(number, scene, message, plan(project, scene.revision))
    watcher.planned(planned)
    before = asker.ask(scene.question)
    result = upgrade(project, scene.revision, watcher=watcher)
    applied = PlayedScene(
        planned=planned,
        query=asker.query(scene.question),
        before=before,
        after=asker.ask(scene.question),
        documents=asker.documents(),
        seconds=result.seconds["total"],
    )
    watcher.applied(applied)
    return applied


def _digest_of_packages(server: Server) -> str:
    with server.translated_errors():
        keys = sorted(server.client.scan_iter(match=PREFIX + b"*", count=1000))
        with server.client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            hashes = pipeline.execute()
    digest = hashlib.sha256()
    for key, fields in zip(keys, hashes, strict=True):
        digest.update(repr((key, sorted(fields.items()))).encode())
    return digest.hexdigest()
