"""Whether an index is what was asked for: its schema, its documents, its indexing failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from redismigrate.errors import RedisMigrateError
from redismigrate.execution.indexes.keys_elsewhere import has_other_databases
from redismigrate.execution.indexes.live import (
    KEY_TYPES,
    batches_of_keys,
    count_keys,
    incomplete,
    look_at,
    not_in_index,
    types_of,
)
from redismigrate.execution.run import Baseline
from redismigrate.planning.drift import differences_to
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.read import IndexStatistics
from redismigrate.schema.strict import readable, readable_key

_KEYS_PER_LOOK = 500
_LOOKS = 3

Excuse = Callable[[Sequence[bytes]], frozenset[bytes]]


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
        unindexed = _unindexed(server, definition, statistics.num_docs)
    elif statistics.indexing_failures:
        unindexed = _failing(server, definition, statistics.num_docs, statistics.indexing_failures)
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
    has every document. Only where it met some are keys and documents counted.

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
    if is_short:
        lost = _count_lost(server, definition, is_excused or _nobody)
    elif is_excused is None:
        lost = _failing(server, definition, statistics.num_docs, failures)
    else:
        lost = _count_lost(server, definition, is_excused)
    lost -= baseline.unindexed
    if lost > max_failures:
        key, error = statistics.last_failure_key, statistics.last_failure_error
        last = "." if key is None else f"; the last one is key {readable_key(key)}: {readable(error or '')}"
        raise ValidationFailed(
            f"{lost:,} documents can't be indexed in {definition.served}{last}",
            f"Correct the documents, or accept it with --max-failures {lost}.",
        )
    return replace(found, lost=max(0, lost))


def _nobody(keys: Sequence[bytes]) -> frozenset[bytes]:  # noqa: ARG001 - an Excuse
    return frozenset()


def _count_lost(server: Server, definition: IndexDefinition, is_excused: Excuse) -> int:
    """Documents that are out of the index without an excuse, looked at one by one while writers go on."""
    lost, wanted = 0, KEY_TYPES[definition.schema.storage_type].encode()
    for keys in batches_of_keys(server, definition.schema, _KEYS_PER_LOOK):
        suspects: Sequence[bytes] = keys
        for _ in range(_LOOKS):
            # What is written between two looks is in the index, is gone or has its excuse at the next one.
            suspects = not_in_index(server, definition.physical, suspects)
            if not suspects:
                break
            excused, types = is_excused(suspects), types_of(server, suspects, refused=wanted)
            suspects = [
                key
                for key, found in zip(suspects, types, strict=True)
                if key not in excused and found == wanted
            ]
        lost += len(suspects)
    return lost


def _failing(server: Server, definition: IndexDefinition, documents: int, failures: int) -> int:
    """How many documents are out of the index because they can't be indexed.

    The counter of failures adds up over time and is only the most there can be. Under a FILTER it is all
    there is: a document that failed can't be told from one that the filter keeps out.
    """
    if definition.schema.filter is not None:
        return failures
    return min(failures, _unindexed(server, definition, documents))


def _unindexed(server: Server, definition: IndexDefinition, documents: int) -> int:
    """Keys that are not in the index; what writers add while the keys are counted doesn't count."""
    if has_other_databases(server):
        # The index counts documents of those, too: keys are looked up one by one.
        batches = batches_of_keys(server, definition.schema, _KEYS_PER_LOOK)
        return sum(len(not_in_index(server, definition.physical, keys)) for keys in batches)
    keys = count_keys(server, definition.schema)
    live = look_at(server, definition.physical)
    return max(0, keys - max(documents, 0 if live is None else live.statistics.num_docs))


def _compare_schemas(live: LiveIndex, definition: IndexDefinition) -> None:
    differences = differences_to(live, definition)
    if differences:
        raise ValidationFailed(
            f"Index {definition.served} is not as asked for: {differences}.",
            "Another client may have changed it; run again.",
        )
