"""What changing its storage makes of a schema, and where each value stands in a hash and in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from redismigrate.documents.storage_change import ELEMENTS, StorageChange, StoredValue, ValueForm
from redismigrate.documents.storage_conversion import FROM_HASH, FROM_JSON
from redismigrate.errors import SchemaError
from redismigrate.schema import Field, IndexSchema, TagField, VectorField
from redismigrate.schema.fields import StorageType
from redismigrate.schema.json_paths import JsonPath

# Of a hash, where a schema says nothing.
USUAL_SEPARATOR = ","
Separators = Mapping[str, str | None]


def with_storage(
    schema: IndexSchema, to: StorageType, paths: Mapping[str, str], separators: Separators
) -> IndexSchema:
    """The schema on documents of the other type; its prefixes are left.

    Args:
        schema: The index.
        to: The other type.
        paths: Attribute, or where it stands now -> where it shall stand. What is not said keeps its name.
        separators: Attribute of a tag field -> the byte between its tags; None for none, in JSON alone.

    Raises:
        SchemaError: It is of that type, something can't be said there, or a name is none.
    """
    if schema.storage_type == to:
        raise SchemaError(f"Index {schema.name!r} is on {to} already.", "Take change_storage out.")
    _refuse_unknown(schema, to, paths, separators)
    fields = tuple(_moved(field, schema, to, paths, separators) for field in schema.fields)
    options = {
        option: _place_of_option(getattr(schema, option), option, schema, to, paths)
        for option in ("language_field", "score_field")
        if getattr(schema, option) is not None
    }
    if schema.payload_field is not None:
        raise SchemaError(
            f"Index {schema.name!r} has a payload field, which JSON documents have none of.",
            "Take it out before, in the same block: index.set_options(payload_field=None).",
        )
    after = schema.with_fields(fields).with_options(storage_type=to, **options)
    _require_apart(storage_change(schema, after, paths).values, schema)
    return after


def storage_change(before: IndexSchema, after: IndexSchema, paths: Mapping[str, str]) -> StorageChange:
    """What becomes of the documents of an index.

    Args:
        before: The index.
        after: What `with_storage` has made of it.
        paths: As given to that.

    Raises:
        SchemaError: One value would have two forms.
    """
    values: dict[tuple[str, str], StoredValue] = {}
    for value in _values(before, after, paths):
        known = values.get((value.field, value.path))
        # Where a text and a tag read one value, it is what a text can be.
        if known is not None and known.form == value.form == "string" and known != value:
            values[value.field, value.path] = value if known.is_tag else known
            continue
        if known is not None and known != value:
            raise SchemaError(
                f"Index {before.name!r} reads {value} in two ways, which JSON has two forms for.",
                "Drop one of the fields in the same block.",
            )
        values[value.field, value.path] = value
    return StorageChange(after.storage_type, tuple(values.values()))


def places_of(schema: IndexSchema) -> frozenset[str]:
    """What `paths=` of a change of storage may name of an index: its attributes, and where it reads."""
    read = {place for field in schema.fields for place in (field.name, field.path_in(schema.storage_type))}
    return frozenset(read | {place for place in (schema.language_field, schema.score_field) if place})


def _refuse_unknown(
    schema: IndexSchema, to: StorageType, paths: Mapping[str, str], separators: Separators
) -> None:
    tags = {field.name for field in schema.fields if isinstance(field, TagField)}
    for name in separators:
        if name not in tags:
            raise SchemaError(
                f"Index {schema.name!r} has no tag field {name!r}.", "Name tag fields in separators=."
            )
    known = {field.name for field in schema.fields} | {_place(field, schema) for field in schema.fields}
    for name in paths:
        if name not in known and to == "hash" and not JsonPath.parse(name).is_plain:
            raise SchemaError(
                f"Index {schema.name!r} has no field {name!r}.",
                "In paths=, name attributes, or members that the index does not read by paths as $.a.b.",
            )


def _moved(
    field: Field, schema: IndexSchema, to: StorageType, paths: Mapping[str, str], separators: Separators
) -> Field:
    place = _place(field, schema)
    wanted = paths.get(field.name, paths.get(place))
    path = _json_path(field, place, wanted) if to == "json" else _hash_field(field, schema, wanted)
    moved = field.altered(path=None)
    if moved.path_in(to) != path:
        moved = field.altered(path=path)
    if isinstance(moved, TagField):
        separator = separators.get(field.name, moved.separator or USUAL_SEPARATOR)
        if separator is None and to == "hash":
            raise SchemaError(f"Tags of a hash have a separator, and {field.name!r} has none.", "Name one.")
        moved = moved.altered(separator=separator)
    return moved


def _place(field: Field, schema: IndexSchema) -> str:
    return field.path_in(schema.storage_type)


def _json_path(field: Field, place: str, wanted: str | None) -> str:
    path = str(JsonPath((place,))) if wanted is None else wanted
    plain = path.removesuffix(ELEMENTS) if isinstance(field, TagField) else path
    if not JsonPath.parse(plain).is_plain:
        may = f", or with {ELEMENTS} behind it for an array of tags" if isinstance(field, TagField) else ""
        raise SchemaError(
            f"Field {field.name!r} can't stand at {path!r} of JSON documents.",
            f"Give a path along plain names in paths=, as $.a.b{may}.",
        )
    return path


def _hash_field(field: Field, schema: IndexSchema, wanted: str | None) -> str:
    place = _place(field, schema)
    path = JsonPath.parse(place.removesuffix(ELEMENTS) if isinstance(field, TagField) else place)
    if not path.is_plain:
        raise SchemaError(
            f"Field {field.name!r} reads {place}, which leads to no one value that a hash could have.",
            "Drop the field in the same block, or give it a path along plain names before.",
        )
    if wanted is not None:
        return wanted
    # An array is one value of a hash, which is called as it was before it became one. Several attributes of
    # one array stay attributes of one value.
    is_shared = sum(_place(other, schema) == place for other in schema.fields) > 1
    is_own_array = isinstance(field, TagField) and place.endswith(ELEMENTS) and not is_shared
    return path.members[0] if len(path.members) == 1 and not is_own_array else field.name


def _place_of_option(
    place: str, option: str, schema: IndexSchema, to: StorageType, paths: Mapping[str, str]
) -> str:
    """Where an option reads that names no attribute."""
    field = next((field for field in schema.fields if _place(field, schema) == place), None)
    wanted = paths.get(place) or (paths.get(field.name) if field is not None else None)
    if to == "json":
        path = str(JsonPath((place,))) if wanted is None else wanted
        if not JsonPath.parse(path).is_plain:
            raise SchemaError(f"Option {option} can't read {path!r}.", "Give a path as $.a.b in paths=.")
        return path
    members = JsonPath.parse(place)
    if not members.is_plain:
        raise SchemaError(f"Option {option} reads {place}, no member along plain names.", "Set another one.")
    return wanted or members.members[-1]


def _values(before: IndexSchema, after: IndexSchema, paths: Mapping[str, str]) -> Iterator[StoredValue]:
    to, known = after.storage_type, set()
    for old in before.fields:
        new = after.field(old.name)
        places = _place(old, before), _place(new, after)
        known |= {old.name, places[0]}
        yield _value_of(old, new, to, *(places if to == "json" else reversed(places)))
    plain: list[tuple[str, str, ValueForm]] = []
    if before.language_field is not None:
        plain.append((before.language_field, str(after.language_field), "string"))
    if before.score_field is not None:
        plain.append((before.score_field, str(after.score_field), "number"))
    plain += [(name, place, "string") for name, place in paths.items()]
    for name, place, form in plain:
        if name not in known:
            known.add(name)
            field, path = (name, place) if to == "json" else (place, name)
            yield StoredValue(field, path, form)


def _value_of(old: Field, new: Field, to: StorageType, field: str, path: str) -> StoredValue:
    if isinstance(new, VectorField):
        return StoredValue(field, path, "vector", datatype=new.datatype, dims=new.dims)
    if isinstance(new, TagField) and isinstance(old, TagField):
        in_hash, in_json = (old, new) if to == "json" else (new, old)
        is_array = path.endswith(ELEMENTS)
        return StoredValue(
            field,
            path.removesuffix(ELEMENTS),
            "tags" if is_array else "string",
            separator=in_hash.separator or USUAL_SEPARATOR,
            is_tag=True,
            is_one_tag=in_json.separator is None and not is_array,
        )
    return StoredValue(field, path, "number" if new.type == "numeric" else "string")


def _require_apart(values: tuple[StoredValue, ...], schema: IndexSchema) -> None:
    """Refuse two values that would be in one place, or one within the other."""
    for one, other in combinations(values, 2):
        paths = [JsonPath.parse(each.path) for each in (one, other)]
        is_one_field = one.field == other.field
        is_one_path = paths[0].is_within(paths[1]) or paths[1].is_within(paths[0])
        if is_one_field or is_one_path:
            raise SchemaError(
                f"Index {schema.name!r} would have {one} and {other}, which can't both be.",
                "Give them places of their own in paths=, or drop one of the fields.",
            )
    for value in values:
        if value.field == FROM_JSON or value.members[0] == FROM_HASH:
            raise SchemaError(
                f"Index {schema.name!r} can't read {value}: redismigrate remembers there what the other "
                "form was.",
                "Give it another name.",
            )
