"""`validate`: whether indexes are what the record says, have their documents and answer as expected.

Only reads, on a replica as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from redismigrate.commands.option_definitions import as_paths
from redismigrate.commands.project import Project
from redismigrate.commands.session import expanded_run
from redismigrate.commands.validation_report import AskedExpectation, Flaw, LookedAtIndex, ValidationReport
from redismigrate.errors import SchemaError, UsageError
from redismigrate.execution.indexes.expecting import answer_to, wait_for
from redismigrate.execution.indexes.survey import survey
from redismigrate.execution.indexes.unindexed import find_unindexed
from redismigrate.execution.steps.answers import count_vectors
from redismigrate.foreign_text import shell_command
from redismigrate.operations.expectations import Expectation, unmet
from redismigrate.operations.given_expectations import as_expectation
from redismigrate.operations.query_checks import read_query_checks
from redismigrate.planning.drift import drifts_of
from redismigrate.planning.inventory import Inventory
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema import VectorField
from redismigrate.schema.definition import Catalog, IndexDefinition
from redismigrate.schema.strict import did_you_mean, readable_key
from redismigrate.state.store import State, read_state


def validate(
    project: Project, indexes: Iterable[str] = (), *, query_checks: Iterable[str | Path] = ()
) -> ValidationReport:
    """Look whether indexes are as recorded, have every document that they should, and answer as expected.

    Every key of their prefixes is looked at. Of expectations those of the last revision are asked, and those
    of files.

    Args:
        project: The project.
        indexes: Served names; none for every recorded index.
        query_checks: Files of queries, as `MigrationOptions.query_checks`.

    Raises:
        UsageError: There is no such index, or a file does not say which one it is about.
        SchemaError: A file can't be read, or asks what the index can't be asked.
    """
    names = (indexes,) if isinstance(indexes, str) else tuple(indexes)
    with project.connect() as server:
        state = read_state(server, project.keys)
        server.capabilities.require_search()
        catalog = _chosen(state.catalog, names)
        asked = [*_of_last_revision(state, catalog), *_of_files(catalog, as_paths(query_checks))]
        if state.run is not None and expanded_run(state) is None:
            # Half way, neither what was nor what is to be can be expected.
            told = f"run {state.run.get('id')} is unfinished"
            flaw = Flaw("unfinished_run", None, told, "`redismigrate status` says how to go on")
            return ValidationReport(project.settings.project, (flaw,), (), ())
        inventory = survey(server, project.settings.project, catalog)
        look = _Look(server, inventory)
        for name, definition in catalog.items():
            look.at(name, definition, [expectation for index, expectation in asked if index == name])
    return ValidationReport(
        project.settings.project,
        tuple(look.flaws),
        tuple(look.indexes),
        tuple(look.expectations),
        tuple(look.notes),
    )


class _Look:
    """Looks at indexes one after the other, and collects what it finds.

    Args:
        server: The connection.
        inventory: The indexes as the server tells them.
    """

    def __init__(self, server: Server, inventory: Inventory) -> None:
        self._server, self._inventory = server, inventory
        self.flaws: list[Flaw] = []
        self.indexes: list[LookedAtIndex] = []
        self.expectations: list[AskedExpectation] = []
        self.notes: list[str] = []

    def at(self, name: str, definition: IndexDefinition, asked: Iterable[Expectation]) -> None:
        """Look at one index.

        Args:
            name: Its served name.
            definition: It, as recorded.
            asked: What is expected of it.
        """
        for drift in drifts_of(definition, self._inventory):
            self.flaws.append(Flaw(drift.kind, name, drift.text, drift.remedy))
        live = self._inventory.live.get(definition.physical)
        problem = None if live is None else wait_for(self._server, definition.physical)
        if problem is not None:
            self.flaws.append(
                Flaw("incomplete", name, f"it is {problem}", "`redismigrate status` shows more")
            )
        if live is None or problem is not None:
            return
        self._documents(name, definition, live)
        for expectation in asked:
            self._ask(name, definition, expectation)

    def _documents(self, name: str, definition: IndexDefinition, live: LiveIndex) -> None:
        schema, documents = definition.schema, live.statistics.num_docs
        if schema.skip_initial_scan:
            self.notes.append(
                f"{name}: it was told not to scan, so documents from before it may be out of it"
            )
            self.indexes.append(LookedAtIndex(name, definition.physical, documents))
            return
        found = find_unindexed(self._server, schema, definition.physical, live.statistics)
        if schema.filter is not None and live.statistics.indexing_failures:
            self.notes.append(
                f"{name}: {live.statistics.indexing_failures:,} documents could not be indexed since it was "
                "made, or were gone when it came to them; which of those it lacks its FILTER keeps out can't "
                "be told"
            )
        vectors = self._vectors(definition, live)
        if found.count:
            some = "; ".join(f"{readable_key(one.key)}: {one.reason}" for one in found.sample[:3])
            self.flaws.append(
                Flaw(
                    "unindexed",
                    name,
                    f"{found.count:,} documents are not in it: {some}",
                    "correct them: they are indexed when they are written",
                )
            )
        for field_name, (indexed, held) in vectors.items():
            if indexed < held - found.count:
                rebuild = shell_command("redismigrate", "repair", "--rebuild", name)
                self.flaws.append(
                    Flaw(
                        "vectors",
                        name,
                        f"field {field_name} has {indexed:,} vectors, and {held:,} documents have one",
                        f"`{rebuild}` builds it anew, searches miss documents meanwhile",
                    )
                )
        self.indexes.append(
            LookedAtIndex(name, definition.physical, documents, found.count, found.sample, vectors)
        )

    def _vectors(self, definition: IndexDefinition, live: LiveIndex) -> dict[str, tuple[int, int]]:
        """How many vectors fields hold, and how many documents have one, where that can be counted."""
        schema = definition.schema
        if schema.storage_type != "hash" or schema.filter is not None:
            return {}
        return {
            each.name: (live.vector_labels[each.name], count_vectors(self._server, each, schema))
            for each in schema.fields
            if isinstance(each, VectorField) and each.name in live.vector_labels
        }

    def _ask(self, name: str, definition: IndexDefinition, expectation: Expectation) -> None:
        answer = answer_to(self._server, definition.schema, definition.physical, expectation)
        self.expectations.append(
            AskedExpectation(
                index=name,
                asked=expectation.question,
                wanted=expectation.wanted,
                found=answer.found,
                passed=answer.is_met,
                source=expectation.source,
            )
        )
        if not answer.is_met:
            told = unmet(name, expectation, answer.found).partition(": ")[2]
            remedy = "correct the documents, or what is expected"
            self.flaws.append(Flaw("expectation", name, f"it is not as expected: {told}", remedy))


def _chosen(catalog: Catalog, names: tuple[str, ...]) -> Catalog:
    for name in names:
        if name not in catalog:
            holder = catalog.alias_target(name)
            of = "" if holder is None else f" It is an alias of {holder}."
            raise UsageError(
                f"No revision has made or changed index {name}{did_you_mean(name, catalog)}.{of}",
                f"Indexes: {', '.join(sorted(catalog)) or 'none'}.",
            )
    return Catalog({name: catalog[name] for name in dict.fromkeys(names)}) if names else catalog


def _of_last_revision(state: State, catalog: Catalog) -> Iterator[tuple[str, Expectation]]:
    """What the scripts of the heads expect, as the record has it."""
    for revision in state.head.heads:
        for said in state.head.revisions[revision].expectations:
            words = dict(said)
            name = str(words.pop("index", ""))
            if name in catalog:
                try:
                    yield name, as_expectation(**words)
                except (SchemaError, TypeError) as error:
                    raise SchemaError(
                        f"This version does not know the words in which is recorded what {revision} expects.",
                        "Upgrade redismigrate.",
                    ) from error


def _of_files(catalog: Catalog, files: Iterable[Path]) -> Iterator[tuple[str, Expectation]]:
    for file in files:
        for check in read_query_checks(file):
            if check.index is None and len(catalog) != 1:
                raise UsageError(
                    f"{file} does not say which index it is about.",
                    "Write `index: NAME` into it, or name the index: `redismigrate validate INDEX`.",
                )
            name = check.index or next(iter(catalog))
            (known,) = _chosen(catalog, (name,)).values()
            for expectation in check.expectations:
                expectation.require_fits(known.schema)
                yield name, expectation
