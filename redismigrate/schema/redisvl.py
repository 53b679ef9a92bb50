"""RedisVL's schema layout (its YAML files and dicts, 0.28), read and written.

A file of RedisVL reads as the index that RedisVL itself would make. What RedisVL can't say goes into further
keys of the same layout, which RedisVL ignores (under `index` and `attrs`) or refuses (the type `geoshape`):

- under `index`: `filter`, `language`, `language_field`, `score`, `score_field`, `payload_field`,
  `max_text_fields`, `no_offsets`, `no_highlight`, `no_fields`, `no_freqs`, `index_all`, `temporary_seconds`,
  `skip_initial_scan`;
- under `attrs`: `unf` of fields other than text and numeric, `coord_system` of a geoshape;
- `path` of a field of a hash: the field of the hash, where it is not called as the attribute. RedisVL ignores
  it, and a JSON path on a hash is ignored here, too;
- `separator: ""` of a tag in JSON: no separator. RedisVL writes it when it reads such an index, though it
  can't make one.

RedisVL ignores keys that it does not know. Who reads a schema says what to do about them: to refuse them,
which finds misspelt ones, or to name and ignore them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import shown_value
from redismigrate.foreign_text import readable
from redismigrate.schema.compare import VECTOR_DEFAULTS
from redismigrate.schema.fields import GeoField, GeoShapeField, NumericField, TagField, TextField
from redismigrate.schema.index_schema import IndexSchema
from redismigrate.schema.strict import did_you_mean
from redismigrate.schema.vector_field import SVS_DEFAULTS, VectorField
from redismigrate.schema.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from redismigrate.schema.fields import StorageType
    from redismigrate.schema.index_schema import Field

LAYOUT_VERSION = "0.1.0"
DEFAULT_PREFIX = "rvl"

_FIELD_TYPES: Mapping[str, type[Field]] = {
    "text": TextField,
    "tag": TagField,
    "numeric": NumericField,
    "geo": GeoField,
    "geoshape": GeoShapeField,
    "vector": VectorField,
}
# A mapping of others may have no end.
_MOST_FIELDS = 10_000
_FIELD_KEYS = ("name", "type", "path", "attrs")

_log = logging.getLogger(__name__)
if TYPE_CHECKING:
    # Given a mapping, the keys that are known, and what to call it: does something about the others.
    Unknown = Callable[[Mapping[str, Any], Iterable[str], str], None]


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """Raise SchemaError for a key that is not known."""
    for key in given:
        if key not in known:
            raise SchemaError(
                f"{what} has an unknown key {shown_value(key)}{did_you_mean(str(key), known)}.",
                f"Known keys: {', '.join(sorted(known))}.",
            )


def name_unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """Say which keys are not known, and so ignored."""
    unknown = [f"{shown_value(key)}{did_you_mean(str(key), known)}" for key in given if key not in known]
    if unknown:
        _log.warning("%s: ignored as RedisVL ignores it: %s", what, ", ".join(unknown))


@runtime_checkable
class HasToDict(Protocol):
    """A schema object of RedisVL."""

    def to_dict(self) -> dict[str, Any]:
        """The schema in RedisVL's layout."""


def schema_from_redisvl(
    schema: Mapping[str, Any] | HasToDict, unknown: Unknown = refuse_unknown
) -> IndexSchema:
    """The index that RedisVL would make of a schema.

    Args:
        schema: A mapping in RedisVL's layout, or an `IndexSchema` of RedisVL.
        unknown: What to do about keys that RedisVL ignores.

    Raises:
        SchemaError: Keys are missing or unknown, or values are wrong; says where.
    """
    what = "the schema"
    layout = as_mapping(schema.to_dict() if isinstance(schema, HasToDict) else schema, what)
    required = ("index", "fields")
    # What is missing may be there under a misspelt name.
    (unknown if all(key in layout for key in required) else refuse_unknown)(
        layout, ("version", *required), what
    )
    _require(layout, required, what)
    version = layout.get("version", LAYOUT_VERSION)
    if version != LAYOUT_VERSION:
        raise SchemaError(
            f"version is {shown_value(version)}, known is {LAYOUT_VERSION!r}.",
            f"Write version: '{LAYOUT_VERSION}'.",
        )
    with located("index"):
        schema_without_fields = IndexSchema(**_options(layout["index"], unknown))
    fields = _fields(layout["fields"], schema_without_fields.storage_type, unknown)
    return schema_without_fields.with_fields(fields)


