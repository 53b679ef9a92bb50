"""`status --watch` for people: a table that moves on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from redismigrate.cli.context import LINE_EVERY_SECONDS, Invocation
from redismigrate.commands.watching import Watched
from redismigrate.foreign_text import readable
from redismigrate.state.control import Control, settings_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from redismigrate.execution.run import Run

SECONDS_PER_MINUTE = 60
BAR_WIDTH = 40


def show_watched(invocation: Invocation, moments: Iterator[Watched]) -> None:
    """Show a run until it ends, then how it ended."""
    console = invocation.console()
    last: Watched | None = None
    if console.is_terminal and not invocation.is_quiet:
        from rich.live import Live

        with Live(console=console, auto_refresh=False, transient=True) as live:
            for last in moments:
                live.update(table_of(last), refresh=True)
    else:
        for last in _with_lines(invocation, moments):  # noqa: B007 - the last one is shown below
            pass
    invocation.result(None, "No run is under way." if last is None else readable(outcome_text(last)))


def _with_lines(invocation: Invocation, moments: Iterator[Watched]) -> Iterator[Watched]:
    """The same moments, a line printed for each change."""
    told_state: object = None
    told_line, told_at = "", 0.0
    for watched in moments:
        yield watched
        run, line = watched.run, progress_line(watched)
        state = (
            run.plan.revision,
            run.failure,
            run.position,
            run.pace is not None and bool(run.pace.brakes),
            watched.control,
        )
        is_due = line != told_line and time.monotonic() - told_at >= LINE_EVERY_SECONDS
        if watched.outcome is None and (state != told_state or is_due):
            invocation.say(line)
            told_state, told_line, told_at = state, line, time.monotonic()


def pace_lines(run: Run, control: Control | None) -> list[str]:
    """The limits of a run and what it waits for, in lines of `status`."""
    limits = "" if control is None else settings_text(control)
    waits = "" if control is None else _waits_for(run, control)
    return [f"  {name}: {text}" for name, text in (("limits", limits), ("waits", waits)) if text]


def progress_line(watched: Watched) -> str:
    """A moment in a line."""
    run = watched.run
    facts = [_step_text(run), *_numbers(run)]
    waits = _waits_for(run, watched.control)
    return ", ".join(facts) + (f"; {waits}" if waits else "")


def table_of(watched: Watched) -> RenderableType:
    """A moment as a table."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    run = watched.run
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("run", f"{run.id}, {run.direction} to {run.target}, by {run.by}")
    table.add_row("revision", _escaped(f"{run.plan.revision} {run.plan.recorded.message}"))
    table.add_row("step", _escaped(_step_text(run).removeprefix("step ")))
    if run.progress is not None and run.progress[1]:
        table.add_row("", ProgressBar(total=run.progress[1], completed=run.progress[0], width=BAR_WIDTH))
    for name, value in _measured(run):
        table.add_row(name, value)
    limits = settings_text(watched.control)
    if limits:
        table.add_row("limits", limits)
    waits = _waits_for(run, watched.control)
    if waits:
        table.add_row("waits", f"[yellow]{_escaped(waits)}[/]")
    if run.failure is not None:
        table.add_row("undone for", f"[red]{_escaped(run.failure)}[/]")
    table.add_row("last sign", f"{_ago(run.heartbeat):.0f} s ago")
    return table


def outcome_text(watched: Watched) -> str:
    """How a run has ended, and what to do about it."""
    run = watched.run
    text = f"Run {run.id}, {run.direction} to {run.target}: {watched.outcome}."
    again = f"redismigrate {run.direction} {run.target}"
    match watched.outcome:
        case "interrupted" if run.rolls_back:
            return f"{text} Go on with `redismigrate rollback`."
        case "interrupted":
            return f"{text} Resume it with `{again}`, or undo all of it with `redismigrate rollback`."
        case "expanded":
            return f"{text} Contract it with `{again} --phase contract`."
        case "partial":
            return f"{text} Try the rest with `{again}`, or undo all of it with `redismigrate rollback`."
        case "failed" if run.failure is not None:
            return f"{text} {run.failure}"
    return text


def _step_text(run: Run) -> str:
    count = len(run.steps)
    verb = "undoing, step" if run.failure is not None else "step"
    description = f": {run.step.description}" if run.step is not None else ""
    return f"{verb} {min(run.position + 1, count)} of {count}{description}"


def _numbers(run: Run) -> list[str]:
    """What is measured, in words."""
    words = {
        "documents": "",
        "rate": "",
        "round trip": "round trip ",
        "time left": "about ",
        "in this step": "",
    }
    after = {"time left": " left"}
    return [
        f"{words[name]}{value}{after.get(name, '')}"
        for name, value in _measured(run)
        if name != "in this step"
    ]


def _measured(run: Run) -> list[tuple[str, str]]:
    """What is known of the speed, named."""
    rows = []
    if run.progress is not None and run.progress[1]:
        rows.append(("documents", f"{run.progress[0]:,} of {run.progress[1]:,} documents"))
    if run.pace is not None:
        rows.append(("rate", f"{run.pace.rate:,.0f} documents/s"))
        if run.pace.latency_ms is not None:
            rows.append(("round trip", f"{run.pace.latency_ms:,.1f} ms (99th percentile)"))
        if run.pace.seconds_left is not None:
            rows.append(("time left", _duration(run.pace.seconds_left)))
    if run.step_started_at is not None:
        rows.append(("in this step", _duration(_ago(run.step_started_at))))
    return rows


def _waits_for(run: Run, control: Control) -> str:
    """Why nothing moves; empty when it does."""
    # What the run has said is up to a second old.
    reasons = ["paused"] if control.paused else []
    if run.pace is not None:
        if run.pace.is_cutover_postponed and control.postpone_cutover:
            reasons.append("cutover postponed")
        reasons += run.pace.brakes
        if run.pace.writers is not None:
            reasons.append(run.pace.writers)
        if run.pace.build is not None:
            reasons.append(run.pace.build)
    return ", ".join(reasons)


def _ago(moment: str) -> float:
    """Seconds since then; the clocks of two machines may differ."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, SECONDS_PER_MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _escaped(text: str) -> str:
    from redismigrate.cli.rendering import markup

    return markup(text)
