"""Documents with values at two paths, and all that a mirror of them keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mirrored_documents import schema_of, synchronise

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.twins import Twin
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.beside.twin_conversions import TwinConversion
from redismigrate.execution.documents.beside.twin_values import TwinValues
from redismigrate.execution.documents.traffic.mirroring import Synchronised
from redismigrate.redis_server.connection import Server

TWIN_MARKS = "{redismigrate:shop}:mark:"


class Mirrored:
    """Documents `p:*` whose twins are looked at when a test says so.

    Args:
        server: The connection.
        twins: The twins.
        kind: Of the documents.
        way: Tells marks apart.
        keep: Gets what was backed up, too.

    Attributes:
        values: The mirror.
        kept: What was backed up.
    """

    def __init__(
        self,
        server: Server,
        *twins: Twin,
        kind: str = "hash",
        way: str = "there",
        keep: Callable[[Sequence[Replaced]], None] = lambda _: None,
    ) -> None:
        self.server = server
        self.kept: list[Replaced] = []

        def keep_both(lost: Sequence[Replaced]) -> None:
            self.kept += lost
            keep(lost)

        self.values = TwinValues(
            schema_of(storage_type=kind),
            tuple(TwinConversion.of(twin, {}, is_json=kind == "json") for twin in twins),
            f"{TWIN_MARKS}{way}:".encode(),
            keep=keep_both,
            removals=Removals(are_values=True),
        )

    def look(self, aim: Any = "beside", *, is_first: bool = False) -> Synchronised:
        """One pass over all documents."""
        return synchronise(self.server, replace(self.values, aim=aim, is_first=is_first))

    def losses(self) -> list[tuple[bytes, Any]]:
        """What was backed up, in order: the key, and the values by name."""
        return [(each.key, each.original.document) for each in self.kept]
