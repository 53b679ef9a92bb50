"""Whether two schemas make the same index: canonical forms, what the server can tell back, differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from redismigrate.schema.fields import SortableField, TagField, TextField
from redismigrate.schema.vector_field import ALGORITHMS_OF, DEFAULT_BLOCK_SIZE, DEFAULT_EPSILON, VectorField
from redismigrate.schema.words import folded_word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redismigrate.schema.fields import StorageType
    from redismigrate.schema.index_schema import Field, IndexSchema
    from redismigrate.schema.vector_field import Algorithm

# With more TEXT fields than this an index is made as if MAXTEXTFIELDS had been given.
NARROW_TEXT_FIELDS = 32

# What the server takes for a parameter that is not given.
VECTOR_DEFAULTS: Mapping[Algorithm, Mapping[str, int | float]] = {
    "FLAT": {"block_size": DEFAULT_BLOCK_SIZE},
    "HNSW": {"m": 16, "ef_construction": 200, "ef_runtime": 10, "epsilon": DEFAULT_EPSILON},
    "SVS-VAMANA": {
        "graph_max_degree": 32,
        "construction_window_size": 200,
        "search_window_size": 10,
        "epsilon": DEFAULT_EPSILON,
    },
}
_TRAINING_THRESHOLD = 10 * DEFAULT_BLOCK_SIZE
_ONLY_IN_DETAILS = ("ef_runtime", "epsilon", "search_window_size")


@dataclass(frozen=True)
class Difference:
    """One thing that differs between two schemas.

    Attributes:
        kind: What differs.
        field: The name of the field; None for an option of the index.
        attribute: Of the field, or the option of the index; None where a whole field comes or goes.
        before: The old value or field; None for a field that is added.
        after: The new value or field; None for a field that is dropped.
    """

    kind: Literal["index_option", "field_added", "field_dropped", "field_changed"]
    field: str | None
    attribute: str | None
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.kind == "field_added":
            return f"{self.after.type} field {self.field!r} is added"
        if self.kind == "field_dropped":
            return f"{self.before.type} field {self.field!r} is dropped"
        where = (
            f"option {self.attribute}" if self.field is None else f"field {self.field!r}: {self.attribute}"
        )
        return f"{where} changes from {_phrase(self.before)} to {_phrase(self.after)}"


def untold_parameters(field: VectorField) -> tuple[str, ...]:
    """The parameters that FT.INFO did not tell of a vector field, and FT.DEBUG would have."""
    of_its_algorithm = (name for name in _ONLY_IN_DETAILS if field.algorithm in ALGORITHMS_OF[name])
    return tuple(name for name in of_its_algorithm if getattr(field, name) is None)


def canonical(schema: IndexSchema) -> IndexSchema:
    """The schema with everything said that the server fills in, in an order that depends on nothing.

    Two schemas make the same index if their canonical forms are equal; names of indexes count.
    """
    text_fields = sum(isinstance(field, TextField) for field in schema.fields)
    return schema.model_copy(
        update={
            # The empty prefix, among others too, covers every key.
            "prefixes": () if "" in schema.prefixes else tuple(sorted(set(schema.prefixes))),
            "stopwords": None
            if schema.stopwords is None
            else tuple(sorted(set(map(folded_word, schema.stopwords)))),
            "max_text_fields": schema.max_text_fields or text_fields > NARROW_TEXT_FIELDS,
            # NOOFFSETS implies NOHL.
            "no_highlight": schema.no_highlight or schema.no_offsets,
            "fields": tuple(
                _canonical_field(field, schema.storage_type)
                for field in sorted(schema.fields, key=lambda field: field.name)
            ),
        }
    )


def observable(schema: IndexSchema, *, has_vector_details: bool = True) -> IndexSchema:
    """The canonical form without what the server does not tell back reliably, to compare with a live index.

    Besides what FT.INFO never tells, that is: BLOCK_SIZE, since the server lowers its default when maxmemory
    is short and ignores the parameter from 8.2 on; which compression and how many dimensions it reduces to,
    since without Intel's library the server replaces every compression by its own.

    Args:
        schema: What was created, or what `redismigrate.schema.read` has read.
        has_vector_details: Whether FT.DEBUG answered for the live index; TEMPORARY comes from there, too.
    """
    return canonical(
        schema.model_copy(
            update={
                "key_separator": ":",
                "skip_initial_scan": False,
                "temporary_seconds": schema.temporary_seconds if has_vector_details else None,
                "fields": tuple(
                    _observable_field(field, has_vector_details=has_vector_details) for field in schema.fields
                ),
            }
        )
    )


def completed(live: IndexSchema, known: IndexSchema, *, has_vector_details: bool = True) -> IndexSchema:
    """A schema that was read from a server, with what servers don't tell taken from another one.

    Args:
        live: What `redismigrate.schema.read` has read.
        known: A schema that tells all; it may differ.
        has_vector_details: Whether FT.DEBUG answered for the live index.
    """
    options: dict[str, Any] = {
        "key_separator": known.key_separator,
        "skip_initial_scan": known.skip_initial_scan,
        "temporary_seconds": live.temporary_seconds if has_vector_details else known.temporary_seconds,
    }
    told = {field.name: field for field in known.fields}
    fields = tuple(
        _completed_field(field, told.get(field.name, field), live, has_vector_details=has_vector_details)
        for field in live.fields
    )
    return live.model_copy(update={**options, "fields": fields})


def diff(before: IndexSchema, after: IndexSchema) -> tuple[Difference, ...]:
    """How two schemas differ, compared in canonical form: options first, then fields by name.

    The name of the index is not compared, for it says which index, not what index.
    """
    before, after = canonical(before), canonical(after)
    differences = [
        Difference("index_option", None, option, getattr(before, option), getattr(after, option))
        for option in type(before).model_fields
        if option not in {"name", "fields"} and getattr(before, option) != getattr(after, option)
    ]
    old = {field.name: field for field in before.fields}
    new = {field.name: field for field in after.fields}
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            differences.append(Difference("field_added", name, None, None, new[name]))
        elif name not in new:
            differences.append(Difference("field_dropped", name, None, old[name], None))
        else:
            differences += _field_differences(old[name], new[name])
    return tuple(differences)


def _canonical_field(field: Field, storage_type: StorageType) -> Field:
    values: dict[str, Any] = {"path": field.path_in(storage_type)}
    if isinstance(field, SortableField) and field.sortable:
        is_kept_as_is = field.type == "numeric" or (isinstance(field, TagField) and field.case_sensitive)
        values["unf"] = field.unf or storage_type == "json" or is_kept_as_is
    if isinstance(field, TagField) and field.separator is None and storage_type == "hash":
        values["separator"] = ","
    if isinstance(field, VectorField):
        defaults = dict(VECTOR_DEFAULTS[field.algorithm])
        if field.compression is not None:
            defaults["training_threshold"] = _TRAINING_THRESHOLD
            if field.compression.startswith("LeanVec"):
                defaults["reduce"] = field.dims // 2
        values |= {name: value for name, value in defaults.items() if getattr(field, name) is None}
        if field.epsilon == 0:
            # The server takes 0 for "not given".
            values["epsilon"] = DEFAULT_EPSILON
    return field.model_copy(update=values)


def _completed_field(field: Field, known: Field, live: IndexSchema, *, has_vector_details: bool) -> Field:
    seen, expected = (
        observable(live.model_copy(update={"fields": (each,)}), has_vector_details=has_vector_details)
        for each in (field, known)
    )
    if seen == expected:
        return known
    if isinstance(field, TextField) and isinstance(known, TextField):
        return field.model_copy(update={"phonetic_matcher": known.phonetic_matcher})
    return field


def _observable_field(field: Field, *, has_vector_details: bool) -> Field:
    values: dict[str, Any] = {}
    if isinstance(field, TextField):
        values["phonetic_matcher"] = None
    if isinstance(field, VectorField):
        values |= dict.fromkeys(("initial_cap", "block_size", "reduce"))
        if field.compression is not None:
            values["compression"] = "LVQ8"
        if not has_vector_details:
            values |= dict.fromkeys(_ONLY_IN_DETAILS)
    return field.model_copy(update=values)


def _field_differences(before: Field, after: Field) -> list[Difference]:
    if before.type != after.type:
        return [Difference("field_changed", before.name, "type", before.type, after.type)]
    return [
        Difference("field_changed", before.name, attribute, old, new)
        for attribute in type(before).model_fields
        if (old := getattr(before, attribute)) != (new := getattr(after, attribute))
        and not (isinstance(after, VectorField) and _went_with_its_algorithm(attribute, after))
    ]


def _went_with_its_algorithm(attribute: str, after: VectorField) -> bool:
    return after.algorithm not in ALGORITHMS_OF.get(attribute, (after.algorithm,))


def _phrase(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(repr, value)) or "none"
    return repr(value) if isinstance(value, str) else str(value)
