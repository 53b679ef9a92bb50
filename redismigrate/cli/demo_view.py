"""The demo for people: each revision with its plan, and what a query finds before and after it."""

from __future__ import annotations

from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table

from redismigrate.cli.plan_view import render_steps
from redismigrate.cli.rendering import markup
from redismigrate.cli.run_view import TerminalWatcher
from redismigrate.commands.demo.demo_questions import Answer
from redismigrate.commands.demo.demonstration import (
    DemoResult,
    DemoWatcher,
    Loaded,
    PlannedScene,
    PlayedScene,
)
from redismigrate.execution.run import Run
from redismigrate.planning.plan import Step

RULE_WIDTH = 100
DISTANCE_WIDTH = 6
NAME_WIDTH = 16


class DemoView(TerminalWatcher, DemoWatcher):
    """Draws what the demo tells; use it in a `with` statement.

    Of an upgrade only a slow step's progress is drawn: its plan, printed before, names the steps already.
    """

    def loaded(self, loaded: Loaded) -> None:
        """Tell what documents the demo has made."""
        self._revisions = loaded.revisions
        self._say(
            f"{loaded.packages:,} packages of Debian 12 and their embeddings are in a private Redis "
            f"{loaded.redis_version}, loaded in {loaded.seconds:.2f} s. There is no index yet."
        )
        self._say(
            f"An example project has {loaded.revisions} revisions. They are applied one by one, and the same "
            "query is asked before and after each."
        )

    def planned(self, planned: PlannedScene) -> None:
        """Say what the revision shows, and its plan."""
        self._title(f"{planned.number} of {self._revisions}: {planned.message}")
        self._say(planned.scene.shows)
        self._say(f"\n[bold]$ redismigrate upgrade {planned.scene.revision}[/]")
        for item in planned.plan.revisions:
            render_steps(item, self._console)

    def applied(self, applied: PlayedScene) -> None:
        """Show the query with both answers."""
        question = applied.planned.scene.question
        self._say(f"Applied in {applied.seconds:.2f} s. The index sees {applied.documents:,} documents.")
        self._say(f"\nNearest to [bold]{question.like}[/], itself left out:")
        self._say(f"  [bold]FT.SEARCH {question.index} '{markup(applied.query)}'[/]")
        self._answer("before", applied.before)
        if applied.after == applied.before:
            self._say("  after   the same packages at the same distances")
        else:
            self._answer("after", applied.after)

    def downgrade_started(self) -> None:
        """Say that it goes back now."""
        self._title("And back")
        self._say("[bold]$ redismigrate downgrade base[/]")

    def finished(self, result: DemoResult) -> None:
        """Say what was done and how to go on."""
        packages = result.loaded.packages
        left = ", ".join(result.indexes_left) or "no index"
        unchanged = "as they were loaded" if result.are_packages_unchanged else "not as they were loaded"
        self._say(
            f"Undid {len(result.undone.revisions)} revisions in {result.undone.seconds['total']:.2f} s: "
            f"{left} is left, and the {packages:,} packages are {unchanged}."
        )
        self._say(f"\nAll of this took {result.seconds:.1f} s. The private server is gone.")
        if result.kept is None:
            self._say("`redismigrate demo --keep` keeps the example project for you to play with.")
        else:
            self._say(f"The example project is in {result.kept}; its README.md goes on from here.")
        self._say("To begin your own: redismigrate init migrations")

    def revision_started(self, run: Run) -> None:
        """Name the revision on the way back."""
        if run.direction == "downgrade":
            recorded = run.plan.recorded
            self._say(f"  undoing {recorded.revision} {markup(recorded.message)}")

    def step_started(self, step: Step) -> None:  # noqa: ARG002 - the event's signature
        """End the progress of the step before."""
        self._end_progress()

    def _title(self, text: str) -> None:
        self._console.print()
        rule = Rule(f"[bold]{markup(text)}[/]", align="left", style="dim")
        self._console.print(rule, width=min(self._console.width, RULE_WIDTH))

    def _answer(self, moment: str, answer: Answer) -> None:
        if answer.refusal:
            words = f"refused: {answer.refusal}"
        elif not answer.matching:
            words = "no package matches"
        else:
            words = f"{answer.matching:,} packages match; the nearest:"
        self._say(f"  {moment:<6}  {markup(words)}")
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in (DISTANCE_WIDTH, NAME_WIDTH, None):
            table.add_column(width=width, no_wrap=True, overflow="ellipsis")
        for hit in answer.hits:
            table.add_row(f"{hit.distance:.4f}", markup(hit.name), markup(hit.summary))
        if answer.hits:
            self._console.print(Padding.indent(table, 10))

    def _say(self, markup: str) -> None:
        """Print a sentence; on a terminal broken between words, as a terminal breaks inside of them."""
        self._console.print(markup, soft_wrap=not self._console.is_terminal)
