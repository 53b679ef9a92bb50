"""Finds folders that are shipped with the code: inside the package of a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from redismigrate.errors import ConfigurationError

_PACKAGE = Path(__file__).parent


def packaged_folder(in_wheel: str, in_checkout: str, what: str) -> Path:
    """The folder, which is read only: copy from it, never write to it.

    Args:
        in_wheel: Its name inside the installed package.
        in_checkout: Its name beside the package.
        what: What it holds, for the message.

    Raises:
        ConfigurationError: The installation lacks it.
    """
    for folder in (_PACKAGE / in_wheel, _PACKAGE.parent / in_checkout):
        if folder.is_dir():
            return folder
    raise ConfigurationError(f"This installation lacks its {what}.", "Install redismigrate again.")
