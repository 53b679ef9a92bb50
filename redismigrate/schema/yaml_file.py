"""Reads a YAML file that a user wrote; its errors are those of schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redismigrate.errors import ConfigurationError, SchemaError
from redismigrate.foreign_documents import UnreadableDocument, parse_yaml, read_text


def read_yaml(path: str | Path) -> Any:
    """The one document of a file.

    Args:
        path: The file.

    Raises:
        SchemaError: The file can't be read, is no YAML, says something twice, or is endless; says which file
            and where in it.
    """
    try:
        return parse_yaml(read_text(path))
    except UnreadableDocument as error:
        raise SchemaError(f"{path}: {error.problem}.", error.hint) from None


def yaml_text(content: Any) -> str:
    """Plain data as YAML that reads as the same: letters stay letters where that can be."""
    import yaml

    for is_readable in (True, False):
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=is_readable)
        try:
            if (
                parse_yaml(text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"))
                == content
            ):
                break
        except UnreadableDocument:
            continue
    return text


def write_yaml(content: Any, path: Path) -> None:
    """Write plain data into a file.

    Raises:
        ConfigurationError: It can't be written.
    """
    try:
        path.write_text(yaml_text(content), encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigurationError(f"Can't write {path}: {error.strerror}.", "Correct the path.") from error
