"""The schemas that an application declares: read from YAML files and Python modules that a setting names."""

from __future__ import annotations

import glob
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redismigrate.config import Settings
from redismigrate.errors import ConfigurationError, SchemaError
from redismigrate.schema import IndexSchema
from redismigrate.schema.redisvl import HasToDict, read_schema_yaml, schema_from_redisvl

_YAML = (".yaml", ".yml")
_FORMS = "an IndexSchema of ours or RedisVL's, a dict in RedisVL's form, or a list or dict of these"


def declared_schemas(settings: Settings) -> dict[str, IndexSchema]:
    """The wanted schemas by index, in the order of the setting `schemas`; empty where nothing is set.

    Modules are imported with the folder of the configuration file on `sys.path`.

    Args:
        settings: Of the project.

    Raises:
        ConfigurationError: An entry names no file, module or attribute, what it names is no schema, or an
            index is declared twice; says which entry.
        SchemaError: A schema is wrong; says in which file or attribute.
    """
    folder = Path.cwd() if settings.file is None else settings.file.resolve().parent
    origins: dict[str, str] = {}
    found: dict[str, IndexSchema] = {}
    for entry in settings.schemas:
        for origin, schema in (
            _from_files(entry, folder) if _names_files(entry) else _from_module(entry, folder)
        ):
            if schema.name in found:
                raise ConfigurationError(
                    f"Index {schema.name} is declared twice: by {origins[schema.name]} and by {origin}.",
                    "Take one of them out, or correct the setting schemas.",
                )
            origins[schema.name], found[schema.name] = origin, schema
    return found


def schemas_in(value: Any, origin: str) -> Iterator[tuple[str, IndexSchema]]:
    """The schemas that a value of a Python program stands for, each with where it is from.

    Args:
        value: A schema in any form, or a list, tuple or dict of schemas.
        origin: Where the value is from, for messages.

    Raises:
        ConfigurationError: It is something else.
        SchemaError: It is a schema that is wrong.
    """
    if isinstance(value, IndexSchema):
        yield origin, value
    elif isinstance(value, Mapping) and not {"index", "fields"} & value.keys():
        for name, item in value.items():
            yield from schemas_in(item, f"{origin}[{name!r}]")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from schemas_in(item, f"{origin}[{position}]")
    elif isinstance(value, Mapping) or (isinstance(value, HasToDict) and not isinstance(value, type)):
        try:
            yield origin, schema_from_redisvl(value)
        except SchemaError as error:
            raise SchemaError(f"{origin}: {error.message}", error.hint) from None
    else:
        raise ConfigurationError(f"{origin} is no schema but {type(value).__name__}.", f"Give {_FORMS}.")


def _names_files(entry: str) -> bool:
    return entry.lower().endswith(_YAML) or "/" in entry


def _from_files(entry: str, folder: Path) -> Iterator[tuple[str, IndexSchema]]:
    # Joined, an absolute entry stays as it is.
    files = sorted(glob.glob(str(Path(glob.escape(str(folder)), entry)), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
    if not files:
        raise ConfigurationError(
            f"schemas: no file matches {entry!r}.",
            f"Correct the setting schemas; its globs are relative to {folder}.",
        )
    for file in files:
        yield file, read_schema_yaml(file)


def _from_module(entry: str, folder: Path) -> Iterator[tuple[str, IndexSchema]]:
    name, colon, attributes = entry.partition(":")
    if not (name and colon and attributes):
        raise ConfigurationError(
            f"schemas: {entry!r} is neither a YAML file nor module:attribute.",
            'Write "schemas/*.yaml" or "myapp.search:SCHEMAS".',
        )
    with _on_path(folder):
        try:
            value: Any = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ConfigurationError(
                f"schemas: {entry!r} can't be imported ({type(error).__name__}: {error}).",
                f"Correct the setting schemas or the module; modules are looked for in {folder} first.",
            ) from error
    for attribute in attributes.split("."):
        if not hasattr(value, attribute):
            raise ConfigurationError(
                f"schemas: {entry!r} can't be read, there is no {attribute!r}.",
                "Correct the setting schemas.",
            )
        value = getattr(value, attribute)
    yield from schemas_in(value, entry)


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