def field_from_redisvl(mapping: Mapping[str, Any], unknown: Unknown = refuse_unknown) -> Field:
    """A field in RedisVL's layout: `{"name": ..., "type": ..., "path": ..., "attrs": {...}}`.

    RedisVL always sends a separator: a tag without one gets ",", in JSON too.

    Args:
        mapping: The field.
        unknown: What to do about keys that RedisVL ignores.

    Raises:
        SchemaError: Keys are missing or unknown, or values are wrong.
    """
    given = as_mapping(mapping, "a field")
    _require(given, ("name", "type"), "a field")
    type_, name = given["type"], given["name"]
    if not isinstance(type_, str) or type_ not in _FIELD_TYPES:
        raise SchemaError(
            f"field {shown_value(name)}: there is no type {shown_value(type_)}"
            f"{did_you_mean(str(type_), _FIELD_TYPES)}.",
            f"Types: {', '.join(_FIELD_TYPES)}.",
        )
    what = f"{type_} field {shown_value(name)}"
    cls = _FIELD_TYPES[type_]
    known_attrs = sorted(cls.model_fields.keys() - _FIELD_KEYS)
    misplaced = [key for key in given if key in known_attrs]
    if misplaced and unknown is refuse_unknown:
        raise SchemaError(
            f"{what}: {misplaced[0]!r} is not under attrs.", f"Write attrs: {{{misplaced[0]}: ...}}."
        )
    unknown(given, _FIELD_KEYS, what)
    attrs = as_mapping(given.get("attrs") or {}, f"attrs of {what}")
    unknown(attrs, known_attrs, f"attrs of {what}")
    # RedisVL writes None where it has no value.
    values = {key: value for key, value in attrs.items() if value is not None and key in known_attrs}
    if cls is TagField:
        values["separator"] = values.get("separator", ",") or None
    if not values.get("sortable"):
        values.pop("unf", None)
    if str(values.get("algorithm")).upper() == "SVS-VAMANA":
        values = {**SVS_DEFAULTS, **values}
    return cls(name=name, path=given.get("path") or None, **values)


def schema_to_redisvl(schema: IndexSchema) -> dict[str, Any]:
    """The schema in RedisVL's layout; defaults that RedisVL shares are left out.

    Raises:
        SchemaError: A field of a hash is called like a JSON path, which the layout can't say.
    """
    index: dict[str, Any] = {
        "name": schema.name,
        "prefix": _prefix_to_redisvl(schema.prefixes),
        "key_separator": schema.key_separator,
        "storage_type": schema.storage_type,
    }
    for option, info in type(schema).model_fields.items():
        value = getattr(schema, option)
        if option not in {*index, "prefixes", "fields"} and value != info.default:
            index[option] = list(value) if isinstance(value, tuple) else value
    fields = [_field_to_redisvl(field, schema.storage_type) for field in schema.fields]
    return {"version": LAYOUT_VERSION, "index": index, "fields": fields}


def read_schema_yaml(path: str | Path) -> IndexSchema:
    """The schema in a YAML file of RedisVL's layout.

    Raises:
        SchemaError: The file can't be read, is no YAML, or holds no schema; says where in which file.
    """
    content = read_yaml(path)

    def unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
        name_unknown(given, known, f"{path}: {what}")

    with located(str(path)):
        return schema_from_redisvl(as_mapping(content, "the file"), unknown)


