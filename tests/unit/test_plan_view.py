"""How a plan is printed."""

import re
from io import StringIO

from rich.console import Console

from redismigrate.cli.plan_view import render_plan
from redismigrate.operations.recorded import RecordedRevision
from redismigrate.planning.plan import Estimate, Obstacle, Plan, RevisionPlan, Step

RECORDED = RecordedRevision(
    revision="9c1b2cd5abc3",
    direction="upgrade",
    message="split [tags] at bars",
    parents=(),
    depends_on=(),
    sha256="",
    operations=(),
)
REPLACE = Step(
    kind="replace_index",
    strategy="rebuild",
    description="drop and create index packages: alter field tags: separator=[|]",
    rollback="drop it and create the old one",
)
WAIT = Step(
    kind="wait_for_index",
    strategy="rebuild",
    description="wait",
    estimate=Estimate(seconds=0.04, search_downtime_seconds=2.25),
)
RECORD = Step(kind="record_revision", description="record 9c1b2cd5abc3")


def printed(width: int, *steps: Step, blocked: tuple[str, ...] = ()) -> list[str]:
    """The lines, with two blanks between columns however wide they are."""
    obstacles = tuple(Obstacle(index=None, strategy=None, text=text) for text in blocked)
    item = RevisionPlan(recorded=RECORDED, steps=steps, warnings=("[search] misses",), obstacles=obstacles)
    revisions = (item,) if steps else ()
    plan = Plan(project="shop", direction="upgrade", target="head", revisions=revisions, digest="")
    console = Console(file=StringIO(), width=width, highlight=False, soft_wrap=True)
    render_plan(plan, console)
    return [re.sub(r"(?<=\S) {2,}", "  ", line.rstrip()) for line in console.file.getvalue().splitlines()]


def test_a_wide_plan_has_what_undoes_a_step_beside_it():
    change = "drop and create index packages: alter field tags: separator=[|]"
    assert printed(160, REPLACE, WAIT, RECORD) == [
        "Upgrade to head: 1 revision, project shop",
        "",
        "9c1b2cd5abc3 split [tags] at bars",
        "  step  strategy  search down  takes  rollback",
        f"  {change}  rebuild  drop it and create the old one",
        "  wait  rebuild  2.2 s  <0.1 s",
        "  record 9c1b2cd5abc3",
        "  note: [search] misses",
    ]


def test_a_narrow_plan_has_it_below_the_step_and_indents_what_does_not_fit():
    assert printed(80, REPLACE, WAIT)[3:-1] == [
        "  step  strategy  search down  takes",
        "  drop and create index packages: alter field  rebuild",
        "  tags: separator=[|]",
        "    rollback: drop it and create the old one",
        "  wait  rebuild  2.2 s  <0.1 s",
    ]


def test_many_costs_are_told_below_a_step_that_they_leave_no_room():
    costs = Estimate(documents=20_000, bytes_read=5_100_000, backup_bytes=5_900_000, seconds=0.2)
    back_up = REPLACE.model_copy(update={"estimate": costs})
    assert printed(80, back_up, WAIT, RECORD)[3:-1] == [
        "  drop and create index packages: alter field tags: separator=[|]",
        "    rebuild: documents 20,000, reads 5.1 MB, backup 5.9 MB, takes 0.2 s",
        "    rollback: drop it and create the old one",
        "  wait",
        "    rebuild: search down 2.2 s, takes <0.1 s",
        "  record 9c1b2cd5abc3",
    ]
    assert printed(120, back_up, WAIT)[3].endswith("search down  takes")


def test_costs_that_no_step_has_take_no_room():
    assert printed(80, RECORD)[3:-1] == ["  record 9c1b2cd5abc3"]


def test_a_blocked_plan_says_why_and_that_nothing_would_change():
    assert printed(80, RECORD, blocked=("index [packages] exists",))[-2:] == [
        "  blocked: index [packages] exists",
        "The plan is blocked; nothing would be changed.",
    ]


def test_an_empty_plan_has_nothing_to_do():
    assert printed(80) == ["Nothing to do."]
