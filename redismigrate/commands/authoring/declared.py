"""The schemas that an application declares: in YAML files and modules that a setting names, or in env.py."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from redismigrate.commands.environment_module import ENV_FILE
from redismigrate.commands.project import Project
from redismigrate.errors import ConfigurationError, SchemaError
from redismigrate.foreign_documents import problem_with_path
from redismigrate.foreign_modules import (
    ForeignCode,
    ForeignFailure,
    MissingAttribute,
    attribute_of,
    shown_value,
)
from redismigrate.schema import IndexSchema
from redismigrate.schema.redisvl import HasToDict, name_unknown, read_schema_yaml, schema_from_redisvl

_YAML = (".yaml", ".yml")
# More than that is a mapping without an end.
_MOST_SCHEMAS = 5_000
_FORMS = "an IndexSchema of ours or RedisVL's, a dict in RedisVL's form, or a list or dict of these"


def declares_schemas(project: Project) -> bool:
    """Whether the project says where its schemas are; they may be none."""
    return bool(project.settings.schemas) or project.env_module.supplies("schemas")


def declared_schemas(project: Project) -> dict[str, IndexSchema]:
    """The wanted schemas by index: those of the setting `schemas` in its order, then those of `env.py`.

    Modules are imported with the folder of the configuration file on `sys.path`. What `include` of
    `env.py` leaves out is left out.

    Args:
        project: The project.

    Raises:
        ConfigurationError: An entry names no file, module or attribute, what it names is no schema or holds
            none, nothing is declared at all, or an index is declared twice; says which entry.
        SchemaError: A schema is wrong; says in which file or attribute.
    """
    origins: dict[str, str] = {}
    found: dict[str, IndexSchema] = {}
    for origin, schema in _all_schemas(project):
        if schema.name in found:
            raise ConfigurationError(
                f"Index {schema.name} is declared twice: by {origins[schema.name]} and by {origin}.",
                "Take one of them out, or correct the setting schemas.",
            )
        origins[schema.name], found[schema.name] = origin, schema
    if not found and declares_schemas(project):
        # What is not there yet, or was forgotten, would drop every index.
        raise _nothing_declared(f"{ENV_FILE}: schemas() returns no schema")
    return {name: schema for name, schema in found.items() if project.env_module.includes("index", name)}


def schemas_in(value: Any, origin: str) -> tuple[tuple[str, IndexSchema], ...]:
    """The schemas that a value of a Python program stands for, each with where it is from.

    Args:
        value: A schema in any form, or a list, tuple or dict of schemas.
        origin: Where the value is from, for messages.

    Raises:
        ConfigurationError: It is something else, or reading it fails.
        SchemaError: It is a schema that is wrong.
    """

    def as_error(failure: ForeignFailure) -> ConfigurationError:
        return ConfigurationError(f"{origin} can't be read ({failure.reason}).", f"Give {_FORMS}.")

    # Its objects are of any class, and what they are made of as well.
    with ForeignCode(as_error, passes=(ConfigurationError, SchemaError)):
        found = tuple(_up_to_a_repetition(islice(_schemas_in(value, origin), _MOST_SCHEMAS + 1)))
    if len(found) > _MOST_SCHEMAS:
        raise ConfigurationError(
            f"{origin} holds more than {_MOST_SCHEMAS:,} schemas, or never ends.", f"Give {_FORMS}."
        )
    return found


def _up_to_a_repetition(found: Iterable[tuple[str, IndexSchema]]) -> Iterator[tuple[str, IndexSchema]]:
    """Schemas up to the first whose name was there already, which is a mistake; a mapping may have no end."""
    names: set[str] = set()
    for origin, schema in found:
        yield origin, schema
        if schema.name in names:
            return
        names.add(schema.name)


def _schemas_in(value: Any, origin: str) -> Iterator[tuple[str, IndexSchema]]:
    if isinstance(value, IndexSchema):
        yield origin, value
    elif isinstance(value, Mapping) and not {"index", "fields"} & value.keys():
        for name, item in value.items():
            yield from _schemas_in(item, f"{origin}[{shown_value(name)}]")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _schemas_in(item, f"{origin}[{position}]")
    elif isinstance(value, Mapping) or (isinstance(value, HasToDict) and not isinstance(value, type)):
        try:
            yield origin, schema_from_redisvl(value, name_unknown)
        except SchemaError as error:
            raise SchemaError(f"{origin}: {error.message}", error.hint) from None
    else:
        raise ConfigurationError(f"{origin} is no schema but {type(value).__name__}.", f"Give {_FORMS}.")


def _all_schemas(project: Project) -> Iterator[tuple[str, IndexSchema]]:
    file = project.settings.file
    folder = Path.cwd() if file is None else Path(os.path.realpath(file)).parent
    seen: set[str] = set()
    for entry in project.settings.schemas:
        if not _names_files(entry):
            yield from _from_module(entry, folder)
            continue
        # Globs may overlap.
        files = [file for file in _files(entry, folder) if os.path.realpath(file) not in seen]
        seen.update(map(os.path.realpath, files))
        yield from ((name, read_schema_yaml(name)) for name in files)
    if project.env_module.supplies("schemas"):
        yield from schemas_in(project.env_module.declared_schemas(project.x), f"{ENV_FILE}: schemas()")


def _names_files(entry: str) -> bool:
    return entry.lower().endswith(_YAML) or "/" in entry


def _files(entry: str, folder: Path) -> list[str]:
    problem = problem_with_path(entry)
    if problem is not None:
        raise ConfigurationError(f"schemas: {entry!r} {problem}.", "Correct the setting schemas.")
    # Joined, an absolute entry stays as it is.
    files = sorted(glob.glob(str(Path(glob.escape(str(folder)), entry)), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
    if not files:
        raise ConfigurationError(
            f"schemas: no file matches {entry!r}.",
            f"Correct the setting schemas; its globs are relative to {folder}.",
        )
    return files


def _from_module(entry: str, folder: Path) -> Iterator[tuple[str, IndexSchema]]:
    name, colon, attributes = entry.partition(":")
    if not (name and colon and attributes):
        raise ConfigurationError(
            f"schemas: {entry!r} is neither a YAML file nor module:attribute.",
            'Write "schemas/*.yaml" or "myapp.search:SCHEMAS".',
        )

    def as_error(failure: ForeignFailure) -> ConfigurationError:
        if isinstance(failure.error, MissingAttribute):
            return ConfigurationError(
                f"schemas: {entry!r} can't be read, there is no {failure.error.args[0]!r}.",
                "Correct the setting schemas.",
            )
        return ConfigurationError(
            f"schemas: {entry!r} can't be imported ({failure.reason}).",
            f"Correct the setting schemas or the module; modules are looked for in {folder} first.",
        )

    with ForeignCode(as_error):
        value = attribute_of(entry, folder)
    schemas = schemas_in(value, entry)
    if not schemas:
        raise _nothing_declared(f"schemas: {entry!r} holds no schema")
    yield from schemas


def _nothing_declared(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: the indexes that were declared there would be dropped.",
        f"Give {_FORMS}. Where no index is wanted any more, take this declaration out of the configuration "
        "and write `op.drop_index` into a revision.",
    )
