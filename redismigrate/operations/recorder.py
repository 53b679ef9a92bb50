"""`op`, the object that a migration script gets: it records operations and touches nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from redismigrate.errors import SchemaError
from redismigrate.foreign_modules import function_name
from redismigrate.foreign_text import shell_command
from redismigrate.operations.block_order import in_order
from redismigrate.operations.changes import IndexChange, as_asked, as_recorded
from redismigrate.operations.given import as_name, as_reason, as_schema
from redismigrate.operations.given_expectations import as_expectation
from redismigrate.operations.index_block import IndexChanges
from redismigrate.operations.operation_types import (
    AssumeExclusive,
    CreateAlias,
    CreateIndex,
    DropAlias,
    DropIndex,
    Expect,
    Irreversible,
    Operation,
    RunFunction,
    SetSynonyms,
)
from redismigrate.schema import IndexSchema
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.strict import as_items

DataMigration = Callable[[Any], object]
LiveIndexReader = Callable[[str], IndexDefinition | None]
UnmanagedNames = Callable[[Catalog], Iterable[str]]
_MOST_SHOWN = 10


class Operations:
    """What `upgrade(op)` and `downgrade(op)` call.

    Every call is checked against the schemas as this script finds them, so a mistake is reported at its line.

    Args:
        catalog: The indexes as the revision finds them.
        live_index: Reads an index that no revision created; without a server there is none.
        unmanaged: Tells which indexes on the server nobody manages, given those that are known.
        is_upgrade: The script's `upgrade` gets it.
    """

    def __init__(
        self,
        catalog: Catalog,
        live_index: LiveIndexReader | None = None,
        unmanaged: UnmanagedNames | None = None,
        *,
        is_upgrade: bool = False,
    ) -> None:
        self._catalog = catalog
        self._first = catalog
        self._live_index = live_index
        self._unmanaged = unmanaged
        self._is_upgrade = is_upgrade
        self._operations: list[Operation] = []
        self._functions: list[tuple[DataMigration, DataMigration | None]] = []
        self._adopted: dict[str, IndexDefinition] = {}

    @property
    def recorded(self) -> tuple[Operation, ...]:
        """The operations that the script has asked for so far, in order."""
        return tuple(self._operations)

    @property
    def functions(self) -> tuple[tuple[DataMigration, DataMigration | None], ...]:
        """The functions given to `run`, with what undoes them, by `RunFunction.position`."""
        return tuple(self._functions)

    @property
    def adopted(self) -> Mapping[str, IndexDefinition]:
        """Indexes that no revision created and that this script changes, as they were found."""
        return self._adopted

    @property
    def catalog(self) -> Catalog:
        """The indexes as they are after the operations so far."""
        return self._catalog

    def create_index(self, schema: IndexSchema | Mapping[str, Any]) -> None:
        """Create an index; `schema` is our model or a dict in RedisVL's form."""
        self._record(CreateIndex(as_schema(schema)))

    def drop_index(self, name: str, *, delete_documents: bool = False) -> None:
        """Drop an index. Its documents stay unless `delete_documents` says otherwise."""
        self._adopt(name)
        self._record(DropIndex(name, delete_documents=delete_documents))

    def create_alias(self, alias: str, index: str) -> None:
        """Give an index a further name; an alias that another index of the project has moves to this one."""
        self._adopt(index)
        self._record(CreateAlias(as_name(alias, "alias"), index))

    def drop_alias(self, alias: str) -> None:
        """Take a further name away."""
        self._record(DropAlias(alias))

    def set_synonyms(self, index: str, group: str, terms: Iterable[str]) -> None:
        """Set the terms of a synonym group; an empty list removes the group."""
        if isinstance(terms, str):
            raise SchemaError("Synonym terms are a list, not one string.", f"Write [{terms!r}].")
        self._adopt(index)
        group = as_name(group, "synonym group")
        self._record(SetSynonyms(index, group, tuple(as_name(term, "synonym") for term in as_items(terms))))

    def irreversible(self, reason: str) -> None:
        """Say, in a downgrade, that there is no way back; a downgrade past it is refused with the reason."""
        self._record(Irreversible(as_reason(reason)))

    def assume_exclusive(self, reason: str) -> None:
        """Say that nobody else writes to the documents while this function's changes are carried out.

        It allows what `--exclusive` allows, in this direction of this revision alone; the plan shows why.
        """
        self._record(AssumeExclusive(as_name(reason, "reason")))

    def run(self, up: DataMigration, down: DataMigration | None = None) -> None:
        """Run a function of one redis client (decode_responses=False) as a step of its own.

        It runs at least once: after a crash it may run again, so write it to bear a repeat. A downgrade of
        this revision runs `down` first; without it the downgrade is refused unless `--allow-lossy`.
        """
        if not callable(up) or not (down is None or callable(down)):
            raise SchemaError("op.run takes functions of one redis client.", "Write op.run(fill_titles).")
        if any(map(inspect.iscoroutinefunction, (up, down))) or any(
            map(inspect.isgeneratorfunction, (up, down))
        ):
            raise SchemaError(
                "op.run takes no async functions and no generators: a call would run nothing of them.",
                "Write a plain function; asyncio.run in it where it has to be.",
            )
        operation = RunFunction(function_name(up), len(self._functions), has_down=down is not None)
        self._functions.append((up, down))
        self._record(operation)

    def expect(
        self,
        index: str,
        *,
        count: Any = None,
        query: str | None = None,
        finds: Any = None,
        finds_keys: Any = None,
        knn: Mapping[str, Any] | None = None,
        overlap: float | None = None,
    ) -> None:
        """Say what an index is expected to answer; where it does not, nothing is changed, or all is undone.

        It holds from here on: it is looked at before the revision changes anything and on the index that the
        changes make, before clients query that. Where a change in between makes another question of it, it is
        looked at on that side of the change on which it stands.

        Args:
            index: Its served name. One that no revision manages is looked at beforehand alone.
            count: How many documents it has: a number, ("at_least", n) or ("at_most", n).
            query: A query of FT.SEARCH, in dialect 2.
            finds: How many documents the query finds, as `count`.
            finds_keys: The keys that it finds, or ("at_least", keys).
            knn: The nearest documents, among those that `query` finds if it is given: {"field": "embedding",
                "of": key, "k": 10}, or "vector": numbers instead of "of".
            overlap: Which share of `finds_keys` has to be among the neighbours. [0.9]
        """
        name = as_name(index, "index")
        self._require_there(name)
        expectation = as_expectation(
            count=count, query=query, finds=finds, finds_keys=finds_keys, knn=knn, overlap=overlap
        )
        self._record(Expect(name, expectation))

    def indexes(self, pattern: str = "*") -> tuple[str, ...]:
        """The names of the indexes at this point of the history that match a glob, sorted.

        Refused where it matches none of them, but indexes on the server that nobody manages.
        """
        matching = self._catalog.matching(pattern)
        if not matching and self._unmanaged is not None:
            self._refuse_unmanaged(pattern, self._unmanaged(self._catalog))
        return matching

    def index(self, name: str, *, after: str | Iterable[str] = ()) -> IndexChanges:
        """A context whose calls change one index: `with op.index("products") as index: …`.

        Args:
            name: Of the index.
            after: Names of indexes that are changed before this one, wherever in the script that stands.
        """
        self._adopt(name)
        self._catalog.index(name)
        names = [after] if isinstance(after, str) else as_items(after)
        after_names = tuple(dict.fromkeys(as_name(each, "index") for each in names))
        schema = self._catalog.index(name).schema
        return IndexChanges(
            name, schema, after_names, self._changed, self._record, is_upgrade=self._is_upgrade
        )

    def _put_in_order(self) -> None:
        """Bring the operations into the order that `after` asks for, once the script has recorded all.

        Raises:
            SchemaError: `after` names no index, or there is no such order.
        """
        start = self._first
        for definition in self._adopted.values():
            start = start.with_definition(definition)
        self._operations = list(in_order(self._operations, start))

    def _refuse_unmanaged(self, pattern: str, unmanaged: Iterable[str]) -> None:
        found = [name for name in unmanaged if fnmatchcase(name, pattern)]
        if found:
            shown = ", ".join(found[:_MOST_SHOWN]) + (", and others" if len(found) > _MOST_SHOWN else "")
            command = shell_command("redismigrate", "revision", "-m", "baseline", "--from-live", pattern)
            raise SchemaError(
                f"op.indexes({pattern!r}) finds indexes that revisions have made or changed. None of these "
                f"matches, and nobody manages what does on the server: {shown}.",
                f"Write op.index with their names, or take them on first: `{command}`, `redismigrate stamp`.",
            )

    def _require_there(self, name: str) -> None:
        """Refuse an index that is nowhere. One that only the server has is not brought into the catalog."""
        if name in self._catalog or self._catalog.alias_target(name) is not None:
            return
        is_gone = any(item.kind == "drop_index" and item.name == name for item in self._operations)
        if is_gone or (self._live_index is not None and self._live_index(name) is None):
            self._catalog.index(name)

    def _adopt(self, name: str) -> None:
        """Bring an index that no revision created into the catalog, as it is on the server."""
        if name in self._catalog or self._catalog.alias_target(name) is not None:
            return
        if self._live_index is None:
            raise SchemaError(
                f"No revision creates index {name}, so this history can't be replayed without a server.",
                "Create it in an earlier revision; `redismigrate revision -m baseline --from-live "
                f"{name}` writes one.",
            )
        definition = self._live_index(name)
        if definition is not None:
            for served, known in self._catalog.items():
                if known.physical == definition.physical:
                    raise SchemaError(
                        f"{name} is an alias of index {served}, not an index.",
                        f"Use the index's name, {served}.",
                    )
            self._adopted[name] = definition
            self._catalog = self._catalog.with_definition(definition)

    def _record(self, operation: Operation) -> None:
        self._apply(operation)
        self._operations.append(operation)

    def _apply(self, operation: Operation) -> None:
        self._catalog = operation.apply(self._catalog)

    def _changed(self, change: IndexChange, schema: IndexSchema) -> tuple[IndexSchema, IndexChange]:
        change = as_asked(change, schema)
        after = change.apply(schema)
        return after, as_recorded(change, after)
