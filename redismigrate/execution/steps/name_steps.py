"""Moves names: what several steps make of them is looked at, and done, as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from redismigrate.errors import DriftError
from redismigrate.execution.indexes.live import alias_target, existing_indexes, look_at
from redismigrate.execution.indexes.search_commands import Commands, moving_commands
from redismigrate.planning.drift import differences_to
from redismigrate.planning.name_moves import NameMoves
from redismigrate.planning.plan import Step
from redismigrate.redis_server.connection import Server


def require_as_expected(server: Server, step: Step) -> None:
    """Refuse to change an index that somebody else changed since the plan was made, or the run stopped.

    Raises:
        DriftError: It is neither as it was before the step nor as it shall be after it, or dropping it
            would delete documents.
    """
    before = step.before
    live = None if before is None else look_at(server, before.physical)
    if before is None or live is None:
        return  # what is gone need not be dropped; FT.ALTER of it is refused
    # An attempt that was not one transaction may have died before all synonyms were set.
    differences = differences_to(
        live, replace(before, synonyms=live.synonyms) if step.kind == "set_synonyms" else before
    )
    wanted = None if step.after is None else replace(step.after, synonyms=live.synonyms)
    if differences and (wanted is None or differences_to(live, wanted)):
        raise DriftError(
            f"Index {before.physical} was changed by another client: {differences}.",
            "Put it back as recorded.",
        )
    drops = step.life.has("drops_index") or step.life.has("replaces_index")
    if drops and not step.deletes_documents and live.is_temporary:
        raise DriftError(
            f"Index {before.physical} is TEMPORARY by now: dropping it would delete its documents.",
            "Drop it yourself if they may go.",
        )


def commands_of_moves(server: Server, steps: Iterable[Step]) -> Commands:
    """The commands of steps that move names, to be one transaction. Each bears a repeat.

    Args:
        server: The connection.
        steps: In order.

    Raises:
        DriftError: Another client changed an index that is dropped or swapped out, made one of a name that is
            to be an alias, or moved an alias elsewhere.
    """
    steps = tuple(steps)
    for step in steps:
        if step.kind != "set_alias":
            require_as_expected(server, step)
    moves, existing = NameMoves.of(steps), existing_indexes(server)
    found: dict[str, str | None] = {}
    for name, target in moves.targets.items():
        if name in existing:
            if target is not None and name not in moves.dropped:
                raise DriftError(
                    f"Index {name} was made by another client meanwhile, and {target.physical} was to get "
                    "its name.",
                    "Drop or rename that index.",
                )
            continue
        leads_to = alias_target(server, name)
        if leads_to is not None and leads_to not in moves.known[name]:
            if name in moves.by_drop:
                continue
            raise DriftError(
                f"Alias {name} was moved to index {leads_to} by another client.",
                "Put it back as recorded.",
            )
        found[name] = leads_to
    return moving_commands(moves, existing, found)
