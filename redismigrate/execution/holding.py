"""Puts together what carries out a run: the one place where its parts are made, and given to each other."""

from __future__ import annotations

from pathlib import Path

from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.held_run import HeldRun
from redismigrate.execution.indexes.keys_elsewhere import BeforeTheLoss
from redismigrate.execution.pace.build_brake import BuildBrake
from redismigrate.execution.pace.pace import Pace
from redismigrate.execution.pace_report import PaceReport
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run
from redismigrate.execution.steps.beside_steps import SecondFormSteps
from redismigrate.execution.steps.document_work import DocumentWork
from redismigrate.execution.steps.in_place_steps import DocumentSteps
from redismigrate.execution.steps.restoring_steps import RestoringSteps
from redismigrate.execution.steps.runner import FunctionSource, StepRunner
from redismigrate.execution.steps.values_steps import ValuesSteps
from redismigrate.execution.written_run import WrittenRun
from redismigrate.redis_server.connection import Server
from redismigrate.state.fence import Fence
from redismigrate.state.keys import StateKeys
from redismigrate.state.owners import OwnersWriter
from redismigrate.state.store import StateWriter


def hold(
    server: Server,
    keys: StateKeys,
    writer: StateWriter,
    run: Run,
    watcher: Watcher,
    functions: FunctionSource,
    backup_dir: Path | None = None,
    *,
    allows_lossy: bool = False,
    max_removals: int | None = None,
) -> HeldRun:
    """A run in the hands of the holder of the lock; nothing is opened or written yet.

    Args:
        server: The connection.
        keys: The project's keys.
        writer: Writes the state.
        run: The run, new or taken up.
        watcher: Is told what happens.
        functions: Finds the function of an `op.run`.
        backup_dir: Where the user says that backups are by now; None looks where they were written.
        allows_lossy: Bring documents back as well as it can be where a backup is damaged or gone.
        max_removals: How many documents may go that nobody saw being deleted; None for the usual limit.
    """

    def report() -> PaceReport:
        return pace.report().model_copy(update={"build": build_brake.text})

    written = WrittenRun(writer, run, report, watcher.measured)
    pace = Pace(server, keys, lambda: written.run, written.beat_again, watcher.warned, watcher.at_safe_point)
    build_brake = BuildBrake(
        server, keys, pace, lambda: written.run, written.note_build_sleep, watcher.warned
    )

    def beat(documents: int, of: int) -> None:
        pace.count(documents)
        written.beat(documents, of)

    work = DocumentWork(
        Node(server, Fence(keys.fence.encode(), writer.token.encode(), writer.require_kept)),
        keys.project,
        watcher,
        beat,
        backup_dir,
        pace,
        max_removals,
        pace.look_at_writers,
    )
    steps = StepRunner(
        server,
        keys,
        OwnersWriter(server, keys, writer.token),
        watcher,
        functions,
        beat,
        DocumentSteps(work),
        RestoringSteps(work, allows_lossy=allows_lossy),
        SecondFormSteps(work, allows_lossy=allows_lossy),
        ValuesSteps(work, allows_lossy=allows_lossy),
        build_brake,
    )
    elsewhere = BeforeTheLoss(server, watcher.warned)
    return HeldRun(written, keys, watcher, pace, steps, elsewhere, backup_dir, allows_lossy=allows_lossy)
