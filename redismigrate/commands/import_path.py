"""Lets the application's own modules be imported while code of its project runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def on_import_path(folder: Path) -> Iterator[None]:
    """Look for modules in a folder first, as Python does for a program that lies there."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
