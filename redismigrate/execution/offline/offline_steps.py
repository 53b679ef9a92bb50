"""The commands of a step where nobody looks at the server in between, and what takes them back. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from redismigrate.execution.indexes.search_commands import Commands, commands_of, create, drop, prove
from redismigrate.planning.plan import Step
from redismigrate.planning.undo import is_kept
from redismigrate.state.store import Command


@dataclass(frozen=True)
class Scratch:
    """The index on which definitions are proved.

    Attributes:
        name: What it is called.
        prefix: What it covers, which no key has.
    """

    name: str
    prefix: str


def offline_commands(step: Step, existing: frozenset[str], scratch: Scratch) -> Commands:
    """The commands of a step, and those that take it back when a later step is refused.

    Args:
        step: A step that changes an index, or proves a definition.
        existing: The physical names that exist when its turn comes.
        scratch: Where definitions are proved.
    """
    before, after = step.before, step.after
    if step.kind == "prove_index" and after is not None:
        return prove(after, scratch.name, scratch.prefix, frozenset())
    fields = frozenset(field.name for field in before.schema.fields) if before is not None else frozenset()
    commands = commands_of(step, existing, fields)
    back: tuple[Command, ...] = commands.put_back
    if is_kept(step):
        back = ()  # dropping a TEMPORARY index would delete its documents
    elif step.kind == "drop_index" and before is not None:
        is_gone = step.deletes_documents or before.physical not in existing
        back = () if is_gone else create(before, scans_documents=True, has_aliases=not step.after_record)
    elif step.life.has("stays_same_index") and before is not None and after is not None:
        back = (drop(after), *create(before, scans_documents=True))
    return replace(commands, put_back=back)


def existing_after(step: Step, existing: frozenset[str]) -> frozenset[str]:
    """The physical names that exist after a step."""
    before, after = step.before, step.after
    if step.life.has("drops_index") and before is not None:
        existing -= {before.physical}
    if step.kind == "swap_alias" and before is not None and after is not None:
        existing -= {before.physical} & set(after.all_aliases)
    if step.life.has("makes_index") and after is not None:
        existing |= {after.physical}
    return existing
