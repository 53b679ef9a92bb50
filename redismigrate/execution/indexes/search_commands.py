"""The Redis Search commands of a step, and those that put things back when one of them is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redismigrate.planning.name_moves import NameMoves
from redismigrate.planning.plan import Step
from redismigrate.schema.create import alter_arguments, create_arguments
from redismigrate.schema.definition import IndexDefinition
from redismigrate.state.store import Command


@dataclass(frozen=True)
class Commands:
    """What one transaction sends.

    Attributes:
        forward: In order.
        put_back: Run when one of `forward` but the first is refused; errors of these are ignored.
    """

    forward: tuple[Command, ...]
    put_back: tuple[Command, ...] = ()


def commands_of(
    step: Step, existing: frozenset[str], existing_fields: frozenset[str] = frozenset()
) -> Commands:
    """The commands of a step that changes an index.

    Args:
        step: The step.
        existing: The physical names that exist now; what is gone need not be dropped.
        existing_fields: The fields that an index to be altered has now; what is there need not be added.
    """
    match step.kind:
        case "set_alias":
            return Commands((_set_alias(step.alias, step.after),), (_set_alias(step.alias, step.before),))
        case "create_index":
            # The names of one that is built beside another are still those of the other. Only where there is
            # nothing before it may it say that it scans nothing.
            after, is_beside = step.index_after, step.life.name == "create_beside"
            scans = is_beside and step.before is not None
            return Commands(create(after, scans_documents=scans, has_aliases=not is_beside), (drop(after),))
        case "drop_index":
            return _drop(step, step.index_before, existing)
        case "swap_alias":
            return _swap(step.before, step.index_after, existing)
        case "replace_index":
            return replace_index(step.index_before, step.index_after, existing)
        case "alter_index":
            after = step.index_after
            added = [field for field in after.schema.fields if field.name not in existing_fields]
            if not added:
                return Commands(())
            return Commands((alter_arguments(after.physical, added, after.schema.storage_type),))
        case "set_synonyms":
            return Commands(_new_synonyms(step.index_before, step.index_after))
    raise ValueError(f"a step {step.kind} has no commands")


def replace_index(
    before: IndexDefinition, after: IndexDefinition, existing: frozenset[str], *, is_made: bool = False
) -> Commands:
    """Create one index instead of another.

    Under a new name it is created first. If somebody has taken that name meanwhile, it is the first command
    that is refused, so nothing is put back; above all the index of somebody else isn't dropped.

    Args:
        before: The index that goes.
        after: The index that comes.
        existing: The physical names that exist now.
        is_made: An earlier attempt has created `after` under its new name; what hangs on it is made again.
    """
    drops = (drop(before),) if before.physical in existing else ()
    creation = create(after, scans_documents=True)[1 if is_made else 0 :]
    if before.physical != after.physical:
        aliases = (_set_alias(alias, before) for alias in before.all_aliases)
        return Commands((*creation, *drops), (drop(after), *aliases))
    return Commands((*drops, *creation), (drop(after), *create(before, scans_documents=True)))


def _drop(step: Step, before: IndexDefinition, existing: frozenset[str]) -> Commands:
    """Drop an index, whose name may become an alias of the one after it."""
    gone = drop(before, delete_documents=step.deletes_documents)
    heir = () if step.alias is None else (_set_alias(step.alias, step.after),)
    return Commands((*((gone,) if before.physical in existing else ()), *heir))


def _swap(before: IndexDefinition | None, after: IndexDefinition, existing: frozenset[str]) -> Commands:
    """Move every name from one index to another; an index whose own name is among them is dropped for that.

    Redis 8 refuses an alias with the name of an index, so the index goes first. That the other one is there
    is looked at before.
    """
    aliases = tuple(_set_alias(alias, after) for alias in after.all_aliases)
    look = ("FT.INFO", _bytes(after.physical))
    if before is None:
        return Commands((look, *aliases), tuple(_set_alias(alias, None) for alias in after.all_aliases))
    aliases_back = tuple(_set_alias(alias, before) for alias in before.all_aliases)
    if before.physical in after.all_aliases and before.physical in existing:
        back = (("FT.ALIASDEL", _bytes(before.physical)), *create(before, scans_documents=True))
        return Commands((look, drop(before), *aliases), back)
    return Commands((look, *aliases), aliases_back)


def moving_commands(moves: NameMoves, existing: frozenset[str], found: Mapping[str, str | None]) -> Commands:
    """The commands that lead names where they are to lead in the end, and drop what is to go.

    That an index is there which gets a name is looked at first. Redis 8 refuses an alias with the name of an
    index. That goes right before: where this is no transaction, the name is away for as short as can be.

    Args:
        moves: What is to become of names and indexes.
        existing: The physical names that exist now; what is gone need not be dropped.
        found: Name of an alias, or of nothing -> where it leads now.
    """
    targets = {name: target for name, target in moves.targets.items() if target is not None}
    drops = {
        name: drop(step.before, delete_documents=step.deletes_documents)
        for name, step in moves.dropped.items()
        if name in existing and step.before is not None
    }
    looks = dict.fromkeys(target.physical for target in targets.values())
    forward: list[Command] = [("FT.INFO", _bytes(name)) for name in looks]
    back: list[Command] = []
    dropped = frozenset(drops)
    for name in sorted(targets, key=lambda name: name in dropped):
        before = moves.dropped[name].before if name in drops else None
        if before is not None:
            forward.append(drops.pop(name))
            back = [_set_alias(name, None), *create(before, scans_documents=True, has_aliases=False), *back]
        forward.append(_set_alias(name, targets[name]))
    for name, target in found.items():
        if moves.targets[name] is None and target is not None and target not in dropped:
            forward.append(_set_alias(name, None))
        back.append(
            ("FT.ALIASDEL", _bytes(name))
            if target is None
            else ("FT.ALIASUPDATE", _bytes(name), _bytes(target))
        )
    return Commands((*forward, *drops.values()), tuple(back))


def prove(
    definition: IndexDefinition, scratch_name: str, scratch_prefix: str, existing: frozenset[str]
) -> Commands:
    """Create an index of this definition that covers no key, and drop it.

    SKIPINITIALSCAN keeps the server from queueing a scan of the whole keyspace for it. It is never TEMPORARY:
    were it left behind, it would vanish together with documents.
    """
    schema = definition.schema.with_options(temporary_seconds=None)
    create_scratch = create_arguments(
        schema, name=scratch_name, prefixes=(scratch_prefix,), skip_initial_scan=True
    )
    drop_scratch = ("FT.DROPINDEX", scratch_name)
    # Only where these can't be one transaction may an earlier attempt have left it behind.
    leftover = (drop_scratch,) if scratch_name in existing else ()
    return Commands((*leftover, create_scratch, drop_scratch), (drop_scratch,))


def create(
    definition: IndexDefinition, *, scans_documents: bool = False, has_aliases: bool = True
) -> tuple[Command, ...]:
    """Create an index with all that hangs on it.

    Args:
        definition: The index.
        scans_documents: Scan even where the schema says SKIPINITIALSCAN: a rebuilt index would be empty else.
        has_aliases: Its names are free for it.
    """
    name = _bytes(definition.physical)
    synonyms: tuple[Command, ...] = tuple(
        # The scan that FT.CREATE queued sees the synonyms already; a second one would be waste.
        ("FT.SYNUPDATE", name, _bytes(group), "SKIPINITIALSCAN", *map(_bytes, terms))
        for group, terms in definition.synonyms.items()
    )
    names = definition.all_aliases if has_aliases else ()
    aliases = tuple(_set_alias(alias, definition) for alias in names)
    skip_initial_scan = False if scans_documents else None
    arguments = create_arguments(
        definition.schema, name=definition.physical, skip_initial_scan=skip_initial_scan
    )
    return (arguments, *synonyms, *aliases)


def drop(definition: IndexDefinition, *, delete_documents: bool = False) -> Command:
    """Drop the index; its documents only where a script said so."""
    return ("FT.DROPINDEX", _bytes(definition.physical), *(("DD",) if delete_documents else ()))


def _new_synonyms(before: IndexDefinition, after: IndexDefinition) -> tuple[Command, ...]:
    return tuple(
        ("FT.SYNUPDATE", _bytes(after.physical), _bytes(group), *map(_bytes, terms))
        for group, terms in after.synonyms.items()
        if terms != before.synonyms.get(group)
    )


def _set_alias(alias: str | None, target: IndexDefinition | None) -> Command:
    """ALIASUPDATE creates a missing alias and moves one of another index, in one command."""
    if alias is None:
        raise ValueError("a step set_alias needs an alias")
    if target is None:
        return ("FT.ALIASDEL", _bytes(alias))
    return ("FT.ALIASUPDATE", _bytes(alias), _bytes(target.physical))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
