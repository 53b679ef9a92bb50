"""Versioned migrations for Redis Search indexes.

Migration scripts import `Operations` from here; everything else of the public Python API is reached by its
module: `redismigrate.commands` (one function per verb), `redismigrate.aio` (the same as coroutines) and
`redismigrate.schema` (what an index is).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redismigrate.operations.recorder import Operations
    from redismigrate.schema import IndexSchema

__version__ = "0.1.0"
__all__ = ["IndexSchema", "Operations", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `redismigrate --help` and a no-op upgrade must not pay for the models.
    if name == "Operations":
        from redismigrate.operations.recorder import Operations

        return Operations
    if name == "IndexSchema":
        from redismigrate.schema import IndexSchema

        return IndexSchema
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
