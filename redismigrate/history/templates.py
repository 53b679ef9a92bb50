"""The templates that `redismigrate init` starts a folder of migrations from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from redismigrate.errors import ConfigurationError, UsageError
from redismigrate.history.script_writer import TEMPLATE_NAME
from redismigrate.history.suggestions import suggestion
from redismigrate.packaged import packaged_folder

VERSIONS_FOLDER = "versions"

_COPIED = (TEMPLATE_NAME, "README")


@dataclass(frozen=True)
class Template:
    """A template by its name.

    Attributes:
        name: What `redismigrate init -t` takes.
        description: One line.
    """

    name: str
    description: str


def known_templates() -> tuple[Template, ...]:
    """Return the templates, sorted by name.

    Raises:
        ConfigurationError: The installation lacks its templates.
    """
    return tuple(
        Template(folder.name, (folder / "description.txt").read_text(encoding="utf-8").strip())
        for folder in sorted(_templates_folder().iterdir())
        if (folder / TEMPLATE_NAME).is_file()
    )


def template_folder(name: str) -> Path:
    """Return the folder of a template.

    Raises:
        UsageError: There is no template of that name.
        ConfigurationError: The installation lacks its templates.
    """
    names = [template.name for template in known_templates()]
    if name not in names:
        raise UsageError(
            f"There is no template '{name}'.",
            suggestion(name, names, f"The templates are: {', '.join(names)}."),
        )
    return _templates_folder() / name


def copy_template(name: str, directory: Path) -> list[Path]:
    """Fill a new or empty folder from a template: an empty `versions/`, `script.py.j2` and `README`.

    `versions/` gets a `.gitkeep`, since git would not keep the folder and a fresh checkout would then
    lack what every command reads.

    Args:
        name: The template.
        directory: The folder; it is created if missing.

    Returns:
        The files written.

    Raises:
        UsageError: There is no template of that name.
        ConfigurationError: `directory` is a file or a folder with something in it, or can't be
            written to. In the first two cases nothing is written.
    """
    source = template_folder(name)
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise ConfigurationError(
                f"{directory} exists already and is not an empty folder.", "Choose another folder."
            )
        (directory / VERSIONS_FOLDER).mkdir(parents=True)
        written = [directory / VERSIONS_FOLDER / ".gitkeep"]
        written[0].touch()
        written += [Path(shutil.copyfile(source / file, directory / file)) for file in _COPIED]
    except OSError as error:
        raise ConfigurationError(
            f"{directory} can't be written: {error.strerror}.", "Check its rights, or choose another folder."
        ) from error
    return written


def _templates_folder() -> Path:
    return packaged_folder("_templates", "migrations_template", "templates")
