"""`current` and `status` for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from redismigrate.cli.context import lines_text
from redismigrate.cli.fold_text import folded_with
from redismigrate.cli.progress_view import pace_lines
from redismigrate.commands.checking import CheckReport
from redismigrate.commands.inspect import Current, Status
from redismigrate.schema.strict import readable, readable_key

if TYPE_CHECKING:
    from redismigrate.execution.index_states import IndexProgress
    from redismigrate.execution.run import Run
    from redismigrate.state.while_expanded import WhileExpanded

_SHOWN_DOCUMENTS = 3
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
    # As in Alembic a head is one of the scripts: where some wait, what is applied stands below one.
    heads, folds = set() if current.missing else set(current.head.heads), current.head.folds
    for id_, record in current.head.revisions.items():
        mark = " (head)" if id_ in heads else ""
        when = record.applied_at.partition(".")[0].replace("T", " ")
        lines.append(
            f"  {id_}{mark} {record.message}, applied {when} by {record.by}, {record.seconds:.2f} s"
            f"{folded_with(id_, folds)}"
        )
        if record.replaces:
            one_by_one = ", applied one by one" if record.replaced else ""
            lines.append(f"    in place of {', '.join(record.replaces)}{one_by_one}")
    if not current.head.revisions:
        lines.append("  nothing is applied")
    for served in current.catalog:
        lines += _index_lines(current, served)
    if current.missing:
        count = len(current.missing)
        target = "head" if current.heads_of_scripts == 1 else "heads"
        lines.append(f"  {count} revision{'s' if count != 1 else ''} to apply: redismigrate upgrade {target}")
    lines += [f"  {told}" for told in current.in_between.values()]
    if current.changed:
        lines.append(f"  scripts changed since they were applied: {', '.join(current.changed)}")
    lines += _run_underway_lines(current)
    return lines_text(lines)


def _run_underway_lines(current: Current) -> list[str]:
    """The run that is not at its end, and what ends it."""
    if current.expanded is not None:
        told = (
            f"  revision {current.expanded} is expanded: contract it with --phase contract, or take it away"
        )
        return [f"{told} with `redismigrate rollback`"]
    if current.partial is not None:
        return [
            f"  revision {current.partial} is partly applied (partial:{current.partial}):",
            *(f"    {index} could not be changed: {reason}" for index, reason in current.left.items()),
            "    try the rest with the same `redismigrate upgrade`, or undo all with `redismigrate rollback`",
        ]
    if current.unfinished_run is not None:
        return [f"  run {current.unfinished_run} is unfinished: redismigrate status"]
    return []


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


def index_text(each: IndexProgress) -> str:
    """How far an index of a run is, in a line."""
    progress = "" if each.total is None else f", {each.done or 0:,} of {each.total:,} documents"
    reason = "" if each.reason is None else f": {each.reason}"
    return f"index {each.index}: {each.state}{progress}{reason}"


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


def _traffic_lines(counts: WhileExpanded | None) -> list[str]:
    """What became of documents while there are two forms of them, and the first that need to be looked at."""
    if counts is None:
        return []
    told = {
        "born": counts.born,
        "changed": counts.changed,
        "deleted": counts.deleted,
        "written differently in both forms": counts.conflicts,
        "without the other form": counts.failed,
    }
    numbers = ", ".join(f"{count:,} {words}" for words, count in told.items() if count)
    lines = [f"Documents while expanded: {numbers}"]
    lines += [
        f"  {readable_key(_key_of(each))}: {each.get('reason')}" for each in counts.listed[:_SHOWN_DOCUMENTS]
    ]
    return lines


def _key_of(document: Mapping[str, Any]) -> bytes:
    return str(document.get("key")).encode("utf-8", "surrogateescape")


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
    position = min(run.position + 1, len(run.steps))
    lines = [
        f"Run {run.id}: {run.direction} to {run.target} {_state_of(status, run)}, "
        f"{run.plan.title_within}, "
        f"step {position} of {len(run.steps)}" + (f": {run.step.description}" if run.step else ""),
        f"  by {run.by}, last sign of life {run.heartbeat}",
    ]
    if run.progress is not None:
        lines.append(f"  {run.progress[0]:,} of {run.progress[1]:,} documents")
    lines += pace_lines(run, status.control)
    if run.failure is not None:
        lines.append(f"  failed: {run.failure}")
    lines += [f"  {index_text(each)}" for each in status.indexes]
    lines += [f"  {line}" for line in _traffic_lines(status.while_expanded)]
    return [*lines, *(f"  {line}" for line in _way_on(status, run))]


def _state_of(status: Status, run: Run) -> str:
    """What a run is doing, as the end of a sentence."""
    state = "is interrupted" if status.is_interrupted else "is under way"
    if status.expanded is not None:
        state = "is expanded"
    elif status.partial is not None:
        state = f"is partial:{status.partial}"
    if run.rolls_back:
        return f"{state}, being rolled back"
    if run.apart.putting_back:
        return f"{state}, putting {', '.join(run.apart.putting_back)} back"
    return state if run.failure is None else f"{state}, being undone"


def _way_on(status: Status, run: Run) -> list[str]:
    """What ends a run that nobody works on."""
    command, undo = f"redismigrate {run.direction} {run.target}", "`redismigrate rollback`"
    if status.partial is not None:
        return [f"Try the rest with `{command}`, or undo all of it with {undo}."]
    if status.expanded is not None:
        from redismigrate.execution.steps.followed import followed_indexes

        lines = [f"Contract it with `{command} --phase contract`, or take it away with {undo}."]
        return [*lines, _follower_line(status)] if followed_indexes(run) else lines
    if status.is_interrupted and run.rolls_back:
        return [f"Go on with {undo}."]
    if status.is_interrupted:
        return [f"Resume it with `{command}`, or undo all of it with {undo}."]
    return []
