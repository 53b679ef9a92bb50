"""What holds for every history: random DAGs with branches, merges and dependencies, against plain sets."""

from contextlib import suppress
from dataclasses import dataclass

import pytest
from history_builder import make_script
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.errors import (
    AmbiguousRevision,
    RevisionNotFound,
    SeveralHeads,
    StepsOutOfRange,
    UsageError,
)
from redismigrate.history.folder import heads_of
from redismigrate.history.graph import History
from redismigrate.history.identifiers import (
    resolve_many,
    resolve_one,
    resolve_range,
    revisions_to_apply,
    revisions_to_undo,
)


@dataclass(frozen=True)
class Dag:
    """A history and, independent of it, what each revision revises and requires."""

    history: History
    revises: dict
    requires: dict

    def up(self, revisions):
        return reach(revisions, self.requires)

    def down(self, revisions):
        children = {
            name: [other for other in self.requires if name in self.requires[other]] for name in self.requires
        }
        return reach(revisions, children)


def reach(start, neighbours):
    found = set(start)
    while more := {other for name in found for other in neighbours[name]} - found:
        found |= more
    return found


@st.composite
def dags(draw, max_size=60):
    names = draw(
        st.lists(st.text("0123abc", min_size=1, max_size=6), min_size=1, max_size=max_size, unique=True)
    )
    revises, requires, scripts = {}, {}, []
    for number, name in enumerate(names):
        earlier = st.lists(
            st.sampled_from(names[max(0, number - 6) : number] or names[:1]), max_size=3, unique=True
        )
        parents = draw(earlier) if number else []
        dependencies = draw(earlier.filter(lambda some: len(some) < 2)) if number else []
        revises[name] = set(parents)
        requires[name] = {*parents, *dependencies}
        scripts.append(make_script(name, tuple(parents), (), tuple(dependencies)))
    return Dag(History(draw(st.permutations(scripts))), revises, requires)


@st.composite
def dags_with_applied(draw):
    """A DAG, some of its revisions applied with all that they stand on, and some revisions to go to."""
    dag = draw(dags())
    some = st.lists(st.sampled_from(sorted(dag.requires)), max_size=4, unique=True)
    return dag, frozenset(dag.up(draw(some))), draw(some)


def is_parents_first(dag, path):
    position = {name: number for number, name in enumerate(path)}
    return len(position) == len(path) and all(
        position[parent] < position[name]
        for name in path
        for parent in dag.up([name])
        if parent in position and parent != name
    )


@given(dags_with_applied())
def test_an_upgrade_applies_exactly_the_missing_ancestors_parents_first(case):
    dag, applied, targets = case
    path = dag.history.upgrade_path(targets, applied)
    assert set(path) == dag.up(targets) - applied
    assert is_parents_first(dag, path)


@given(dags_with_applied())
def test_a_downgrade_undoes_the_applied_descendants_of_its_target_children_first(case):
    dag, applied, _ = case
    for target in applied:
        path = revisions_to_undo(dag.history, target, applied)
        assert set(path) == (dag.down([target]) & applied) - {target}
        assert is_parents_first(dag, path[::-1])
        left = applied - set(path)
        assert dag.up(left) == left, "a revision lost what it stands on"


@given(dags_with_applied())
def test_up_and_down_again_returns_to_the_same_applied_set(case):
    dag, applied, targets = case
    path = dag.history.upgrade_path(targets, applied)
    state = set(applied)
    for name in path:
        assert dag.requires[name] <= state
        state.add(name)
    for name in reversed(path):
        state.remove(name)
        assert not any(name in dag.requires[other] for other in state)
    assert state == applied


@given(dags_with_applied())
def test_the_current_revisions_are_those_nothing_applied_descends_from(case):
    dag, applied, _ = case
    current = dag.history.maximal(applied | {"unknown!"})
    assert list(current) == sorted(name for name in applied if dag.down([name]) & applied == {name})
    assert dag.up(current) == applied


