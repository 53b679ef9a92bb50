"""What those have to know who query an index, or write its documents, whose storage type changes."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.storage_conversion import FROM_HASH, FROM_JSON
from redismigrate.schema.definition import IndexDefinition


def warnings_of_storage(new: IndexDefinition, rewrite: Rewrite) -> Iterator[str]:
    """What changes for applications.

    Args:
        new: The index as it is wanted.
        rewrite: What becomes of its documents.
    """
    change = rewrite.storage
    if change is None:
        return
    if change.to == "json":
        yield (
            f"searches on {new.served} give JSON documents afterwards: without RETURN one value called $, "
            "and what RETURN names by its attribute; vectors in queries stay bytes. Who reads documents "
            "needs JSON.GET instead of HGETALL (storage_change)"
        )
        remembered = f"a member {FROM_HASH} remembers how a hash has spelled numbers as 1.50"
    else:
        yield (
            f"searches on {new.served} give fields of hashes afterwards: without RETURN all of them, "
            "vectors as bytes. Who reads documents needs HGETALL instead of JSON.GET (storage_change)"
        )
        remembered = (
            f"a field {FROM_JSON} remembers members that a hash has no form for (objects, arrays, null); "
            "numbers of vectors are rounded to the datatype of the index"
        )
    yield f"documents of {new.served} come back from {change.named} as they were: {remembered}"
    if change.drops_field_ttls:
        yield f"fields of documents of {new.served} that expire do so no more (--drop-field-ttls)"
