"""Finds the migration scripts in their folders; cheap enough for an upgrade that has nothing to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from redismigrate.errors import ScriptError
from redismigrate.foreign_modules import is_source_file
from redismigrate.history.script import Script, by_revision, read_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# Python's own modules (`__init__.py`), hidden files and Emacs locks, the copies of editors.
_NOT_SCRIPTS = ("__", ".", "#", "~")


def read_scripts(version_locations: Sequence[Path]) -> tuple[Script, ...]:
    """Read every script of the given folders, by folder and file name, without descending into them.

    Args:
        version_locations: The folders; one that is named twice is read once.

    Raises:
        ScriptError: A folder is missing or can't be read, or a script is wrong, or named as one and no file.
        DuplicateRevision: Two scripts carry the same revision id.
    """
    folders: dict[str, Path] = {}
    for folder in version_locations:
        folders.setdefault(os.path.realpath(folder), folder)
    scripts = [read_script(path) for folder in folders.values() for path in _script_files(folder)]
    return tuple(by_revision(scripts).values())


def heads_of(scripts: Iterable[Script]) -> tuple[str, ...]:
    """Return the sorted ids of the revisions that no other script revises.

    Equals `History(scripts).heads()`, without the cost of building the graph and of its checks. Nothing
    is left to upgrade when every head is applied; see `History.maximal` for why the heads that a
    server records can be fewer.
    """
    scripts = tuple(scripts)
    revised = {parent for script in scripts for parent in script.down_revisions}
    return tuple(sorted({script.revision for script in scripts} - revised))


def _script_files(folder: Path) -> list[Path]:
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix == ".py" and not path.name.startswith(_NOT_SCRIPTS) and is_source_file(path)
        )
    except FileNotFoundError as error:
        raise ScriptError(
            f"The folder of migration scripts {folder} does not exist.",
            "Create it with `redismigrate init`, or correct the configuration.",
        ) from error
    except OSError as error:
        raise ScriptError(
            f"The folder of migration scripts {folder} can't be read: {error.strerror}.",
            "Check that it is a folder, and its rights.",
        ) from error
