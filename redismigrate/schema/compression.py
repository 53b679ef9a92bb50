"""Says where a server keeps vectors less compressed than was asked for, which it does without a word."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.schema.index_schema import IndexSchema
from redismigrate.schema.vector_field import VectorField

# What an open build makes of every compression reads as this one, see `redismigrate.schema.read`.
_OF_8_BITS = "LVQ8"


def compression_warnings(before: IndexSchema | None, after: IndexSchema) -> Iterator[str]:
    """What to know before an index is made: the server tells its own compression only of one that is there.

    Args:
        before: The index as it is; None: there is none.
        after: As it is wanted.
    """
    fields = () if before is None else before.fields
    for field in after.fields:
        if isinstance(field, VectorField) and field.compression not in (None, _OF_8_BITS):
            if field in fields:
                continue
            yield (
                f"open builds of Redis have no {field.compression} and silently keep 8 bits for a component "
                f"of {field.name} of {after.name}; the run tells what this server does"
            )


def less_compressed(wanted: IndexSchema, live: IndexSchema) -> Iterator[str]:
    """What became of the compression of an index that was made.

    Args:
        wanted: The index as asked for.
        live: As the server tells it.
    """
    asked = {field.name: field for field in wanted.fields if isinstance(field, VectorField)}
    for field in live.fields:
        if not isinstance(field, VectorField) or field.name not in asked:
            continue
        compression = asked[field.name].compression
        if compression not in (None, _OF_8_BITS) and field.compression == _OF_8_BITS:
            yield (
                f"this server has no {compression}: field {field.name} of index {wanted.name} is kept with 8 "
                "bits for a component (GlobalSQ8)"
            )
