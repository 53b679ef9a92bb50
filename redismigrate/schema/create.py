"""FT.CREATE and FT.ALTER: the arguments that make an index, in the order that the server's parser wants."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from redismigrate.errors import SchemaError
from redismigrate.schema.fields import GeoShapeField, SortableField, TagField, TextField
from redismigrate.schema.strict import encode
from redismigrate.schema.vector_field import VectorField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redismigrate.schema.index_schema import Field, IndexSchema, StorageType

# Attribute of VectorField -> parameter of FT.CREATE, in the order in which RedisVL sends them.
VECTOR_PARAMETERS = {
    "datatype": b"TYPE",
    "dims": b"DIM",
    "distance_metric": b"DISTANCE_METRIC",
    "initial_cap": b"INITIAL_CAP",
    "block_size": b"BLOCK_SIZE",
    "m": b"M",
    "ef_construction": b"EF_CONSTRUCTION",
    "ef_runtime": b"EF_RUNTIME",
    "graph_max_degree": b"GRAPH_MAX_DEGREE",
    "construction_window_size": b"CONSTRUCTION_WINDOW_SIZE",
    "search_window_size": b"SEARCH_WINDOW_SIZE",
    "epsilon": b"EPSILON",
    "compression": b"COMPRESSION",
    "reduce": b"REDUCE",
    "training_threshold": b"TRAINING_THRESHOLD",
}
# What the parser takes for an option of a field, in any case, even where the name of the next one was meant.
_MISREAD_AFTER = {
    "text": frozenset({"WEIGHT", "NOSTEM", "PHONETIC", "WITHSUFFIXTRIE", "INDEXEMPTY"}),
    "tag": frozenset({"SEPARATOR", "CASESENSITIVE", "WITHSUFFIXTRIE", "INDEXEMPTY"}),
    "geoshape": frozenset({"FLAT", "SPHERICAL"}),
}
_MISREAD_AFTER_ANY = frozenset({"INDEXMISSING", "SORTABLE", "UNF", "NOINDEX"})
_MISREAD = _MISREAD_AFTER_ANY.union(*_MISREAD_AFTER.values())


def create_arguments(
    schema: IndexSchema,
    *,
    name: str | None = None,
    prefixes: tuple[str, ...] | None = None,
    skip_initial_scan: bool | None = None,
) -> list[bytes]:
    """The whole FT.CREATE command of an index. What is at its default is left out.

    Fields keep their order, but for those of hashes that are called like an option: they go where
    they can be read, for `weight` behind a text field would be read as its WEIGHT.

    Args:
        schema: What to create.
        name: Instead of the schema's.
        prefixes: Instead of the schema's; empty: every key.
        skip_initial_scan: Instead of the schema's.

    Raises:
        SchemaError: The schema has no field, or so many that are called like options that in no order they
            would be read as fields; the server makes no such index.
    """
    if name is not None:
        schema = schema.renamed(name)
    overrides = {"prefixes": prefixes, "skip_initial_scan": skip_initial_scan}
    schema = schema.with_options(**{key: value for key, value in overrides.items() if value is not None})
    if not schema.fields:
        raise SchemaError(
            f"Index {schema.name!r} has no fields.", "Add one: the server makes no index without."
        )
    arguments = [b"FT.CREATE", encode(schema.name), *_option_arguments(schema), b"SCHEMA"]
    return arguments + _all_field_arguments(schema.fields, schema.storage_type)


def alter_arguments(index_name: str, fields: Sequence[Field], storage_type: StorageType) -> list[bytes]:
    """The whole FT.ALTER command that adds fields; the server adds all of them or none.

    Args:
        index_name: The index, or an alias of it.
        fields: At least one.
        storage_type: Of the index.

    Raises:
        SchemaError: As for `create_arguments`.
    """
    arguments = [b"FT.ALTER", encode(index_name), b"SCHEMA", b"ADD"]
    return arguments + _all_field_arguments(fields, storage_type)


def misread_field(fields: Sequence[Field], storage_type: StorageType) -> str | None:
    """The name of a field that the server would read as an option of the field before it; None: all are read.

    Args:
        fields: In the schema's order; the order in which they would be sent is looked at.
        storage_type: Of the index.
    """
    return _first_misread(_ordered(fields, storage_type), storage_type)


def _option_arguments(schema: IndexSchema) -> list[bytes]:
    arguments = [b"ON", schema.storage_type.upper().encode()]
    if schema.prefixes:
        arguments += [b"PREFIX", _number(len(schema.prefixes)), *map(encode, schema.prefixes)]
    for keyword, text in (
        (b"FILTER", schema.filter),
        (b"LANGUAGE", None if schema.language == "english" else schema.language),
        (b"LANGUAGE_FIELD", schema.language_field),
        (b"SCORE", None if schema.score == 1 else repr(schema.score)),
        (b"SCORE_FIELD", schema.score_field),
        (b"PAYLOAD_FIELD", schema.payload_field),
        (b"INDEXALL", "ENABLE" if schema.index_all else None),
    ):
        if text is not None:
            arguments += [keyword, encode(text)]
    if schema.temporary_seconds is not None:
        arguments += [b"TEMPORARY", _number(schema.temporary_seconds)]
    if schema.stopwords is not None:
        arguments += [b"STOPWORDS", _number(len(schema.stopwords)), *map(encode, schema.stopwords)]
    return arguments + _flags(
        (b"MAXTEXTFIELDS", schema.max_text_fields),
        (b"NOOFFSETS", schema.no_offsets),
        (b"NOHL", schema.no_highlight),
        (b"NOFIELDS", schema.no_fields),
        (b"NOFREQS", schema.no_freqs),
        (b"SKIPINITIALSCAN", schema.skip_initial_scan),
    )


def _all_field_arguments(fields: Sequence[Field], storage_type: StorageType) -> list[bytes]:
    fields = _ordered(fields, storage_type)
    misread = _first_misread(fields, storage_type)
    if misread is not None:
        raise SchemaError(
            f"FT.CREATE would read the name of field {misread!r} as an option of the field before it.",
            "Call the field of the hash otherwise, or index fewer fields that are called like options.",
        )
    return [argument for field in fields for argument in _field_arguments(field, storage_type)]


def _ordered(fields: Sequence[Field], storage_type: StorageType) -> Sequence[Field]:
    """The fields as given where they are read so, else in another order in which they are, if one is."""
    if _first_misread(fields, storage_type) is None:
        return fields
    options = [field for field in fields if field.path_in(storage_type).upper() in _MISREAD]
    others = [field for field in fields if field not in options]
    return _readable_order(None, options, others, storage_type, set()) or [*options, *others]


def _readable_order(
    before: Field | None,
    options: list[Field],
    others: list[Field],
    storage_type: StorageType,
    tried: set[tuple[str, ...]],
) -> list[Field] | None:
    """Fields in an order in which all are read, those called like options as far in front as they can be.

    Args:
        before: The field in front of them.
        options: Those called like options.
        others: The others, which are read behind every field.
        storage_type: Of the index.
        tried: What is known to lead nowhere.
    """
    if not options:
        return others
    behind = "" if before is None else before.type
    state = (behind, *(field.name for field in options), "", *(other.type for other in others))
    if state in tried:
        return None
    tried.add(state)
    firsts: list[list[Field]] = [[field] for field in options]
    # Or behind a field of another type, one of each.
    types = {other.type: other for other in reversed(others)}
    firsts += [[other, field] for other in types.values() for field in options]
    for first in firsts:
        if _first_misread([*([before] if before else []), *first], storage_type) is None:
            rest = _readable_order(
                first[-1],
                [field for field in options if field not in first],
                [field for field in others if field not in first],
                storage_type,
                tried,
            )
            if rest is not None:
                return [*first, *rest]
    return None


def _first_misread(fields: Sequence[Field], storage_type: StorageType) -> str | None:
    for before, field in pairwise(fields):
        word = field.path_in(storage_type).upper()
        if word in _MISREAD_AFTER_ANY or word in _MISREAD_AFTER.get(before.type, ()):
            return field.name
    return None


def _field_arguments(field: Field, storage_type: StorageType) -> list[bytes]:
    path = field.path_in(storage_type)
    arguments = [encode(path)]
    if path != field.name:
        arguments += [b"AS", encode(field.name)]
    arguments.append(field.type.upper().encode())
    if isinstance(field, VectorField):
        arguments += _vector_arguments(field)
    elif isinstance(field, TextField):
        arguments += _text_arguments(field)
    elif isinstance(field, TagField):
        arguments += _tag_arguments(field)
    elif isinstance(field, GeoShapeField) and field.coord_system != "SPHERICAL":
        arguments.append(field.coord_system.encode())
    arguments += _flags((b"INDEXMISSING", field.index_missing))
    if isinstance(field, SortableField):
        # Behind SORTABLE and NOINDEX the parser takes every other word for the next field, and UNF belongs to
        # the SORTABLE just before it.
        arguments += _flags((b"SORTABLE", field.sortable), (b"UNF", field.unf), (b"NOINDEX", field.no_index))
    return arguments


def _text_arguments(field: TextField) -> list[bytes]:
    weight = [] if field.weight == 1 else [b"WEIGHT", _number(field.weight)]
    phonetic = [] if field.phonetic_matcher is None else [b"PHONETIC", field.phonetic_matcher.encode()]
    flags = _flags(
        (b"NOSTEM", field.no_stem),
        (b"WITHSUFFIXTRIE", field.withsuffixtrie),
        (b"INDEXEMPTY", field.index_empty),
    )
    return weight + phonetic + flags


def _tag_arguments(field: TagField) -> list[bytes]:
    # A JSON tag without a separator must stay so: SEPARATOR "" is refused and "," would split its values.
    separator = [] if field.separator is None else [b"SEPARATOR", encode(field.separator)]
    return separator + _flags(
        (b"CASESENSITIVE", field.case_sensitive),
        (b"WITHSUFFIXTRIE", field.withsuffixtrie),
        (b"INDEXEMPTY", field.index_empty),
    )


def _vector_arguments(field: VectorField) -> list[bytes]:
    values = {keyword: getattr(field, attribute) for attribute, keyword in VECTOR_PARAMETERS.items()}
    parameters: list[bytes] = []
    for keyword, value in values.items():
        if value is not None:
            parameters += [keyword, value.encode() if isinstance(value, str) else _number(value)]
    return [field.algorithm.encode(), _number(len(parameters)), *parameters]


def _number(value: float) -> bytes:
    # repr is the shortest text that reads back as the same double.
    return repr(value).encode()


def _flags(*flags: tuple[bytes, bool]) -> list[bytes]:
    return [keyword for keyword, is_set in flags if is_set]
