"""An index that answers queries with the old and with the new names of fields that are renamed."""

from __future__ import annotations

from dataclasses import replace

from redismigrate.documents.rewrite import Rewrite
from redismigrate.planning.query_warnings import renamed_attributes
from redismigrate.schema import TextField, VectorField
from redismigrate.schema.definition import IndexDefinition

# The server refuses an index with more.
MOST_FIELDS, MOST_TEXT_FIELDS = 1024, 128


def with_both_names(old: IndexDefinition, new: IndexDefinition, rewrite: Rewrite) -> IndexDefinition | None:
    """The new index with further attributes, called as before, over what is renamed.

    It is for the time in which two releases of an application ask one index. Vectors are left out: a further
    attribute over them takes the memory, and the time, of a further vector index.

    Args:
        old: The index as it is.
        new: The index as it is wanted.
        rewrite: What gets another path in its documents.

    Returns:
        None where nothing is called otherwise in queries, or where the index can't have both names.
    """
    renamed = renamed_attributes(old, new, rewrite)
    called = {field.name: field for field in new.schema.fields}
    more = [called[after].altered(name=before, path=_path(new, after)) for before, after in renamed.items()]
    fields = (*new.schema.fields, *more)
    texts = sum(isinstance(field, TextField) for field in fields)
    if not more or any(isinstance(field, VectorField) for field in more):
        return None
    if len(fields) > MOST_FIELDS or texts > MOST_TEXT_FIELDS:
        return None
    return replace(new, schema=new.schema.with_fields(fields))


def _path(definition: IndexDefinition, name: str) -> str:
    return definition.schema.field(name).path_in(definition.schema.storage_type)
