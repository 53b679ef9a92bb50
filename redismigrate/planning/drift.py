"""Whether the live indexes are what the record says, as far as a server tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from redismigrate.errors import DriftError
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
    problems: list[str] = []
    differences: list[str] = []
    for drift in drifts_of(definition, inventory):
        (differences if drift.kind in _OF_THE_INDEX else problems).append(drift.text)
    return (*(["; ".join(differences)] if differences else []), *problems)


def drifts_of(definition: IndexDefinition, inventory: Inventory) -> Iterator[Drift]:
    """How the server differs from what is recorded of one index."""
    live = inventory.live.get(definition.physical)
    if live is None:
        yield Drift(
            "index_missing",
            f"index {definition.physical} does not exist; `redismigrate repair` creates it again",
        )
        return
    yield from _differences_of(live, definition)
    for alias in definition.all_aliases:
        if alias in inventory.names:
            yield Drift(
                "alias_hidden", f"an index hides its alias {alias}; `redismigrate repair` drops that index"
            )
        elif inventory.aliases.get(alias) != definition.physical:
            target = inventory.aliases.get(alias)
            yield Drift(
                "alias_changed", f"alias {alias} " + (f"points to {target}" if target else "does not exist")
            )


def differences_to(live: LiveIndex, definition: IndexDefinition) -> str:
    """How a live index differs from its record, as far as the server tells; empty when it does not."""
    return "; ".join(drift.text for drift in _differences_of(live, definition))


def _differences_of(live: LiveIndex, definition: IndexDefinition) -> Iterator[Drift]:
    has_details = live.has_vector_details
    recorded = observable(definition.schema.renamed(definition.physical), has_vector_details=has_details)
    found = observable(live.schema, has_vector_details=has_details)
    for difference in diff(recorded, found):
        yield Drift(difference.kind, str(difference))
    if not has_details and live.is_temporary and definition.schema.temporary_seconds is None:
        yield Drift("index_option", "it is TEMPORARY")
    if live.has_synonyms and {group: set(terms) for group, terms in live.synonyms.items()} != {
        group: set(terms) for group, terms in definition.synonyms.items()
    }:
        yield Drift(
            "synonyms", f"synonyms are {live.synonyms or 'none'} instead of {definition.synonyms or 'none'}"
        )
