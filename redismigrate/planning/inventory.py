"""What planning is told about the server: values only, read by others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from redismigrate.planning.plan import Step
from redismigrate.redis_server.capabilities import Capabilities
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema.definition import Catalog


@dataclass(frozen=True)
class Inventory:
    """The server as a plan finds it.

    Attributes:
        project: Who plans.
        capabilities: What it can do.
        live: Physical name -> index, for every index the plan is about.
        names: The names of all indexes of the server, aliases not among them.
        aliases: Alias -> physical name, for the names the plan is about.
        owners: Served name -> project.
        matching_keys: Served name of a new index -> about how many keys its prefixes cover.
        planned_memory_bytes: What the revisions planned so far will add to the used memory.
    """

    project: str
    capabilities: Capabilities
    live: Mapping[str, LiveIndex] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    matching_keys: Mapping[str, int] = field(default_factory=dict)
    planned_memory_bytes: int = 0

    def renamed(self, steps: Iterable[Step]) -> Inventory:
        """The server with the statistics of indexes under the names that these steps give them."""
        live = dict(self.live)
        for step in steps:
            if step.kind == "replace_index" and step.before is not None and step.after is not None:
                index = live.get(step.before.physical)
                if index is not None:
                    live[step.after.physical] = index
        return replace(self, live=live)

    def after(self, before: Catalog, after: Catalog) -> Inventory:
        """The server as it will be once a revision has turned one catalog into the other."""
        old = {definition.physical for definition in before.values()}
        new = {definition.physical for definition in after.values()}
        old_aliases = {alias for definition in before.values() for alias in definition.all_aliases}
        owners = {name: owner for name, owner in self.owners.items() if name in after or name not in before}
        return replace(
            self,
            live={name: index for name, index in self.live.items() if name in new or name not in old},
            names=(self.names - (old - new)) | new,
            aliases={name: target for name, target in self.aliases.items() if name not in old_aliases}
            | {alias: d.physical for d in after.values() for alias in d.all_aliases},
            owners=owners | dict.fromkeys(after, self.project),
        )
