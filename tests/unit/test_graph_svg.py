"""The history as a picture in SVG."""

from xml.etree import ElementTree as ET

from history_builder import make_history
from hypothesis import given
from hypothesis import strategies as st
from random_histories import random_history

from redismigrate.cli.graph_svg import COLUMN, MARGIN, ROW, layout_of, svg

SVG = "{http://www.w3.org/2000/svg}"


def scripts_of(history):
    return [history[name] for name in reversed(list(history))]


def picture(history, texts=None):
    dependencies = {name: history.dependencies(name) for name in history}
    text = svg(scripts_of(history), texts or {name: name for name in history}, dependencies)
    return ET.fromstring(text)  # noqa: S314 - our own


@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=60))
def test_no_line_runs_through_a_revision_that_it_does_not_join(seed, size):
    history, model = random_history(seed, size)
    scripts = scripts_of(history)
    layout = layout_of(scripts)
    rows = {script.revision: row for row, script in enumerate(scripts)}
    assert set(layout.lanes) == {
        (child, parent) for child in model.revises for parent in model.revises[child]
    }
    for (child, parent), lane in layout.lanes.items():
        between = [script.revision for script in scripts[rows[child] + 1 : rows[parent]]]
        assert lane not in {layout.columns[revision] for revision in between}


@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=30))
def test_every_line_of_a_picture_joins_a_revision_with_one_that_it_revises_or_needs(seed, size):
    history, model = random_history(seed, size)
    root = picture(history)
    places = {
        (int(circle.get("cx")), int(circle.get("cy"))): text.text
        for circle, text in zip(root.iter(f"{SVG}circle"), root.iter(f"{SVG}text"), strict=True)
    }
    assert sorted(places.values()) == sorted(history)
    lines, dashed = set(), set()
    for path in root.iter(f"{SVG}path"):
        words = path.get("d").removeprefix("M").split()
        ends = places[int(words[0]), int(words[1])], places[int(words[-2]), int(words[-1])]
        (dashed if path.get("class") == "needs" else lines).add(ends)
    assert lines == {(child, parent) for child in model.revises for parent in model.revises[child]}
    assert dashed == {(name, needed) for name in history for needed in history.dependencies(name)}


def test_the_newest_revision_stands_on_top_and_a_branch_beside():
    history = make_history({"a": (), "b": ("a",), "c": ("a",)})
    circles = [(int(c.get("cx")), int(c.get("cy"))) for c in picture(history).iter(f"{SVG}circle")]
    assert circles == [(MARGIN, MARGIN), (MARGIN + COLUMN, MARGIN + ROW), (MARGIN, MARGIN + 2 * ROW)]


def test_any_text_is_legible_xml():
    history = make_history({"a": ()})
    root = picture(history, {"a": "a <b> & \x00\udc80 \u65e5"})
    assert next(root.iter(f"{SVG}text")).text == "a <b> & \ufffd\ufffd \u65e5"


def test_a_history_without_revisions_is_an_empty_picture():
    assert list(ET.fromstring(svg([], {}, {})).iter(f"{SVG}circle")) == []  # noqa: S314 - our own
