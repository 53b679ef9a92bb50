"""The run that this process works on: its steps are carried out and noted through here, forward and back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redismigrate.backup.location import BackupLocation
from redismigrate.errors import (
    BackupDamaged,
    BackupError,
    BackupMissing,
    RedisMigrateError,
    RunInterrupted,
)
from redismigrate.execution.endings import ENDS, reason_of
from redismigrate.execution.indexes.keys_elsewhere import BeforeTheLoss
from redismigrate.execution.indexes.search_commands import Commands
from redismigrate.execution.indexes.unreadable import require_readable
from redismigrate.execution.pace.pace import Pace
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run, now
from redismigrate.execution.steps.name_steps import commands_of_moves
from redismigrate.execution.steps.reading_backups import read_whole
from redismigrate.execution.steps.runner import Effect, StepRunner
from redismigrate.execution.written_run import NOTHING_ELSE, WrittenRun
from redismigrate.planning.index_parts import names_of
from redismigrate.planning.name_moves import leading_moves
from redismigrate.planning.physical_names import with_physical_names
from redismigrate.planning.plan import Step, moves_names
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import signature
from redismigrate.state.store import State
from redismigrate.state.transaction import Transaction


class HeldRun:
    """Owns a run on behalf of the holder of the lock.

    Args:
        written: The run, and who writes it.
        keys: The project's keys.
        watcher: Is told what happens.
        pace: Makes it wait where a limit asks for that.
        steps: Does its steps.
        before_the_loss: Looks at databases other than 0 before a step by which searches lose them.
        backup_dir: Where the user says that backups are by now; None looks where they were written.
        allows_lossy: Bring documents back as well as it can be where a backup is damaged or gone.

    Attributes:
        keys: The project's keys.
        seconds: Wall seconds by phase: documents, index, validate, cutover.
        writer: Writes the state.
        watcher: Is told what happens.
        backup_dir: Where the user says that backups are by now.
        allows_lossy: Bring documents back as well as it can be where a backup is damaged or gone.
        pace: Makes it wait where a limit asks for that.
        runs_search_in_scripts: Whether what a step does and the note of it are one transaction.
        write: Makes something else the run, in one transaction with other documents, see `WrittenRun.write`.
    """

    def __init__(
        self,
        written: WrittenRun,
        keys: StateKeys,
        watcher: Watcher,
        pace: Pace,
        steps: StepRunner,
        before_the_loss: BeforeTheLoss,
        backup_dir: Path | None = None,
        *,
        allows_lossy: bool = False,
    ) -> None:
        self.keys = keys
        self.writer = written.writer
        self.watcher = watcher
        self.pace = pace
        self.backup_dir = backup_dir
        self.allows_lossy = allows_lossy
        self.runs_search_in_scripts = steps.server.capabilities.runs_search_in_scripts
        self.seconds: dict[str, float] = {}
        self.write = written.write
        self._written = written
        self._steps = steps
        self._before_the_loss = before_the_loss

    @property
    def run(self) -> Run:
        """The run as last written."""
        return self._written.run

    @property
    def state(self) -> State:
        """The state as last written."""
        return self.writer.state

    def let_hold(self, arguments: Mapping[str, Any], event: str) -> None:
        """Let other arguments hold for the rest of the run.

        Args:
            arguments: Their names and values.
            event: What the journal gets.
        """
        changed = {**self.run.arguments, **arguments}
        self.write(self.run.with_changes(arguments=changed), self.event(event))

    def end(self, run: Run, event: Mapping[str, str], others: Transaction = NOTHING_ELSE) -> None:
        """Make this the end of the run, see `WrittenRun.end`.

        With the run goes the note of what the server's setting for builds was, so that is given back before.

        Raises:
            ConnectionFailed: The server can't be reached; the run is not over.
        """
        self.give_build_sleep_back()
        self._written.end(run, event, others)

    def in_hand(self) -> tuple[Step, ...]:
        """The step to do next; of those that move names all that follow each other."""
        steps = self.run.steps[self.run.position :]
        return leading_moves(steps) or steps[:1]

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Do a step, or some that move names and are one, and note that it is done.

        Raises:
            RedisMigrateError: One of `FAILURES` when the step met what it can't do.
        """
        step = steps[-1]
        self.watcher.at_safe_point()
        with self.timed(step):
            self.look_elsewhere(steps)
            self._written.run = self.run.moved(step_started_at=now())
            self.pace.begin_step()
            if step.kind == "run_function":
                # What a function writes is not fenced; it shall not even begin once the lock is another's, or
                # on a server that has forgotten what comes before it.
                self.writer.require_kept()
                self.writer.transact(Transaction())
            if moves_names(step):
                self._note(steps, self._steps.move_names(steps, self.run))
            else:
                self._note(steps, self._steps.carry_out(step, self.run))

    def look_elsewhere(self, steps: Iterable[Step]) -> None:
        """Refuse steps by which searches would no longer find documents of databases other than 0.

        Raises:
            PlanBlocked: There are some, the run goes forward, and nothing says that they are to be ignored.
        """
        self._before_the_loss.look(steps, self.run)

    @property
    def told_elsewhere(self) -> tuple[str, ...]:
        """What was told about databases other than 0 meanwhile."""
        return tuple(self._before_the_loss.told)

    def repeat(self, step: Step) -> None:
        """Do a step once more that is noted as done and changes nothing but documents."""
        with self.timed(step):
            effect = self._steps.carry_out(step, self.run)
            self._written.run = self.run.moved(**effect.changes)

    def look(self, step: Step) -> None:
        """Do a step that only looks, once more.

        Raises:
            RedisMigrateError: One of `FAILURES` when it does not find what it should.
        """
        with self.timed(step):
            self._steps.carry_out(step, self.run)

    def guards(self, moves: Iterable[Step]) -> dict[str, tuple[int, int]]:
        """Come in step with writers before names move: what the indexes that are swapped out look like then.

        Raises:
            TrackingLost: The server does not report writes for as long as a pass over all documents takes.
        """
        found = {}
        for step in (step for step in moves if step.kind == "swap_alias"):
            guard = self._steps.second_forms.settle(step, self.run)
            if guard is not None and step.before is not None:
                found[step.before.physical] = (guard.max_doc_id, guard.num_docs)
        return found

    def follow(self) -> None:
        """Synchronise what writers have written since the last time, where a second form is kept in step."""
        self._steps.second_forms.names_moved(self.run)
        self._steps.second_forms.follow()

    def give_build_sleep_back(self) -> None:
        """Give back what the run has made of the server's setting for builds, in whatever process.

        Raises:
            ConnectionFailed: The server can't be reached.
        """
        self._steps.build_brake.let_go()

    def stop_following(self) -> None:
        """Close what is open to follow writers; a step that has to follow them opens it again."""
        self._steps.second_forms.close()

    def close(self) -> None:
        """Close all that its steps have opened, and end what measures."""
        with ExitStack() as closing:
            closing.callback(self.pace.close)
            closing.callback(self.stop_following)

    def moves(self, steps: Iterable[Step]) -> Commands:
        """The commands of steps that move names, to be one transaction with the record of their revision.

        Raises:
            DriftError: Another client changed an index that is dropped or swapped out, or moved a name.
        """
        return commands_of_moves(self._steps.server, steps)

    @property
    def to_repeat(self) -> tuple[Step, ...]:
        """The steps that are done once more when the run is taken up: writers may have gone on."""
        if self.run.is_recorded:
            return ()
        done = self.run.steps[: self.run.position]
        # What is recorded already serves: what is written since then is in the new form.
        served = self.run.apart.met.keys()
        return tuple(
            step for step in done if step.life.has("is_repeated") and names_of(step).isdisjoint(served)
        )

    def require_backups(self) -> None:
        """Refuse to go on with a run that was interrupted, where a backup is not that its other steps need.

        Raises:
            BackupMissing: It is not on this machine; nothing was changed.
            BackupDamaged: Its manifest is not as it was written, or one of a revision that is being undone is
                damaged anywhere; nothing was changed.
        """
        older: dict[str, None] = {}
        with self.telling_way_out():
            for step in (*self.to_repeat, *self.run.steps[self.run.position :]):
                # That of copies only holds what they have replaced: nothing needs it to go on.
                needs_own = step.life.has("reads_own_backup")
                made = self.run.backups.get(str(step.index)) if needs_own else None
                for location in filter(None, (made, step.backup)):
                    BackupLocation.parse(location).open(self.backup_dir)
                older.update(dict.fromkeys(step.restores_from))
            for location in older:
                # Where it goes back already, its own steps read them.
                if self.run.failure is not None:
                    BackupLocation.parse(location).open(self.backup_dir)
                elif not self.run.arguments.get("allow_lossy"):
                    read_whole(location, self.backup_dir, self.watcher.backup_read)

    def require_rights(self, steps: Iterable[Step] = ()) -> None:
        """Refuse to go on, forward or back, as a user from whom the server keeps one of the indexes.

        Args:
            steps: That are to be done besides those of the revision at work.

        Raises:
            AuthenticationFailed: There is one; nothing was changed.
        """
        steps = (*self.run.plan.steps, *self.run.undo, *steps)
        found = [side for step in steps for side in (step.before, step.after) if side is not None]
        require_readable(self._steps.server, (side.schema for side in found), self.keys.fence)

    @contextmanager
    def telling_way_out(self) -> Iterator[None]:
        """Let the error about a backup that the run needs say how to do without it."""
        try:
            yield
        except (BackupDamaged, BackupMissing) as error:
            error.hint = f"{error.hint} {self._way_out}"
            raise

    @property
    def _way_out(self) -> str:
        is_finished = self.state.run is None
        which = f" --run {self.run.id}" if is_finished else ""
        return f"`redismigrate rollback{which} --allow-lossy` undoes the run with what is left of the backup."

    @property
    def _goes_on(self) -> str:
        if self.state.run is None:
            undoes = f"; `redismigrate rollback --run {self.run.id}` undoes it" if self.run.done else ""
            return f"Nothing is left to be done of the run{undoes}."
        if self.run.rolls_back:
            return "Run `redismigrate rollback` again: it goes on undoing the run."
        return "Run the same command again to resume, or `redismigrate rollback` to undo the run."

    @contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """Count what a step takes, done or not, to its phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            phase, elapsed = step.life.phase, time.monotonic() - started
            self.seconds[phase] = self.seconds.get(phase, 0.0) + elapsed
            self.watcher.step_ended(step, elapsed)

    def event(self, name: str, **more: str) -> dict[str, str]:
        """An event of the revision at work, for the journal."""
        return {
            "event": name,
            "revision": self.run.plan.revision,
            "run": self.run.id,
            "by": signature(),
        } | more

    @contextmanager
    def interruptions(self) -> Iterator[None]:
        """What stops the process, not the revision, leaves the run to be taken up again."""
        try:
            yield
        except (*ENDS, RunInterrupted) as error:
            self._tell(error)
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            goes_on = self._goes_on
            if isinstance(error, BackupDamaged | BackupMissing):
                goes_on = f"{goes_on} {self._way_out}"
            interrupted = RunInterrupted(
                f"Run {self.run.id} was interrupted at {self.run.plan.title_within}: {reason_of(error)}",
                f"{error.hint} {goes_on}" if isinstance(error, BackupError) and error.hint else goes_on,
            )
            self._tell(interrupted)
            raise interrupted from error

    def _tell(self, error: RedisMigrateError) -> None:
        """Let an error say which run it ended, and how far that had come."""
        error.run, error.revisions, error.documents = self.run.id, self.run.done, self.run.documents

    def _note(self, steps: Sequence[Step], effect: Effect) -> None:
        step = steps[-1]
        moved = {
            "position": self.run.position + len(steps),
            "progress": None,
            "pace": None,
            "step_started_at": now(),
        }
        run = self.run.moved(**moved, **effect.changes)
        # Once the revision is recorded, so is where its indexes are.
        moves = step.life.name == "swap_when_recorded"
        others = Transaction(
            catalog=with_physical_names(self.state.catalog, (step,)) if moves else None,
            commands=effect.commands.forward,
            put_back=effect.commands.put_back,
        )
        self._written.note(run, self.event("step", kind=step.kind, index=step.index or ""), others)
