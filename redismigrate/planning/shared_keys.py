"""Which indexes cover keys of others, told by name and prefix before any of them is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from redismigrate.foreign_text import readable
from redismigrate.operations.recorded import RecordedRevision, names_after
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog
from redismigrate.schema.prefixes import KeyPrefixes

_MOST_SHOWN = 5


def told_of_shared_keys(
    recorded: RecordedRevision,
    before: Catalog,
    after: Catalog,
    live: Mapping[str, IndexSchema],
    rewritten: Collection[str],
) -> Iterator[str]:
    """What a plan has to say of indexes that cover the same keys, a sentence without its end for each index.

    An index whose keys and documents stay harms none, so that is said of it only where its neighbour is
    changed with it. Whether a FILTER keeps the documents of two apart can't be told.

    Args:
        recorded: The revision.
        before: The indexes that its operations find.
        after: Those that they leave.
        live: Physical name -> schema of the indexes on the server, as far as they are known.
        rewritten: The served names of the indexes whose documents it rewrites.
    """
    made = _made(recorded, before)
    ours = {definition.physical for catalog in (before, after) for definition in catalog.values()}
    others = {name: schema for name, schema in live.items() if name not in ours}
    told: set[str] = set()
    for name, old in sorted(made.items()):
        if name not in after:
            continue
        schema = after[name].schema
        is_new = old is None or set(old.prefixes) != set(schema.prefixes)
        matters = is_new or name in rewritten
        neighbours = {
            other: definition.schema
            for other, definition in after.items()
            if other != name and other not in told and (matters or other in made)
        }
        told.add(name)
        found = _shared(schema, {**neighbours, **(others if matters else {})})
        if found:
            yield _sentence(name, found, made)


def _made(recorded: RecordedRevision, before: Catalog) -> dict[str, IndexSchema | None]:
    """The served names of the indexes that a revision leaves changed or new, with what they were."""
    changed = [item.name for item in recorded.operations if item.kind == "change_index"]
    created = [item.schema.name for item in recorded.operations if item.kind == "create_index"]
    found: dict[str, IndexSchema | None] = {}
    for first, last in names_after(recorded.operations, [*changed, *created]).items():
        found[last] = before[first].schema if first in before and first not in created else None
    return found


def _shared(schema: IndexSchema, others: Mapping[str, IndexSchema]) -> dict[str, str]:
    """Name of another index -> the keys that it covers as well, in words."""
    own = KeyPrefixes.of(schema.prefixes)
    found = {}
    for name, other in sorted(others.items()):
        theirs = KeyPrefixes.of(other.prefixes)
        if other.storage_type == schema.storage_type and own.overlap(theirs):
            found[name] = _keys_in_both(own, theirs)
    return found


def _keys_in_both(own: KeyPrefixes, theirs: KeyPrefixes) -> str:
    inner = dict.fromkeys(
        (
            *(prefix for prefix in own.outermost if theirs.cover(prefix)),
            *(prefix for prefix in theirs.outermost if own.cover(prefix)),
        )
    )
    shown = [f"{readable(prefix)}*" if prefix else "all keys" for prefix in sorted(inner)[:_MOST_SHOWN]]
    return ", ".join(shown) + (" and more" if len(inner) > _MOST_SHOWN else "")


def _sentence(name: str, found: Mapping[str, str], made: Collection[str]) -> str:
    together = ", changed with it" if found.keys() <= {*made} else ""
    if len(found) == 1:
        ((other, keys),) = found.items()
        return f"index {name} covers the same keys as index {other}{together}: {keys}"
    shown = [f"{other} ({keys})" for other, keys in list(found.items())[:_MOST_SHOWN]]
    more = f" and {len(found) - _MOST_SHOWN:,} more" if len(found) > _MOST_SHOWN else ""
    return f"index {name} covers the same keys as {len(found):,} others{together}: {', '.join(shown)}{more}"