@given(dags())
def test_heads_and_bases_are_a_matter_of_revising_alone(dag):
    revised = set().union(*dag.revises.values())
    assert (
        dag.history.heads() == tuple(sorted(dag.revises.keys() - revised)) == heads_of(dag.history.values())
    )
    assert dag.history.bases() == tuple(sorted(name for name, parents in dag.revises.items() if not parents))


@given(dags())
def test_the_order_of_the_history_does_not_depend_on_the_order_of_the_scripts(dag):
    assert list(dag.history) == list(History(dag.history[name] for name in sorted(dag.history)))
    assert is_parents_first(dag, list(dag.history))


@given(dags(), st.text("0123abc", min_size=1, max_size=4))
def test_every_prefix_resolves_or_is_ambiguous_as_a_plain_search_says(dag, prefix):
    matches = [name for name in dag.requires if name.startswith(prefix)]
    if prefix in dag.requires:
        assert resolve_one(dag.history, prefix, frozenset()) == prefix
    elif len(matches) == 1:
        assert resolve_one(dag.history, prefix, frozenset()) == matches[0]
    else:
        with pytest.raises(AmbiguousRevision if matches else RevisionNotFound):
            resolve_one(dag.history, prefix, frozenset())


@given(dags_with_applied(), st.integers(min_value=1, max_value=4))
def test_steps_down_undo_the_last_revision_again_and_again_or_are_refused(case, steps):
    dag, applied, _ = case
    left, expected, refusal = set(applied), [], None
    for _ in range(steps):
        current = [name for name in left if dag.down([name]) & left == {name}]
        if len(current) != 1:
            refusal = SeveralHeads if current else StepsOutOfRange
            break
        expected += current
        left -= set(current)
    if refusal:
        with pytest.raises(refusal):
            revisions_to_undo(dag.history, f"-{steps}", applied)
    else:
        assert list(revisions_to_undo(dag.history, f"-{steps}", applied)) == expected


@given(dags_with_applied(), st.data())
def test_undoing_a_branch_never_takes_away_what_an_applied_revision_stands_on(case, data):
    dag, applied, _ = case
    branch = data.draw(st.sampled_from(sorted(dag.requires)))
    form = data.draw(st.sampled_from(["base", "-1", "-2", "current", "head-1"]))
    try:
        path = revisions_to_undo(dag.history, f"{branch}@{form}", applied)
    except UsageError:
        return
    left = applied - set(path)
    assert set(path) <= applied
    assert is_parents_first(dag, path[::-1])
    assert dag.up(left) == left


@given(dags_with_applied())
def test_upgrade_to_heads_leaves_nothing_to_apply_and_downgrade_to_base_nothing_applied(case):
    dag, applied, _ = case
    path = revisions_to_apply(dag.history, "heads", applied)
    assert applied | set(path) == set(dag.history)
    assert set(revisions_to_undo(dag.history, "base", applied)) == applied


@given(dags(max_size=25), st.data())
def test_a_range_holds_what_lies_between_its_ends(dag, data):
    name = st.sampled_from(sorted(dag.requires))
    lower, upper = data.draw(name), data.draw(name)
    if lower in dag.up([upper]):
        found = resolve_range(dag.history, f"{lower}:{upper}", frozenset())
        assert set(found) == dag.up([upper]) & dag.down([lower])
        assert (found[0], found[-1]) == (lower, upper)
    else:
        with pytest.raises(UsageError):
            resolve_range(dag.history, f"{lower}:{upper}", frozenset())


PIECES = st.sampled_from(
    ["head", "heads", "base", "current", "0", "a", "zz", "@", "+1", "-1", "+7", ":", " ", ""]
)


@given(dags_with_applied(), st.lists(PIECES, max_size=5).map("".join))
def test_any_text_is_resolved_or_refused_as_a_usage_error(case, text):
    dag, applied, _ = case
    ahead = applied | {"unknown1"}
    for question in (resolve_many, resolve_range, revisions_to_apply, revisions_to_undo):
        with suppress(UsageError):
            assert dag.history.keys() >= set(question(dag.history, text, ahead))
