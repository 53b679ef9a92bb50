"""A plan for people: every step with what it costs, warnings, and why it can't run."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from redismigrate.planning.plan import Plan, RevisionPlan, Step


def render_plan(plan: Plan, console: Console) -> None:
    """Print a plan."""
    if not plan.revisions:
        console.print("Nothing to do.")
        return
    count = len(plan.revisions)
    console.print(
        f"{plan.direction.capitalize()} to [bold]{escape(plan.target)}[/]: {count} "
        f"revision{'s' if count != 1 else ''}, project {escape(plan.project)}"
    )
    for item in plan.revisions:
        _render_revision(item, console)
    if plan.blocked:
        console.print("[red bold]The plan is blocked; nothing would be changed.[/]")


def _render_revision(item: RevisionPlan, console: Console) -> None:
    console.print(f"\n[bold]{item.revision}[/] {escape(item.recorded.message)}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  step", overflow="fold")
    table.add_column("strategy", no_wrap=True)
    table.add_column("search down", justify="right", no_wrap=True)
    table.add_column("takes", justify="right", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    table.add_column("rollback", overflow="fold")
    for step in item.steps:
        table.add_row(f"  {escape(step.description)}", *_costs(step), escape(step.rollback))
    console.print(table)
    for warning in item.warnings:
        console.print(f"  [yellow]note:[/] {escape(warning)}")
    for reason in item.blocked:
        console.print(f"  [red]blocked:[/] {escape(reason)}")


def _costs(step: Step) -> tuple[str, str, str, str]:
    estimate = step.estimate
    return (
        step.strategy or "",
        f"{estimate.search_downtime_seconds:.1f} s" if estimate.search_downtime_seconds else "",
        f"{estimate.seconds:.1f} s" if estimate.seconds else "",
        f"+{estimate.memory_bytes / 1e6:.1f} MB" if estimate.memory_bytes else "",
    )
