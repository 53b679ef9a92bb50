"""What a revision identifier asks for: revisions to show, to apply or to undo."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from redismigrate.errors import (
    AmbiguousRevision,
    NotAnAncestor,
    RevisionNotFound,
    StepsOutOfRange,
    UsageError,
)
from redismigrate.history.notation import BASE, Identifier, parse_identifier, parse_range
from redismigrate.history.resolution import (
    counted,
    current_of,
    find_branch,
    listing,
    resolve,
    several_current,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redismigrate.history.graph import History

_NO_RECORDS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def resolve_many(history: History, identifier: str, applied: frozenset[str]) -> tuple[str, ...]:
    """Return the revisions that an identifier stands for.

    Args:
        history: The scripts.
        identifier: For example `ae10`, `heads`, `shop@head`, `current`, `-1`; `base` is no revision.
        applied: The applied revisions, for `current` and for steps that start there; those that the
            history lacks are ignored.

    Raises:
        UsageError: One of its subclasses says why the identifier means nothing, or too much.
    """
    return resolve(history, parse_identifier(identifier), applied)


def resolve_one(history: History, identifier: str, applied: frozenset[str]) -> str:
    """Return the one revision that an identifier stands for.

    Args:
        history: The scripts.
        identifier: As for `resolve_many`.
        applied: As for `resolve_many`.

    Raises:
        AmbiguousRevision: It stands for several.
        RevisionNotFound: It stands for none, as `base` does.
        UsageError: Another subclass says why the identifier means nothing.
    """
    revisions = resolve_many(history, identifier, applied)
    if len(revisions) > 1:
        raise AmbiguousRevision(
            f"'{identifier}' stands for {len(revisions)} revisions, but one is expected: "
            f"{listing(history, revisions)}.",
            "Name one of them.",
        )
    if not revisions:
        raise RevisionNotFound(
            f"'{identifier}' stands for no revision, as nothing is there yet.",
            "Name a revision; `redismigrate history` lists them.",
        )
    return revisions[0]


def resolve_range(history: History, identifiers: str, applied: frozenset[str]) -> tuple[str, ...]:
    """Return the revisions from one place to another, both included, parents first.

    `-N` as the first end counts back from the second one, `+N` as the second one on from the first;
    a count that leaves the history ends where the history does. `label@` before the first end keeps
    to the line of that branch.

    Args:
        history: The scripts.
        identifiers: `a:b`; without `a` from the base, without `b` to the heads.
        applied: As for `resolve_many`.

    Raises:
        NotAnAncestor: The first end does not lead to the second one.
        UsageError: It is not a range, or another subclass says what is wrong with one of its ends.
    """
    lower, upper = parse_range(identifiers)
    if upper.symbol is None and lower.symbol is not None:
        first = resolve(history, lower, applied, stop_at_ends=True)
        last = resolve(history, upper, history.ancestors(first), stop_at_ends=True)
    else:
        last = resolve(history, upper, applied, stop_at_ends=True)
        start = history.ancestors(last) if upper.symbol is not None else applied
        first = resolve(history, lower, start if lower.symbol is None else applied, stop_at_ends=True)
    between = history.ancestors(last)
    strangers = [revision for revision in first if revision not in between]
    if strangers:
        raise NotAnAncestor(
            f"Revision {strangers[0]} is not an ancestor of {' or '.join(last) or 'base'}.",
            f"`{identifiers.rpartition(':')[2]}:{identifiers.partition(':')[0]}` is the other direction; "
            "`redismigrate history` shows the lines.",
        )
    if first:
        between &= history.descendants(first)
    if lower.branch is not None:
        between &= history.lineage(find_branch(history, lower.branch))
    return history.ordered(between)


def revisions_to_apply(history: History, identifier: str, applied: frozenset[str]) -> tuple[str, ...]:
    """Return what an upgrade applies, in order: the target and all it stands on, less what is applied.

    Args:
        history: The scripts.
        identifier: The target. `+N` counts from the current revision, and where several are current
            needs to be told the branch: `label@+N`.
        applied: The applied revisions. Those that the history lacks are ignored: a server that is ahead
            of the scripts is the caller's to report.

    Raises:
        UsageError: The identifier counts down from the current revision, or one of the subclasses
            says why it means nothing, or too much.
    """
    parsed = parse_identifier(identifier)
    if parsed.symbol is None and (parsed.steps or 0) < 0:
        raise UsageError(
            f"An upgrade can't go to '{identifier}', which lies below the current revision.",
            f"Use `redismigrate downgrade {identifier}`.",
        )
    return history.upgrade_path(resolve(history, parsed, applied), applied)


def revisions_to_undo(
    history: History,
    identifier: str,
    applied: frozenset[str],
    recorded_parents: Mapping[str, tuple[str, ...]] = _NO_RECORDS,
) -> tuple[str, ...]:
    """Return what a downgrade undoes, in order: all that is applied and descends from the target.

    `-N` undoes the current revision, N times. At a merge it undoes just the merge, which leaves both
    of its parents applied; a further step would have to choose between them and is refused. Where
    several revisions are current, `label@-N` or `id@-N` tells the branch.

    `label@` before a target limits the downgrade to the revisions that the label covers, and what
    descends from or depends on them: `label@base` undoes the branch and leaves the revisions it grew
    from, which other branches may stand on.

    Args:
        history: The scripts.
        identifier: The target, which stays applied; `base` to undo everything.
        applied: The applied revisions. Some may be unknown to the history: it is then older than what
            the server has.
        recorded_parents: What revisions revised and depended on when they were applied, as recorded,
            by id. An unknown applied revision that is not in it may descend from anything.

    Raises:
        NotAnAncestor: The target is not applied.
        StepsOutOfRange: There are fewer revisions to undo.
        SeveralHeads: It is not clear which revision is the last one.
        RevisionNotFound: The target does not exist, or a revision that would have to be undone has no
            script.
        UsageError: The identifier counts up from the current revision, or one of the other
            subclasses says why it means nothing, or too much.
    """
    parsed = parse_identifier(identifier)
    known = history.known(applied)
    members = frozenset(history)
    if parsed.branch is not None:
        members = history.branch(find_branch(history, parsed.branch))
    targets: tuple[str, ...] = ()
    if parsed.symbol is None:
        if applied and not known:
            raise _ahead(applied)
        roots = _last(history, parsed, known, members)
    else:
        targets = resolve(history, parsed, applied)
        _check_applied(targets, known)
        roots = _above(history, parsed, targets, applied) & members
    undone = history.descendants(roots)
    # To go back to the base is to undo everything, whatever it descends from.
    covered = undone | members.intersection(targets)
    missing = [
        revision
        for revision in sorted(applied - known)
        if parsed == BASE or _may_descend(revision, covered, history, recorded_parents)
    ]
    if missing:
        raise _ahead(missing)
    return history.ordered(undone & known)[::-1]


def _ahead(revisions: Iterable[str]) -> RevisionNotFound:
    names = ", ".join(sorted(revisions))
    return RevisionNotFound(
        f"Redis is ahead of these scripts by {names}, which would have to be undone first.",
        "Run the downgrade where their scripts are.",
    )


def _last(
    history: History, identifier: Identifier, known: frozenset[str], members: frozenset[str]
) -> frozenset[str]:
    """Return the last applied members, as many as the identifier has steps down."""
    steps = identifier.steps or 0
    if steps > 0:
        raise UsageError(
            f"A downgrade can't go to '{identifier.text}', which lies above the current revision.",
            f"Use `redismigrate upgrade {identifier.text}`.",
        )
    undone: list[str] = []
    remaining = known
    for _ in range(-steps):
        last = current_of(history, remaining, members)
        if len(last) > 1:
            after = f"after {undone[-1]} is undone, " if undone else ""
            raise several_current(history, identifier, last, after)
        if not last:
            branch = identifier.branch
            start, base = (
                ("the base", "base") if branch is None else (f"the branch '{branch}'", f"{branch}@base")
            )
            raise StepsOutOfRange(
                f"'{identifier.text}' goes past {start}: {counted(len(undone))} applied.",
                f"Take fewer steps, or use `{base}`.",
            )
        undone += last
        remaining -= history.descendants(last)
    return frozenset(undone)


def _above(
    history: History, identifier: Identifier, targets: tuple[str, ...], applied: frozenset[str]
) -> frozenset[str]:
    """Return the revisions that a downgrade to the targets may have to undo."""
    if targets:
        return history.descendants(targets) - history.ancestors(targets)
    if identifier.symbol == "base":
        return frozenset(history)
    # The steps went from a revision down to below its base: other bases are none of its concern.
    origin = resolve(history, replace(identifier, steps=None), applied)
    return frozenset(base for base in history.bases() for start in origin if base in history.lineage(start))


def _check_applied(targets: tuple[str, ...], known: frozenset[str]) -> None:
    for revision in targets:
        if revision not in known:
            raise NotAnAncestor(
                f"Revision {revision} is not applied, so nothing above it can be undone.",
                "`redismigrate current` shows what is applied.",
            )


def _may_descend(
    revision: str, covered: frozenset[str], history: History, recorded_parents: Mapping[str, tuple[str, ...]]
) -> bool:
    """Whether a revision without a script descends from one of `covered`, which holds its descendants."""
    seen = {revision}
    todo = [revision]
    while todo:
        at = todo.pop()
        if at in covered:
            return True
        if at in history:
            continue
        if at not in recorded_parents:
            return True
        parents = set(recorded_parents[at]) - seen
        seen |= parents
        todo += parents
    return False
