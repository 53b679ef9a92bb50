"""Whether the live indexes are what the record says, as far as a server tells."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from redismigrate.errors import DriftError
from redismigrate.planning.inventory import Inventory
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema.compare import diff, observable
from redismigrate.schema.definition import Catalog, IndexDefinition


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
        for problem in drift_of(catalog[name], inventory)
    ]
    if problems:
        raise DriftError(
            f"The server differs from the record: {'; '.join(problems)}.",
            "Put it back as recorded, or record it as it is in a revision and `redismigrate stamp` that.",
        )


def drift_of(definition: IndexDefinition, inventory: Inventory) -> tuple[str, ...]:
    """How the server differs from what is recorded of one index, each difference a phrase."""
    live = inventory.live.get(definition.physical)
    if live is None:
        return (f"index {definition.physical} does not exist; `redismigrate repair` creates it again",)
    problems = []
    differences = differences_to(live, definition)
    if differences:
        problems.append(differences)
    for alias in definition.all_aliases:
        if alias in inventory.names:
            problems.append(f"an index hides its alias {alias}; `redismigrate repair` drops that index")
        elif inventory.aliases.get(alias) != definition.physical:
            target = inventory.aliases.get(alias)
            problems.append(f"alias {alias} " + (f"points to {target}" if target else "does not exist"))
    return tuple(problems)


def differences_to(live: LiveIndex, definition: IndexDefinition) -> str:
    """How a live index differs from its record, as far as the server tells; empty when it does not."""
    has_details = live.has_vector_details
    recorded = observable(definition.schema.renamed(definition.physical), has_vector_details=has_details)
    found = observable(live.schema, has_vector_details=has_details)
    differences = [str(difference) for difference in diff(recorded, found)]
    if not has_details and live.is_temporary and definition.schema.temporary_seconds is None:
        differences.append("it is TEMPORARY")
    if {group: set(terms) for group, terms in live.synonyms.items()} != {
        group: set(terms) for group, terms in definition.synonyms.items()
    }:
        differences.append(
            f"synonyms are {live.synonyms or 'none'} instead of {definition.synonyms or 'none'}"
        )
    return "; ".join(differences)
