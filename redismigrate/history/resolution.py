"""Looks up what the parts of a revision identifier stand for in a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redismigrate.errors import (
    AmbiguousRevision,
    NotAnAncestor,
    RevisionNotFound,
    SeveralHeads,
    StepsOutOfRange,
    UnknownBranchLabel,
)
from redismigrate.history.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redismigrate.history.graph import History
    from redismigrate.history.notation import Identifier

_LISTED = 8


def resolve(
    history: History, identifier: Identifier, applied: frozenset[str], *, stop_at_ends: bool = False
) -> tuple[str, ...]:
    """Return the revisions that an identifier stands for: none for `base`, several for `heads`.

    Steps without a symbol count from the current revision. A step down from a merge leads to all of
    its parents, so it can only be the last one.

    Args:
        history: The scripts.
        identifier: What to look up.
        applied: The applied revisions; those that the history lacks are ignored.
        stop_at_ends: Let steps that leave the history end at its head or base, as suits a range that
            is only looked at.

    Raises:
        RevisionNotFound, AmbiguousRevision, UnknownBranchLabel, NotAnAncestor: No revision, or more
            than one, is meant, or one outside of the branch before the "@".
        SeveralHeads: `head` where there are several, or steps from several revisions.
        StepsOutOfRange: The steps leave the history.
    """
    within = None
    if identifier.branch is not None:
        within = history.lineage(find_branch(history, identifier.branch))
    start = _start(history, identifier, applied, within)
    if not identifier.steps:
        return start
    if len(start) > 1:
        raise several_current(history, identifier, start)
    walk = _up if identifier.steps > 0 else _down
    return walk(history, identifier, start, within, stop_at_ends)


def find_branch(history: History, name: str) -> str:
    """Return the revision that gives a branch label, or the one that an id before an "@" names.

    Raises:
        UnknownBranchLabel: It is neither.
        AmbiguousRevision: It is the beginning of several ids.
    """
    try:
        return find_revision(history, name, frozenset())
    except RevisionNotFound as error:
        labels = ", ".join(sorted(history.labels))
        existing = f"The labels are: {labels}." if labels else "No revision has a branch label."
        raise UnknownBranchLabel(
            f"There is no branch label '{name}', and no revision of that id.",
            suggestion(name, history.labels, existing),
        ) from error


def find_revision(history: History, name: str, applied: frozenset[str], branch: str | None = None) -> str:
    """Return the revision with that id, that branch label, or the only one whose id begins so.

    Args:
        history: The scripts.
        name: An id, a label, or the beginning of an id, of one character or more.
        applied: The applied revisions, to recognise one that only the scripts lack.
        branch: If given, a label or id; look only at the ancestors and descendants of its revision.

    Raises:
        RevisionNotFound: There is none.
        AmbiguousRevision: Several ids begin so.
        NotAnAncestor: The id or label is that of a revision elsewhere than on the branch.
        UnknownBranchLabel: There is no such branch.
    """
    candidates = frozenset(history) if branch is None else history.lineage(find_branch(history, branch))
    exact = name if name in history else history.labels.get(name)
    if exact in candidates:
        return exact
    where = "" if branch is None else f" on the branch '{branch}'"
    if exact is not None:
        raise NotAnAncestor(
            f"Revision {exact} is not{where}.", "`redismigrate history` shows the revisions of each branch."
        )
    matches = history.ordered(revision for revision in candidates if revision.startswith(name))
    if len(matches) > 1:
        raise AmbiguousRevision(
            f"'{name}' is ambiguous: {len(matches)} revisions{where} begin so: {listing(history, matches)}.",
            "Give more characters of the id.",
        )
    if matches:
        return matches[0]
    ahead = sorted(revision for revision in applied - history.keys() if revision.startswith(name))
    if ahead:
        raise RevisionNotFound(
            f"Revision {ahead[0]} is applied, but no script has it: Redis is ahead of these scripts.",
            "Run the command where its script is.",
        )
    heirs = {heir for old, heir in history.replaced.items() if old.startswith(name)}
    if len(heirs) == 1 and not where:
        (heir,) = heirs
        raise RevisionNotFound(
            f"Revision {name} has no script: {heir} ({history[heir].message}) replaces it.",
            f"Name {heir}, or run the command where its own script is.",
        )
    raise RevisionNotFound(
        f"There is no revision '{name}'{where}.",
        suggestion(name, (*history, *history.labels), "`redismigrate history` lists the revisions."),
    )


def listing(history: History, revisions: Iterable[str]) -> str:
    """Return revisions with their messages as an enumeration for an error."""
    described = [f"{revision} ({history[revision].message})" for revision in revisions]
    more = len(described) - _LISTED
    return ", ".join(described[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def counted(revisions: int) -> str:
    """Return a number of revisions with its verb, for example "2 revisions are"."""
    if revisions == 1:
        return "1 revision is"
    return f"{revisions} revisions are" if revisions else "no revision is"


def current_of(
    history: History, applied: frozenset[str], within: frozenset[str] | None = None
) -> tuple[str, ...]:
    """Return the current revisions: the maximal applied ones, of all or of those `within`.

    Those of all that lie within come first. Where there are none, other branches have passed this
    one by, and it stands at the maximal ones among its own.
    """
    current = history.maximal(applied)
    if within is None:
        return current
    return tuple(revision for revision in current if revision in within) or history.maximal(applied & within)


def several_current(
    history: History, identifier: Identifier, revisions: Iterable[str], after: str = ""
) -> SeveralHeads:
    """Build the error for steps that would have to start from several revisions.

    Args:
        history: The scripts.
        identifier: What the user wrote.
        revisions: Where the steps could start.
        after: A clause that says which steps lead there, with a trailing space.
    """
    revisions = tuple(revisions)
    state = "current" if identifier.symbol in {None, "current"} else "meant"
    return SeveralHeads(
        f"'{identifier.text}' is ambiguous: {after}{len(revisions)} revisions are {state}: "
        f"{listing(history, revisions)}.",
        f"Say which branch: `{revisions[0]}@{identifier.steps:+d}`, or a branch label before the `@`; "
        "or name a revision.",
    )


def _start(
    history: History, identifier: Identifier, applied: frozenset[str], within: frozenset[str] | None
) -> tuple[str, ...]:
    match identifier.symbol:
        case None | "current":
            return current_of(history, applied, within)
        case "base":
            return ()
        case "head" | "heads":
            heads = tuple(head for head in history.heads() if within is None or head in within)
            if identifier.symbol == "head" and len(heads) > 1:
                where = "the history" if identifier.branch is None else f"the branch '{identifier.branch}'"
                raise SeveralHeads(
                    f"'{identifier.text}' is ambiguous: {where} has {len(heads)} heads: "
                    f"{listing(history, heads)}.",
                    "Use `heads` for all of them, `label@head` (or `id@head`) for one, "
                    'or join them with `redismigrate merge -m "..."`.',
                )
            return heads
        case name:
            return (find_revision(history, name, applied, identifier.branch),)


def _up(
    history: History,
    identifier: Identifier,
    start: tuple[str, ...],
    within: frozenset[str] | None,
    stop_at_ends: bool,
) -> tuple[str, ...]:
    at = start
    for taken in range(abs(identifier.steps or 0)):
        following = history.children(at[0]) if at else history.bases()
        if within is not None:
            following = tuple(revision for revision in following if revision in within)
        if not following:
            if stop_at_ends:
                return at
            raise StepsOutOfRange(
                f"'{identifier.text}' goes past the head: {counted(taken)} left.",
                "Take fewer steps, or name a revision; `redismigrate history` lists them.",
            )
        if len(following) > 1:
            after = f"after {at[0]}" if at else "from the base"
            raise AmbiguousRevision(
                f"'{identifier.text}' is ambiguous: the history branches {after}: "
                f"{listing(history, following)}.",
                "Name a revision, or say which branch with `label@+N` (or `id@+N`).",
            )
        at = following
    return at


def _down(
    history: History,
    identifier: Identifier,
    start: tuple[str, ...],
    within: frozenset[str] | None,
    stop_at_ends: bool,
) -> tuple[str, ...]:
    at = start
    for taken in range(abs(identifier.steps or 0)):
        if len(at) > 1:
            raise AmbiguousRevision(
                f"'{identifier.text}' is ambiguous: on the way down a merge has {len(at)} parents: "
                f"{listing(history, at)}.",
                "Name one of them instead.",
            )
        if not at:
            if stop_at_ends:
                return at
            raise StepsOutOfRange(
                f"'{identifier.text}' goes past the base: {counted(taken)} left on the way down.",
                "Take fewer steps, or use `base`.",
            )
        parents = history[at[0]].down_revisions
        at = history.ordered(parents if within is None else within.intersection(parents))
    return at
