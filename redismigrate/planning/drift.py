"""Whether the live indexes are what the record says, as far as a server tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from redismigrate.errors import DriftError
from redismigrate.foreign_text import shell_command
from redismigrate.planning.inventory import Inventory
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema.compare import diff, observable
from redismigrate.schema.definition import Catalog, IndexDefinition

_OF_THE_INDEX = {"index_option", "field_added", "field_dropped", "field_changed", "synonyms"}


@dataclass(frozen=True)
class Drift:
    """One thing in which the server differs from the record.

    Attributes:
        kind: What differs.
        text: The same as a phrase.
        remedy: The command that mends it, and what that does, as a phrase.
    """

    kind: Literal[
        "index_option",
        "field_added",
        "field_dropped",
        "field_changed",
        "synonyms",
        "index_missing",
        "alias_hidden",
        "alias_changed",
    ]
    text: str
    remedy: str


def require_no_drift(
    catalog: Catalog, inventory: Inventory, names: Iterable[str], may_be_gone: AbstractSet[str] = frozenset()
) -> None:
    """Refuse to build on a record that the server contradicts.

    Args:
        catalog: The indexes as recorded.
        inventory: The server.
        names: The served names that matter.
        may_be_gone: Those that are only dropped, so that it does not matter if they are gone already.

    Raises:
        DriftError: An index was changed or dropped, or an alias moved, behind our back.
    """
    problems = [
        f"{name}: {problem}"
        for name in names
        if name in catalog and not (name in may_be_gone and catalog[name].physical not in inventory.live)
        for problem in drift_of(catalog[name], inventory, has_remedies=True)
    ]
    if problems:
        raise DriftError(
            f"The server differs from the record: {'; '.join(problems)}.",
            "Put it back as recorded, or write a revision that makes it as it is, and `redismigrate stamp` "
            "that.",
        )


def drift_of(
    definition: IndexDefinition, inventory: Inventory, *, has_remedies: bool = False
) -> tuple[str, ...]:
    """How the server differs from what is recorded of one index, each difference a phrase.

    Args:
        definition: The index as recorded.
        inventory: The server.
        has_remedies: Name the commands that mend it, too.
    """
    problems: list[str] = []
    differences: list[str] = []
    remedies: list[str] = []
    for drift in drifts_of(definition, inventory):
        if drift.kind in _OF_THE_INDEX:
            differences.append(drift.text)
            remedies.append(drift.remedy)
        else:
            problems.append(f"{drift.text}; {drift.remedy}" if has_remedies else drift.text)
    if differences and has_remedies:
        differences.append(remedies[0])
    return (*(["; ".join(differences)] if differences else []), *problems)


def drifts_of(definition: IndexDefinition, inventory: Inventory) -> Iterator[Drift]:
    """How the server differs from what is recorded of one index."""
    live = inventory.live.get(definition.physical)
    if live is None:
        if definition.schema.temporary_seconds is None:
            remedy = "`redismigrate repair` creates it again"
        else:
            remedy = f"it is TEMPORARY and may have expired; {_rebuild(definition)} creates it again"
        yield Drift("index_missing", f"index {definition.physical} does not exist", remedy)
        return
    yield from _differences_of(live, definition)
    for alias in definition.all_aliases:
        if alias in inventory.names:
            yield Drift(
                "alias_hidden",
                f"an index hides its alias {alias}",
                "`redismigrate repair` drops that index, its documents stay",
            )
        elif inventory.aliases.get(alias) != definition.physical:
            target = inventory.aliases.get(alias)
            yield Drift(
                "alias_changed",
                f"alias {alias} " + (f"points to {target}" if target else "does not exist"),
                "`redismigrate repair` points it to its index",
            )


def _rebuild(definition: IndexDefinition) -> str:
    return f"`{shell_command('redismigrate', 'repair', '--rebuild', definition.served)}`"


def differences_to(live: LiveIndex, definition: IndexDefinition) -> str:
    """How a live index differs from its record, as far as the server tells; empty when it does not."""
    return "; ".join(drift.text for drift in _differences_of(live, definition))


def _differences_of(live: LiveIndex, definition: IndexDefinition) -> Iterator[Drift]:
    has_details = live.has_vector_details
    recorded = observable(definition.schema.renamed(definition.physical), has_vector_details=has_details)
    found = observable(live.schema, has_vector_details=has_details)
    remedy = f"{_rebuild(definition)} makes it as recorded, searches miss documents meanwhile"
    for difference in diff(recorded, found):
        yield Drift(difference.kind, str(difference), remedy)
    if not has_details and live.is_temporary and definition.schema.temporary_seconds is None:
        yield Drift("index_option", "it is TEMPORARY", remedy)
    if live.has_synonyms and {group: set(terms) for group, terms in live.synonyms.items()} != {
        group: set(terms) for group, terms in definition.synonyms.items()
    }:
        yield Drift(
            "synonyms",
            f"synonyms are {live.synonyms or 'none'} instead of {definition.synonyms or 'none'}",
            remedy,
        )
