"""One rewrite of the documents of one index, and how it is to be carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from redismigrate.documents.batch import Batch
from redismigrate.documents.conversion import Quantizations, transform_of
from redismigrate.documents.fitting import Fit, MakeTransform
from redismigrate.documents.results_ahead import ready_ahead
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.documents.transform import Transform
from redismigrate.execution.documents.in_place.moving import Mover
from redismigrate.execution.documents.traffic.exchange import Exchange
from redismigrate.execution.documents.traffic.exchanger import Exchanger
from redismigrate.execution.documents.traffic.node import Nodes
from redismigrate.execution.documents.traffic.reading import (
    OnRefused,
    documents_on,
    keys_in_form,
    pass_over,
    read_batches,
)
from redismigrate.execution.documents.traffic.value_store import ValueStore, store_of
from redismigrate.execution.indexes.live import existing_indexes, live_schemas
from redismigrate.execution.pace.pace import Pace
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.prefixes import KeyPrefixes

# Of the vectors in a batch, before or after they are converted: several batches are in memory at a time.
BATCH_BYTES = 4 << 20
# How long batches stay watched at most while the next one is computed. numpy's take some 15 ms, and are best
# computed beside the traffic.
PATIENCE_SECONDS = 0.05
_EXPIRING_COMMANDS = {f"cmdstat_{name}" for name in ("hexpire", "hexpireat", "hpexpire", "hpexpireat")}


@dataclass(frozen=True)
class RewriteJob:
    """What to do to which documents.

    Attributes:
        nodes: Where the documents are; the fence of a batch's node is checked in every batch of writes.
        physical: The index as it exists before the rewrite.
        schema: Of that index.
        rewrite: What to do.
        batch_size: Documents in a batch at most, see `documents_per_batch`.
        connections: Batches that are under way at a time.
        is_exclusive: Nobody else writes.
        on_progress: Told how many more documents a pass has done.
        pace: Admits every batch that is read or written; None for no limits.
        on_keys: Given every batch of keys before the job works on it; None for nothing to do.
        make_transform: Makes the transform of some recodings, once it is known how integers are made.
        transforms_at_once: How many batches are transformed at a time, each in a thread of its own.
    """

    nodes: Nodes
    physical: str
    schema: IndexSchema
    rewrite: Rewrite
    batch_size: int
    connections: int
    is_exclusive: bool
    on_progress: Callable[[int], None]
    pace: Pace | None = None
    on_keys: Callable[[list[bytes]], object] | None = None
    make_transform: MakeTransform = transform_of
    transforms_at_once: int = 1

    @property
    def server(self) -> Server:
        """The connection to the node that is asked about indexes."""
        return self.nodes.home.server

    @property
    def documents_per_batch(self) -> int:
        """Documents in a batch: fewer than asked for where their vectors would take too much memory."""
        recodings = self.rewrite.recodings
        document_bytes = sum(max(recoding.bytes_before, recoding.bytes_after) for recoding in recodings)
        return max(1, min(self.batch_size, BATCH_BYTES // max(1, document_bytes)))

    @property
    def store(self) -> ValueStore:
        """Where the values are that change."""
        return store_of(self.rewrite.storage_type)

    def read(
        self,
        batches: Iterable[Sequence[bytes]],
        paths: Sequence[str],
        on_refused: OnRefused = pass_over,
    ) -> Iterator[Batch]:
        """The values of some fields of documents, batch by batch, see `read_batches`."""
        return read_batches(self.nodes, batches, paths, on_refused, self.store)

    def keys_in_form(self, recoding: Recoding, *, is_new: bool) -> Iterator[list[bytes]]:
        """The keys of the documents whose vector has one form by its length, batch by batch."""
        return keys_in_form(self.nodes, self.keys(), recoding, is_new=is_new)

    def keys(self) -> Iterator[list[bytes]]:
        """The keys of the documents as they are called before the rewrite, in batches."""
        size, excluded = self.documents_per_batch, self.rewrite.excluded_prefixes
        for batch in self.in_turn(documents_on(self.nodes, self.schema, size, excluded)):
            if self.on_keys is not None:
                self.on_keys(batch)
            yield batch

    def in_turn(self, batches: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
        """Keys of documents to read, each batch when the limits of the run admit it."""
        return iter(batches) if self.pace is None else self.pace.in_batches(batches)

    def fit(self) -> Fit:
        """What finds out, by a pass over all documents, how to transform them."""
        return Fit(self.rewrite.recodings, self.make_transform)

    def transform(
        self, quantizations: Quantizations, recodings: Sequence[Recoding] | None = None
    ) -> Transform:
        """What makes the new values.

        Args:
            quantizations: How integers are made.
            recodings: For these alone; None for all of the rewrite.
        """
        return self.make_transform(self.rewrite.recodings if recodings is None else recodings, quantizations)

    def transforming(self) -> Executor:
        """What runs the transform, to be used in a `with` statement."""
        return ThreadPoolExecutor(self.transforms_at_once, "redismigrate-transform")

    def next_to_write(self, exchanges: Iterator[Exchange], *, is_slow: bool) -> Iterator[Exchange | None]:
        """What to write, computed in a thread of its own; None before what others must not wait for.

        Args:
            exchanges: What to write.
            is_slow: The transform that makes it is: nothing is to be watched meanwhile.
        """
        return ready_ahead(exchanges, 0 if is_slow else PATIENCE_SECONDS)

    def exchanger(self) -> Exchanger:
        """Connections to write over, to be used in a `with` statement."""
        return Exchanger(self.nodes, self.connections, self.pace, self.store)

    def mover(self) -> Mover | None:
        """What moves the documents; None when nothing moves."""
        if not self.rewrite.moves:
            return None
        return Mover(self.rewrite, copies=self.meets_other_storage_type(), pins=self.may_lose_names())

    def meets_other_storage_type(self) -> bool:
        """Whether an index of the other storage type covers keys that documents move to, or come back to."""
        changes = self.rewrite.prefixes
        if not changes:
            return False
        moving = KeyPrefixes.of(tuple(prefix for change in changes for prefix in (change.old, change.new)))
        return any(
            schema.storage_type != self.rewrite.storage_type
            and moving.overlap(KeyPrefixes.of(schema.prefixes))
            for schema in live_schemas(self.server, existing_indexes(self.server)).values()
        )

    def may_lose_names(self) -> bool:
        """Whether keys move that are hashes whose fields may have had a time to live, see `Mover.pins`."""
        rewrite, capabilities = self.rewrite, self.server.capabilities
        if rewrite.storage_type != "hash" or not rewrite.prefixes or not capabilities.forgets_renames:
            return False
        stats, commands = self.server.execute("INFO", "stats"), self.server.execute("INFO", "commandstats")
        has_expired = isinstance(stats, dict) and int(stats.get("expired_subkeys", 0)) > 0
        expires = isinstance(commands, dict) and not _EXPIRING_COMMANDS.isdisjoint(commands)
        return has_expired or expires or self.has_expiring_fields()

    def may_skip_comparing(self, lock_key: str) -> bool:
        """Whether documents that are read from now on stay as they are until they are written.

        Nobody writes, none of them expires, and the server evicts none.

        Args:
            lock_key: Has a time to live, and is no document.
        """
        expiring_keys, expiring_hashes = expiring(self.server)
        expiring_keys -= self.server.execute("GET", lock_key) is not None
        capabilities = self.server.capabilities
        may_evict = capabilities.maxmemory and capabilities.maxmemory_policy.startswith("allkeys")
        return self.is_exclusive and not (expiring_keys or expiring_hashes or may_evict)

    def has_expiring_fields(self) -> bool:
        """Whether any hash of the database has a field with a time to live."""
        return expiring(self.server)[1] > 0


def expiring(server: Server) -> tuple[int, int]:
    """How many keys of the database have a time to live, and in how many hashes a field has one."""
    keyspace = server.execute("INFO", "keyspace")
    database = keyspace.get("db0", {}) if isinstance(keyspace, dict) else {}
    return int(database.get("expires", 0)), int(database.get("subexpiry", 0))
