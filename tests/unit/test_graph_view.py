"""The history drawn in lines, and as a Mermaid diagram."""

from history_builder import make_history
from hypothesis import given
from hypothesis import strategies as st
from random_histories import random_history

from redismigrate.cli.graph_view import draw, mermaid


def drawn(parents, applied=(), **more):
    history = make_history(parents, **more)
    scripts = [history[name] for name in reversed(list(history))]
    return draw(scripts, {name: name for name in history}, frozenset(applied))


def test_one_line_of_development_is_one_column():
    assert drawn({"a": (), "b": ("a",)}) == ["○  b", "○  a"]


def test_branches_join_where_they_began():
    assert drawn({"a": (), "b": ("a",), "c": ("a",)}) == ["○  c", "│ ○  b", "├─╯", "○  a"]


def test_a_merge_has_a_column_for_each_parent():
    assert drawn({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}) == [
        "○  d",
        "├─╮",
        "│ ○  c",
        "○ │  b",
        "├─╯",
        "○  a",
    ]


def test_columns_in_between_are_crossed():
    lines = drawn({"a": (), "b": ("a",), "c": (), "d": ("a", "b")})
    assert lines == ["○  d", "├─╮", "│ │ ○  c", "│ ○  b", "├─╯", "○  a"]


def test_applied_revisions_are_filled():
    assert drawn({"a": (), "b": ("a",)}, applied=("a",)) == ["○  b", "●  a"]


def test_a_revision_whose_parents_are_not_drawn_ends_its_line():
    history = make_history({"a": (), "b": ("a",), "c": ("b",)})
    assert draw([history["c"], history["b"]], {"b": "b", "c": "c"}) == ["○  c", "○  b"]


def test_a_terminal_without_the_lines_gets_plain_ones(monkeypatch):
    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr("sys.stdout", Ascii())
    assert drawn({"a": (), "b": ("a",), "c": ("a",)}, applied=("a",)) == ["o  c", "| o  b", "+-+", "*  a"]


@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=60))
def test_every_line_of_a_drawing_leads_from_a_revision_to_one_that_it_revises(seed, size):
    history, model = random_history(seed, size)
    scripts = [history[name] for name in reversed(list(history))]
    lines = draw(scripts, {name: name for name in history})
    assert [line.rpartition("  ")[2] for line in lines if "○" in line] == [s.revision for s in scripts]
    assert edges_of(lines) == {(child, parent) for child in model.revises for parent in model.revises[child]}


def edges_of(lines):
    """The pairs that a drawing joins, followed from the top with the eyes: column by column."""
    leads: dict[int, set[str]] = {}  # column -> the revisions whose lines come down there
    edges = set()
    for line in lines:
        if "○" in line:
            cells, _, name = line.rpartition("  ")
            for at in range(0, len(cells), 2):
                if cells[at] == "○":
                    edges |= {(child, name) for child in leads.get(at, ())}
                    leads[at] = {name}
                elif cells[at] == " ":
                    leads.pop(at, None)
            leads = {at: children for at, children in leads.items() if at < len(cells)}
            continue
        start = line.index("├")
        for at in range(start + 2, len(line), 2):
            if line[at] in "┬╮":
                leads[at] = set(leads[start])
            elif line[at] in "┴╯":
                leads[start] = leads[start] | leads.pop(at)
    return edges


def test_mermaid_has_an_arrow_for_each_parent_and_a_dotted_one_for_each_dependency():
    history = make_history({"a": (), "end": ("a",)}, depends_on={"end": ("a",)})
    scripts = [history["end"], history["a"]]
    assert mermaid(scripts, {name: history.dependencies(name) for name in history}).splitlines() == [
        "flowchart TD",
        '  r_a["a<br>message of a"]',
        '  r_end["end<br>message of end"]',
        "  r_a --> r_end",
        "  r_a -.-> r_end",
    ]
