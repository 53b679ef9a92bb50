"""Applied revisions that a squashed one stands for: its record instead of theirs, and theirs instead of its.

An environment that has applied all that a squashed script replaces has applied that script. Its record stays
as it is until a revision after it is applied: so an older release, with the old scripts, finds its heads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from redismigrate.operations.squash import Squash
from redismigrate.state.stored_documents import AppliedRevision, Head


def put_together(head: Head, squash: Squash) -> Head:
    """The head with one record for the revisions that a squashed one replaces, as far as they are applied."""
    replaced = {id_: head.revisions[id_] for id_ in squash.replaces if id_ in head.revisions}
    if not replaced:
        return head
    last = list(replaced.values())[-1]
    together = AppliedRevision(
        parents=squash.parents,
        depends_on=squash.depends_on,
        message=squash.message,
        sha256=squash.sha256,
        code_sha256=squash.code_sha256,
        applied_at=last.applied_at,
        seconds=round(sum(record.seconds for record in replaced.values()), 3),
        by=last.by,
        adopted=tuple(sorted({name for record in replaced.values() for name in record.adopted})),
        replaces=squash.replaces,
        replaced=replaced,
        expectations=last.expectations,
    )
    return head.with_records({**dict.fromkeys(replaced), squash.revision: together})


def taken_apart(head: Head, revision: str) -> Head:
    """The head with the records of the revisions that a squashed one replaces, applied one by one."""
    return head.with_records({revision: None, **head.revisions[revision].replaced})


def holder_of(head: Head, revision: str) -> str | None:
    """The squashed revision in whose record that of another one is kept; None where it has its own."""
    return next((id_ for id_, record in head.revisions.items() if revision in record.replaced), None)


def changed_records(before: Head, after: Head) -> dict[str, AppliedRevision | None]:
    """The records of the head before that are others after, None for those that came."""
    old, new = before.revisions, after.revisions
    return {id_: old.get(id_) for id_ in {**old, **new} if old.get(id_) != new.get(id_)}


def seen_head(head: Head, squashes: Iterable[Squash], known: Collection[str]) -> Head:
    """What is recorded, by the names that some scripts have for it.

    Args:
        head: As recorded.
        squashes: The squashed ones among the scripts.
        known: The ids of all of these scripts.
    """
    for id_, record in head.revisions.items():
        # An older release looks: it has the scripts that the squashed one replaced later.
        if id_ not in known and not set(known).isdisjoint(record.replaces):
            head = head.with_records({id_: None, **(record.replaced or _one_by_one(record))})
    for squash in squashes:
        if squash.revision not in head.revisions and head.applied.issuperset(squash.replaces):
            head = put_together(head, squash)
    return head


def partly_applied(head: Head, squashes: Iterable[Squash]) -> dict[str, tuple[str, ...]]:
    """Squashed revisions of which some that they replace are applied, and others not; and which are."""
    found = {}
    for squash in squashes:
        applied = tuple(id_ for id_ in squash.replaces if id_ in head.revisions)
        if applied and len(applied) < len(squash.replaces) and squash.revision not in head.revisions:
            found[squash.revision] = applied
    return found


def _one_by_one(record: AppliedRevision) -> Mapping[str, AppliedRevision]:
    """What can be said of revisions that were applied as one."""
    found, parents = {}, record.parents
    for id_ in record.replaces:
        found[id_] = replace(
            record, parents=parents, depends_on=(), sha256="", code_sha256="", backup=None, replaces=()
        )
        parents = (id_,)
    return found
