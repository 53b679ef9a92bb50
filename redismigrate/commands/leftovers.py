"""Indexes that runs have left whose record is lost: who can be told by their names, and what removes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from redismigrate.execution.indexes.live import alias_target, look_at
from redismigrate.foreign_text import shell_command
from redismigrate.planning.inventory import Inventory
from redismigrate.redis_server.connection import Server
from redismigrate.schema.strict import readable
from redismigrate.state.store import State

# What `physical_name` makes of a served name, and what undoing adds.
_OF_A_RUN = re.compile(r"__(?P<revision>[0-9A-Za-z_]+?)_\d+(?:_\d+)?(?:_back)?")


@dataclass(frozen=True)
class Leftover:
    """An index that a run has built and that no record knows.

    Attributes:
        index: Its name.
        served: The name that it was to be queried by.
        message: What it is, without its name.
        remedy: The command that removes it, or what else is to be done.
    """

    index: str
    served: str
    message: str
    remedy: str

    @property
    def text(self) -> str:
        """What it is and what removes it, without its name."""
        return f"{self.message}; {self.remedy}"


def leftovers(server: Server, state: State, inventory: Inventory) -> tuple[Leftover, ...]:
    """The indexes of lost runs; none while a run is under way or waits, which knows its own.

    Args:
        server: The connection.
        state: The record.
        inventory: What there is on the server.
    """
    if state.run is not None:
        return ()
    known = {
        name
        for definition in state.catalog.values()
        for name in (definition.physical, *definition.all_aliases)
    }
    found = []
    for index in sorted(inventory.names - known):
        served = served_by(index, inventory.owners)
        if served is not None and inventory.owners[served] == inventory.project:
            found.append(Leftover(index, served, *_told(server, index, served)))
    return tuple(found)


def served_by(index: str, owned: Iterable[str]) -> str | None:
    """The served name that an index was built for by a run; None where its name is no such one.

    Args:
        index: Its name.
        owned: Served names, those of all projects.
    """
    fitting = [name for name in owned if index.startswith(name) and _OF_A_RUN.fullmatch(index, len(name))]
    return max(fitting, key=len, default=None)


def _told(server: Server, index: str, served: str) -> tuple[str, str]:
    """What an index is, and what is to be done about it."""
    if alias_target(server, served) == index:
        return (
            f"it serves {readable(served)}, and the record of the run that put it there is lost",
            "restore the state's keys from a dump of this Redis",
        )
    live = look_at(server, index)
    fields = [] if live is None else [f.path for f in live.schema.fields if f.path and "__" in f.path]
    message = "it is left of a run whose record is lost"
    remedy = f"`{shell_command('redis-cli', 'FT.DROPINDEX', index)}` removes it, its documents stay"
    if fields:
        message += f", and its documents may have {', '.join(map(readable, fields))}"
        remedy += ", and the next run of its revision removes those fields"
    return message, remedy
