"""What exchanging a prefix makes of a schema."""

from __future__ import annotations

from redismigrate.errors import SchemaError
from redismigrate.schema import IndexSchema


def with_prefix_exchanged(schema: IndexSchema, old: str, new: str) -> IndexSchema:
    """The schema with a new prefix at the place of an old one.

    Args:
        schema: The index.
        old: One of its prefixes.
        new: What stands in its place.

    Raises:
        SchemaError: The index does not have exactly the old prefix, one of them is empty or they are the
            same, or another prefix of the index begins with one of them or the other way round.
    """
    if old not in schema.prefixes:
        meant = next((known for known in schema.prefixes if known == f"{old}{schema.key_separator}"), None)
        raise SchemaError(
            f"Index {schema.name!r} has no prefix {old!r}.",
            f"Its prefixes: {', '.join(map(repr, schema.prefixes)) or 'none, it takes every key'}."
            + (f" Did you mean {meant!r}?" if meant is not None else ""),
        )
    if not old or not new:
        raise SchemaError(
            f"Index {schema.name!r} can't exchange a prefix with an empty one: that covers every key.",
            "Use set_options(prefixes=...) to change what is indexed and leave the keys.",
        )
    if old == new:
        raise SchemaError(f"Index {schema.name!r} has the prefix {old!r} already.", "Take change_prefix out.")
    position = schema.prefixes.index(old)
    left, right = schema.prefixes[:position], schema.prefixes[position + 1 :]
    for other in (*left, *right):
        for mine in (old, new):
            if other.startswith(mine) or mine.startswith(other):
                raise SchemaError(
                    f"Index {schema.name!r} has the prefix {other!r}, which shares keys with {mine!r}.",
                    "Choose another prefix, or take that one out with set_options(prefixes=...) before.",
                )
    return schema.with_options(prefixes=(*left, new, *right))
