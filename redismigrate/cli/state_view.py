"""`current` and `status` for people."""

from __future__ import annotations

from datetime import UTC, datetime

from redismigrate.cli.context import lines_text
from redismigrate.cli.fold_text import folded_with
from redismigrate.cli.progress_view import pace_lines
from redismigrate.commands.checking import CheckReport
from redismigrate.commands.inspect import Current, Status
from redismigrate.schema.strict import readable

_BETWEEN = {
    "declared": "The declared schemas are not what the scripts make:",
    "history": "The scripts are not what was applied:",
    "server": "The server is not what is recorded:",
}


def current_text(current: Current) -> str:
    """What is applied, newest last."""
    lines = [f"Project {current.project}"]
    if current.told_ahead is not None:
        lines.append(f"  {current.told_ahead}")
    heads, folds = set(current.head.heads), current.head.folds
    for id_, record in current.head.revisions.items():
        mark = " (head)" if id_ in heads else ""
        when = record.applied_at.partition(".")[0].replace("T", " ")
        lines.append(
            f"  {id_}{mark} {record.message}, applied {when} by {record.by}, {record.seconds:.2f} s"
            f"{folded_with(id_, folds)}"
        )
    if not current.head.revisions:
        lines.append("  nothing is applied")
    for served in current.catalog:
        lines += _index_lines(current, served)
    if current.missing:
        count = len(current.missing)
        target = "head" if current.heads_of_scripts == 1 else "heads"
        lines.append(f"  {count} revision{'s' if count != 1 else ''} to apply: redismigrate upgrade {target}")
    if current.changed:
        lines.append(f"  scripts changed since they were applied: {', '.join(current.changed)}")
    if current.expanded is not None:
        lines.append(
            f"  revision {current.expanded} is expanded: contract it with --phase contract, or take it away "
            "with `redismigrate rollback`"
        )
    elif current.unfinished_run is not None:
        lines.append(f"  run {current.unfinished_run} is unfinished: redismigrate status")
    return lines_text(lines)


def _index_lines(current: Current, served: str) -> list[str]:
    definition, built = current.catalog[served], current.built_beside.get(served)
    physical = "" if definition.physical == served else f" -> {definition.physical}"
    fields = ", ".join(f"{field.name} {field.type}" for field in definition.schema.fields)
    lines = [f"  index {served}{physical}: {fields}"]
    if definition.aliases:
        lines.append(f"    aliases: {', '.join(definition.aliases)}")
    lines += [f"    {path} as {made}" for path, made in definition.quantization.items()]
    if built is not None:
        lines.append(f"    expanded: {built.physical} beside it")
    return lines


def status_text(status: Status) -> str:
    """What goes on with a project, in lines for people."""
    lines = [f"Project {status.project}, at {', '.join(status.heads) or 'base'}"]
    if status.run is not None:
        lines += _run_lines(status)
    else:
        lines.append("No run is under way.")
    if status.holder is not None and status.holder.is_dead():
        lines.append(f"The lock was left by {status.holder}, which is gone.")
    elif status.holder is not None:
        lines.append(f"The lock is held by {status.holder}.")
    lines += [f"Problem: {problem}" for problem in status.problems]
    if status.journal:
        lines.append("Last events:")
        for event in status.journal:
            details = " ".join(
                event[name] for name in ("kind", "index", "alias", "reason") if event.get(name)
            )
            words = f"{event.get('event', '')} {event.get('revision', '')} {details}".rstrip()
            lines.append(f"  {_time_of(event['at'])} {words}")
    return lines_text(lines)


def check_text(report: CheckReport) -> str:
    """What differs, or that nothing does."""
    lines = []
    for between, heading in _BETWEEN.items():
        found = [str(finding) for finding in report.findings if finding.between == between]
        lines += [heading, *(f"  {text}" for text in found)] if found else []
    if report.missing:
        lines.append(f"Not applied yet: {', '.join(report.missing)}")
    lines += report.notes
    if report.unmanaged:
        lines.append(f"Indexes that nobody manages: {', '.join(map(readable, report.unmanaged))}")
    if report.result == "same":
        lines.insert(0, "Schemas, scripts, record and server agree.")
    return lines_text(lines)


def _follower_line(status: Status) -> str:
    follower = status.follower
    if follower is None:
        return "Nobody follows what is written: `redismigrate follow` does; contraction looks at everything."
    return (
        f"Followed by {follower.by}, last sign of life {follower.heartbeat}: {follower.written:,} "
        f"documents written, {follower.failed:,} can't be converted"
    )


def _time_of(stream_id: str) -> str:
    """When an entry was added to the stream: its id begins with the milliseconds since 1970."""
    try:
        moment = datetime.fromtimestamp(int(stream_id.partition("-")[0]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # somebody else has added it, with an id of his own
        return stream_id
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _run_lines(status: Status) -> list[str]:
    from redismigrate.execution.run import Run
    from redismigrate.state.keys import StateKeys

    run = Run.from_content(status.run or {}, StateKeys(status.project))
    state = "is interrupted" if status.is_interrupted else "is under way"
    if status.expanded is not None:
        state = "is expanded"
    if run.rolls_back:
        state += ", being rolled back"
    elif run.failure is not None:
        state += ", being undone"
    position = min(run.position + 1, len(run.steps))
    lines = [
        f"Run {run.id}: {run.direction} to {run.target} {state}, {run.plan.title_within}, "
        f"step {position} of {len(run.steps)}" + (f": {run.step.description}" if run.step else ""),
        f"  by {run.by}, last sign of life {run.heartbeat}",
    ]
    if run.progress is not None:
        lines.append(f"  {run.progress[0]:,} of {run.progress[1]:,} documents")
    lines += pace_lines(run, status.control)
    if run.failure is not None:
        lines.append(f"  failed: {run.failure}")
    if status.expanded is not None:
        lines.append(
            f"  Contract it with `redismigrate {run.direction} {run.target} --phase contract`, or take it "
            "away with `redismigrate rollback`."
        )
        from redismigrate.execution.steps.beside_steps import followed_indexes

        if followed_indexes(run):
            lines.append(f"  {_follower_line(status)}")
    elif status.is_interrupted and run.rolls_back:
        lines.append("  Go on with `redismigrate rollback`.")
    elif status.is_interrupted:
        lines.append(
            f"  Resume it with `redismigrate {run.direction} {run.target}`, or undo all of it with "
            "`redismigrate rollback`."
        )
    return lines
