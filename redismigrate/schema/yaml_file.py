"""Reads a YAML file that a user wrote; its errors are those of schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redismigrate.errors import SchemaError
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