def _options(index: Any, unknown: Unknown) -> dict[str, Any]:
    given = as_mapping(index, "index")
    known = IndexSchema.model_fields.keys() - {"prefixes", "fields"}
    (unknown if "name" in given else refuse_unknown)(given, ("prefix", *known), "index")
    _require(given, ("name",), "index")
    options = {key: value for key, value in given.items() if value is not None and key in known}
    prefix = given.get("prefix", DEFAULT_PREFIX)
    if not isinstance(prefix, str | list | tuple):
        raise SchemaError(
            f"prefix should be text or a list, got {shown_value(prefix)}.", "Write '' for every key."
        )
    options["prefixes"] = (prefix,) if isinstance(prefix, str) else tuple(prefix)
    return options


def _fields(given: Any, storage_type: StorageType, unknown: Unknown) -> tuple[Field, ...]:
    if isinstance(given, Mapping):
        entries = [
            (f"fields.{readable(str(name))}", field)
            for name, field in islice(given.items(), _MOST_FIELDS + 1)
        ]
    elif isinstance(given, list | tuple):
        entries = [(f"fields[{position}]", field) for position, field in enumerate(given)]
    else:
        raise SchemaError("fields is no list.", "Write one entry per field: name, type, attrs.")
    if len(entries) > _MOST_FIELDS:
        raise SchemaError(f"fields has more than {_MOST_FIELDS:,} entries.", "Redis Search takes 1,024.")
    fields = []
    for where, mapping in entries:
        with located(where):
            field = field_from_redisvl(mapping, unknown)
        if storage_type == "hash" and _is_json_path(field.path):
            _log.warning("%s: path %s is ignored, a hash has no JSON paths", where, field.path)
            field = field.altered(path=None)
        fields.append(field)
    return tuple(fields)


def _field_to_redisvl(field: Field, storage_type: StorageType) -> dict[str, Any]:
    layout: dict[str, Any] = {"name": field.name, "type": field.type}
    if field.path is not None:
        if storage_type == "hash" and _is_json_path(field.path):
            raise SchemaError(
                f"RedisVL's layout can't say that field {field.name!r} is {field.path!r} of a hash.",
                "Call the field of the hash otherwise.",
            )
        layout["path"] = field.path
    attrs = {
        attribute: getattr(field, attribute)
        for attribute, info in type(field).model_fields.items()
        if attribute not in _FIELD_KEYS and getattr(field, attribute) != info.default
    }
    if isinstance(field, TagField) and field.separator is None and storage_type == "json":
        attrs["separator"] = ""
    if isinstance(field, VectorField):
        for attribute in ("algorithm", "datatype", "distance_metric"):
            attrs[attribute] = getattr(field, attribute).lower()
        if field.algorithm == "SVS-VAMANA":
            attrs = {**VECTOR_DEFAULTS["SVS-VAMANA"], **attrs}
    if attrs:
        layout["attrs"] = attrs
    return layout


def _prefix_to_redisvl(prefixes: tuple[str, ...]) -> str | list[str]:
    # RedisVL takes the first prefix for new keys, so an empty list breaks it; "" covers every key, too.
    if len(prefixes) > 1:
        return list(prefixes)
    return prefixes[0] if prefixes else ""


def _is_json_path(path: str | None) -> bool:
    return path is not None and path.startswith(("$.", "$["))


def as_mapping(given: Any, what: str) -> Mapping[str, Any]:
    """What was given; SchemaError when it is no mapping."""
    if not isinstance(given, Mapping):
        raise SchemaError(f"{what} is no mapping: {shown_value(given)}.", "Write it as key: value.")
    return given


def _require(given: Mapping[str, Any], keys: Iterable[str], what: str) -> None:
    for key in keys:
        if key not in given:
            for other in given:
                meant = did_you_mean(str(other), (key,))
                if meant:
                    raise SchemaError(
                        f"{what} has an unknown key {shown_value(other)}{meant}.", f"Write {key}."
                    )
            raise SchemaError(f"{what} has no {key!r}.", f"Add {key}.")


@contextmanager
def located(where: str) -> Iterator[None]:
    """Say of a SchemaError where it was."""
    try:
        yield
    except SchemaError as error:
        raise SchemaError(f"{where}: {error.message}", error.hint) from None
