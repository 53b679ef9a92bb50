"""Whether an index is what was asked for: its schema, its documents, its indexing failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from redismigrate.errors import RedisMigrateError
from redismigrate.execution.indexes.live import documents_not_in_index, incomplete, look_at
from redismigrate.execution.indexes.unindexed import Excuse, UnindexedDocuments, find_unindexed
from redismigrate.execution.run import Baseline
from redismigrate.planning.drift import differences_to
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.read import IndexStatistics
from redismigrate.schema.strict import encode, readable, readable_key


class ValidationFailed(RedisMigrateError):
    """The index is not what was asked for."""


@dataclass(frozen=True)
class FoundIndex:
    """An index that is as it was asked for.

    Attributes:
        served: The name that clients query.
        physical: The index.
        before: What it was compared with; None where it is a new one.
        statistics: What it counts.
        lost: Documents that it lacks, which was allowed.
        answers: Query that it was asked beside the index before it -> how often. Both answered alike.
    """

    served: str
    physical: str
    before: Baseline | None
    statistics: IndexStatistics
    lost: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)


def baseline_of(server: Server, definition: IndexDefinition) -> Baseline:
    """What an index has before it is changed."""
    live = look_at(server, definition.physical)
    if live is None:
        return Baseline()
    statistics = live.statistics
    unindexed = 0
    if definition.schema.skip_initial_scan:
        # Documents from before the index have never been tried; some may fail when a scan comes.
        found = _look_for_unindexed(server, definition, statistics)
        unindexed = found.count + found.untold
    elif statistics.indexing_failures:
        found = _look_for_unindexed(server, definition, statistics)
        unindexed = _failing(definition, found, statistics.indexing_failures)
    return Baseline(documents=statistics.num_docs, failures=statistics.indexing_failures, unindexed=unindexed)


def require_as_asked(
    server: Server,
    definition: IndexDefinition,
    baseline: Baseline,
    max_failures: int,
    *,
    counts_on: bool,
    is_scanned: bool = True,
    is_excused: Excuse | None = None,
) -> FoundIndex:
    """Compare the live index with what was asked for and with what was there before.

    Documents may come and go meanwhile, so counts alone prove nothing: a scan that is over and met no failure
    has every document. Only where it met some are documents looked for that are there and not in the index.

    Args:
        server: The connection.
        definition: What was asked for.
        baseline: The index before its change, zeros for a new one.
        max_failures: How many documents more than before may be missing.
        counts_on: The failure counter went on from the baseline, as with FT.ALTER, which indexes documents
            that failed before once more.
        is_scanned: The index has scanned its documents; else they were shown to it one by one, and no
            failure proves nothing.
        is_excused: Tells which of some documents have a reason to be out of the index that was told already;
            None where there is none.

    Returns:
        What was found.

    Raises:
        ValidationFailed: It differs; says how and what to do.
    """
    live = look_at(server, definition.physical)
    if live is None:
        raise ValidationFailed(f"Index {definition.served} is gone.", "Somebody dropped it; run again.")
    _compare_schemas(live, definition)
    statistics = live.statistics
    if statistics.is_incomplete:
        # It counts as one failure, however many documents it is about.
        reason = incomplete(definition.physical, statistics.num_docs)
        raise ValidationFailed(reason.message, reason.hint)
    failures = statistics.indexing_failures - (baseline.failures if counts_on else 0)
    # Under a FILTER, documents that are missing can't be told from those that it keeps out.
    can_tell = not is_scanned and definition.schema.filter is None
    is_short = can_tell and statistics.num_docs < baseline.documents
    found = FoundIndex(definition.served, definition.physical, baseline, statistics)
    if failures <= 0 and not is_short:
        return found
    unindexed = _look_for_unindexed(server, definition, statistics, is_excused)
    lost = unindexed.count
    if not is_short and is_excused is None:
        lost = _failing(definition, unindexed, failures)
    lost -= baseline.unindexed
    if lost > max_failures:
        raise ValidationFailed(
            f"{lost:,} documents can't be indexed in {definition.served}"
            f"{_example(server, definition, statistics, unindexed)}",
            f"Correct the documents, or accept it with --max-failures {lost}.",
        )
    return replace(found, lost=max(0, lost))


def _look_for_unindexed(
    server: Server,
    definition: IndexDefinition,
    statistics: IndexStatistics,
    is_excused: Excuse | None = None,
) -> UnindexedDocuments:
    """The documents that are out of an index, looked at one by one while writers go on.

    Who may not ask whether a document is there can't tell that it is gone.
    """
    schema, physical = definition.schema, definition.physical
    return find_unindexed(server, schema, physical, statistics, is_excused=is_excused, counts_refused=True)


def _failing(definition: IndexDefinition, found: UnindexedDocuments, failures: int) -> int:
    """How many documents are out of the index because they can't be indexed.

    The counter of failures is only the most there can be: it adds up over time, and goes up for a document
    that was gone when the server came to it, as one whose time was over. Under a FILTER, values tell whether
    a document can't be indexed or is kept out.
    """
    schema = definition.schema
    if schema.filter is not None and any(field.type == "geoshape" for field in schema.fields):
        # What is no shape we can't tell, and a hash with one is in the index without it (seen on 2.10.5).
        return failures
    return min(failures, found.count)


def _example(
    server: Server, definition: IndexDefinition, statistics: IndexStatistics, found: UnindexedDocuments
) -> str:
    """A document that can't be indexed, as the end of a sentence; the server's last one may be gone."""
    key = statistics.last_failure_key
    if key is not None and documents_not_in_index(
        server, definition.schema, definition.physical, [encode(key)], counts_refused=True
    ):
        error = readable(statistics.last_failure_error or "")
        return f"; the last one is key {readable_key(key)}: {error}"
    for one in found.sample:
        return f"; one is key {readable_key(one.key)}: {one.reason}"
    return "."


def _compare_schemas(live: LiveIndex, definition: IndexDefinition) -> None:
    differences = differences_to(live, definition)
    if differences:
        raise ValidationFailed(
            f"Index {definition.served} is not as asked for: {differences}.",
            "Another client may have changed it; run again.",
        )
