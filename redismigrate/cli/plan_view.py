"""A plan for people: every step with what it costs, warnings, and why it can't run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from redismigrate.cli.rendering import markup
from redismigrate.planning.name_warnings import ALIASES_LOST
from redismigrate.planning.plan import Alternative, Plan, RevisionPlan, Step
from redismigrate.planning.plan_summary import PlanSummary
from redismigrate.quantities import seconds_text, size_text

# From this width on, what undoes a step fits beside it, if the columns of costs leave room for both.
WIDE = 120
STEP_WITH_ROLLBACK = 70
# Where they leave less than this to the step, its costs are told below it.
STEP = 40
INDENT = 2
GAP = 2


def render_plan(plan: Plan, console: Console) -> None:
    """Print a plan for people: what it costs in all, then revision by revision."""
    if not plan.revisions:
        _print_notes(plan, console)
        console.print("Nothing to do.")
        return
    count = sum(len(item.ids) for item in plan.revisions)
    console.print(
        f"{plan.direction.capitalize()} to [bold]{markup(plan.target)}[/]: {count} "
        f"revision{'s' if count != 1 else ''}, project {markup(plan.project)}"
    )
    if plan.summary is not None:
        for item in plan.revisions:
            for reason in item.blocked:
                console.print(_blocked(reason if count == 1 else f"{item.revision}: {reason}"))
        console.print(Padding.indent(_summary_table(plan.summary), INDENT))
    _print_notes(plan, console)
    for item in plan.revisions:
        console.print(f"\n[bold]{item.revision}[/] {markup(item.recorded.message)}")
        if item.revision in plan.savings:
            console.print(f"  [green]folded:[/] {plan.savings[item.revision]}")
        render_steps(item, console, tells_obstacles=plan.summary is None)
    if plan.blocked:
        console.print("[red bold]The plan is blocked; nothing would be changed.[/]")


def render_steps(item: RevisionPlan, console: Console, *, tells_obstacles: bool = True) -> None:
    """Print what one revision does, with its warnings.

    Args:
        item: The plan of the revision.
        console: Where to.
        tells_obstacles: Whether what blocks it is told, too.
    """
    console.print(Padding.indent(_steps_table(item.steps, console.width), INDENT))
    if item.alternatives:
        console.print(Padding.indent(_alternatives_table(item.alternatives), INDENT))
    for look in item.looks:
        console.print(f"  [dim]expected before of[/] {markup(str(look))}")
    for warning in item.warnings:
        console.print(f"  {mark_of(warning)} {markup(warning)}")
    for reason in item.blocked if tells_obstacles else ():
        console.print(_blocked(reason))


def _print_notes(plan: Plan, console: Console) -> None:
    for warning in plan.warnings:
        console.print(f"[yellow]note:[/] {markup(warning)}")


def _blocked(reason: str) -> str:
    return f"  [red]blocked:[/] {markup(reason)}"


def _summary_table(summary: PlanSummary) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for title, value in summary.rows():
        table.add_row(title, markup(value))
    return table


def mark_of(warning: str) -> str:
    """What stands before a warning: one about what stops to work is no note."""
    return "[red bold]warning:[/]" if f"({ALIASES_LOST})" in warning else "[yellow]note:[/]"


def _steps_table(steps: Sequence[Step], width: int) -> Table:
    """The steps with the costs that any of them has; what there is no room for beside a step is below it."""
    costs = [step.costs for step in steps]
    titles = [title for title in costs[0] if any(cost[title] for cost in costs)]
    room = width - INDENT - sum(_column_width(title, costs) for title in titles)
    is_wide = width >= WIDE and room >= STEP_WITH_ROLLBACK
    columns = titles if room >= STEP else []
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        header_style="dim",
        show_header=is_wide or bool(columns),
    )
    table.add_column("step", overflow="fold")
    for title in columns:
        table.add_column(title, justify="left" if title == "strategy" else "right", no_wrap=True)
    if is_wide:
        table.add_column("rollback", overflow="fold")
    for step, cost in zip(steps, costs, strict=True):
        description, rollback = markup(step.description), markup(step.rollback)
        if titles and not columns:
            description += _costs_below(cost)
        if rollback and not is_wide:
            description += f"\n  [dim]rollback: {rollback}[/]"
        cells = [description, *(cost[title] for title in columns)]
        table.add_row(*cells, *([rollback] if is_wide else []))
    return table


def _alternatives_table(alternatives: Sequence[Alternative]) -> Table:
    """The ways to change each index; the chosen one is marked."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for title in ("index", "", "strategy"):
        table.add_column(title, no_wrap=True)
    for title in ("search down", "takes", "memory"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("writes, documents", overflow="fold")
    last = None
    for way in alternatives:
        name = markup(way.index) if way.index != last else ""
        last = way.index
        mark = "[green]*[/]" if way.is_chosen else ""
        if way.impossible:
            reason = f"[dim]impossible: {markup('; '.join(way.impossible))}[/]"
            table.add_row(name, mark, way.strategy, "", "", "", reason)
            continue
        down = seconds_text(way.search_downtime_seconds) or "none"
        remarks = "; ".join((f"writes {way.writes}", *way.changes))
        table.add_row(
            name,
            mark,
            way.strategy,
            down,
            seconds_text(way.seconds),
            size_text(way.memory_bytes, "+"),
            markup(remarks),
        )
    return table


def _column_width(title: str, costs: Sequence[dict[str, str]]) -> int:
    return GAP + max(len(title), *(len(cost[title]) for cost in costs))


def _costs_below(cost: dict[str, str]) -> str:
    """A line of what a step costs; a strategy alone is no cost."""
    told = [f"{title} {value}" for title, value in cost.items() if value and title != "strategy"]
    strategy = f"{cost['strategy']}: " if cost["strategy"] else ""
    return f"\n  [dim]{strategy}{', '.join(told)}[/]" if told else ""
