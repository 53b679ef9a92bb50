"""Reads a YAML file that a user wrote: with the safe loader, and with errors that say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redismigrate.errors import SchemaError


def read_yaml(path: str | Path) -> Any:
    """The one document of a file.

    Raises:
        SchemaError: The file can't be read or is no YAML; says which file and where in it.
    """
    import yaml  # only those who have YAML files need it

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"{path}: can't be read: {error.strerror}.", "Correct the path.") from None
    except UnicodeDecodeError as error:
        raise SchemaError(f"{path}: is no UTF-8 at byte {error.start}.", "Save it as UTF-8.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise SchemaError(f"{path}: is no YAML{where}: {what}.", "Correct it there.") from None
