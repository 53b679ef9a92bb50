"""Looks into databases other than 0, over connections of its own, for what an index is about to lose.

Why it would, see `planning.other_databases`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import redis

from redismigrate.errors import PlanBlocked
from redismigrate.execution.indexes.live import KEY_TYPES, not_in_index
from redismigrate.execution.run import Run
from redismigrate.planning.other_databases import (
    SHOWN_KEYS,
    KeysElsewhere,
    OtherDatabases,
    in_words,
    left_without,
    schemas_left_short,
    why_left_out,
)
from redismigrate.planning.plan import Step
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.wire import Wire, raise_refusal, render, render_for_keys
from redismigrate.schema import IndexSchema
from redismigrate.schema.prefixes import KeyPrefixes

# Of all databases together; where there are more, a part of each is looked at.
MOST_KEYS = 1_000_000
KEYS_PER_SCAN = 1000

Keep = Callable[[list[bytes]], list[bytes]]


def look_at_other_databases(
    server: Server, schemas: Iterable[IndexSchema], keep: Keep | None = None
) -> OtherDatabases:
    """Count the keys of some indexes in every database but 0.

    Costs one command where only database 0 has keys. It never raises: what can't be looked at is a remark.

    Args:
        server: The connection, whose database stays selected.
        schemas: Tell prefixes and types.
        keep: Picks those of some keys that count; None for all.
    """
    counted = _Counted.of(schemas)
    if not counted.lengths:
        return OtherDatabases()
    try:
        sizes = other_databases(server)
    except redis.RedisError as error:
        return OtherDatabases(
            remarks=(f"it can't be told whether databases other than 0 have keys: {error}",)
        )
    remarks: list[str] = []
    left = MOST_KEYS
    smallest_first = sorted(sizes, key=lambda number: (sizes[number], number))
    looked, unlooked = 0, 0
    for position, number in enumerate(smallest_first):
        share = left // (len(sizes) - position)
        is_sampled = sizes[number] > share
        try:
            seen = _count(server, number, counted, keep, share if is_sampled else None)
        except redis.RedisError as error:
            remarks.append(f"database {number} could not be looked at for keys of these indexes: {error}")
            continue
        counted.end_database(number, sizes[number] / seen if is_sampled and seen else None)
        left -= min(left, seen)
        looked, unlooked = looked + seen, unlooked + (sizes[number] - seen if is_sampled else 0)
    if unlooked > 0:
        remarks.append(
            f"databases other than 0 have {looked + unlooked:,} keys, of which {looked:,} were looked at: "
            "how many of them an index is about is an estimate, and a few may be among the others"
        )
    return OtherDatabases(counted.found, tuple(remarks))


def other_databases(server: Server) -> dict[int, int]:
    """Every database but 0 that has keys -> how many, expired ones among them.

    Raises:
        redis.RedisError: The server does not tell.
    """
    keyspace: Mapping[str, object] = server.client.info("keyspace")
    sizes = {}
    for name, told in keyspace.items():
        number = name.removeprefix("db")
        # Anything else that a server may tell there is no database.
        if number.isdecimal() and int(number) and isinstance(told, dict):
            sizes[int(number)] = int(told.get("keys", 0))
    return sizes


def has_other_databases(server: Server) -> bool:
    """Whether databases other than 0 have keys; True where the server does not tell."""
    try:
        return bool(other_databases(server))
    except redis.RedisError:
        return True


def lost_by_swap(server: Server, before: IndexSchema, old: str, new: str) -> OtherDatabases:
    """The keys in other databases that one index holds, and the one that takes its names does not.

    What was written there since the new index was created is in both.

    Args:
        server: The connection.
        before: The schema of the old index.
        old: Its physical name.
        new: That of the new one.
    """

    def keep(keys: list[bytes]) -> list[bytes]:
        lacking = not_in_index(server, new, keys)
        nowhere = set(not_in_index(server, old, lacking))
        return [key for key in lacking if key not in nowhere]

    return look_at_other_databases(server, [before], keep)


class BeforeTheLoss:
    """Looks once more before a step of a run takes an index away that holds documents of other databases.

    The plan has looked, but that may be hours ago, or in another process.

    Args:
        server: The connection.
        warn: Is told what is lost where nothing can be refused.

    Attributes:
        told: What it was told, each once.
    """

    def __init__(self, server: Server, warn: Callable[[str], None]) -> None:
        self._server = server
        self._warn = warn
        self.told: list[str] = []

    def look(self, steps: Iterable[Step], run: Run) -> None:
        """Refuse steps that would leave out documents of other databases.

        Going back is never refused: what was begun has to have an end, and the index that comes back is the
        one that the user asks for. Then it is told what that lacks.

        Args:
            steps: About to be carried out.
            run: Tells whether it goes back, and what is to be ignored.

        Raises:
            PlanBlocked: There are such documents.
        """
        if run.arguments.get("ignore_other_databases"):
            return
        goes_back = run.failure is not None
        for step in steps:
            found, schemas = self._lost_by(step, goes_back=goes_back)
            if goes_back:  # forward the plan has told these
                for remark in found.remarks:
                    self._tell_once(remark)
            keys = in_words(found.keys_of(schemas))
            if not keys:
                continue
            # A rebuild that rewrites documents has dropped the old index by then.
            if goes_back or (step.kind, step.strategy) == ("create_index", "rebuild"):
                self._tell_once(left_without(str(step.index), keys))
                continue
            reason = why_left_out(str(step.index), keys, is_deletion=step.deletes_documents)
            raise PlanBlocked(f"The run can't go on: {reason}.", reasons=(reason,))

    def _lost_by(self, step: Step, *, goes_back: bool) -> tuple[OtherDatabases, tuple[IndexSchema, ...]]:
        """What a step leaves out, and of which indexes."""
        schemas = schemas_left_short(step)
        before, after = step.before, step.after
        if not schemas or (goes_back and step.life.name == "create_beside"):
            return OtherDatabases(), ()  # the swap that follows tells it exactly
        if step.kind == "swap_alias" and before is not None and after is not None:
            found = lost_by_swap(self._server, before.schema, before.physical, after.physical)
            return found, (before.schema,)
        return look_at_other_databases(self._server, schemas), schemas

    def _tell_once(self, warning: str) -> None:
        if warning not in self.told:
            self.told.append(warning)
            self._warn(warning)


@dataclass
class _Counted:
    """Counts keys by storage type and prefix.

    Attributes:
        wanted: The outermost prefixes of every index -> the storage types in which they are looked for.
        lengths: Of the prefixes: a key is cut to each of them and looked up.
        found: What the databases that were done had.
        counts: Of the database that is being looked at.
        examples: The first keys of each count.
    """

    wanted: dict[bytes, set[str]]
    lengths: tuple[int, ...]
    found: dict[tuple[str, bytes], list[KeysElsewhere]] = field(default_factory=dict)
    counts: dict[tuple[str, bytes], int] = field(default_factory=dict)
    examples: dict[tuple[str, bytes], list[bytes]] = field(default_factory=dict)

    @classmethod
    def of(cls, schemas: Iterable[IndexSchema]) -> _Counted:
        wanted: dict[bytes, set[str]] = {}
        for schema in schemas:
            for prefix in KeyPrefixes.of(schema.prefixes).outermost:
                wanted.setdefault(prefix, set()).add(schema.storage_type)
        return cls(wanted, tuple(sorted({len(prefix) for prefix in wanted})))

    def prefixes_of(self, key: bytes) -> Iterator[bytes]:
        """The prefixes that a key has."""
        for length in self.lengths:
            if key[:length] in self.wanted:
                yield key[:length]

    def add(self, key: bytes, storage_type: str) -> None:
        """Count a key under each of its prefixes that are looked for in keys of its type."""
        for prefix in self.prefixes_of(key):
            if storage_type in self.wanted[prefix]:
                about = storage_type, prefix
                self.counts[about] = self.counts.get(about, 0) + 1
                examples = self.examples.setdefault(about, [])
                if len(examples) < SHOWN_KEYS:
                    examples.append(key)

    def end_database(self, number: int, factor: float | None) -> None:
        """Take the counts as those of a database.

        Args:
            number: Which one.
            factor: How many keys stand for one that was looked at; None where all were.
        """
        for about, count in self.counts.items():
            estimate = count if factor is None else round(count * factor)
            examples = tuple(sorted(self.examples[about]))
            keys = KeysElsewhere(number, estimate, examples, is_estimate=factor is not None)
            self.found.setdefault(about, []).append(keys)
        self.counts, self.examples = {}, {}


def _count(server: Server, number: int, counted: _Counted, keep: Keep | None, most: int | None) -> int:
    """Count the keys of one database; how many were looked at.

    SCAN goes by the hashes of keys, so its first keys are a sample.
    """
    storage_types = {key_type.encode(): storage_type for storage_type, key_type in KEY_TYPES.items()}
    seen, cursor = 0, b"0"
    # The database is selected as the connection is made.
    with closing(Wire(server.client, db=number)) as wire:
        while True:
            wire.send(render(b"SCAN", cursor, b"COUNT", b"%d" % KEYS_PER_SCAN))
            (reply,) = wire.receive(1)
            raise_refusal(reply)
            cursor, keys = reply
            seen += len(keys)
            ours = [key for key in keys if any(True for _ in counted.prefixes_of(key))]
            wire.send(render_for_keys(b"TYPE", ours, ()))
            types = wire.receive(len(ours))
            raise_refusal(*types)
            documents = {
                key: storage_types[told]
                for key, told in zip(ours, types, strict=True)
                if told in storage_types
            }
            kept = list(documents) if keep is None or not documents else keep(list(documents))
            for key in kept:
                counted.add(key, documents[key])
            if cursor == b"0" or (most is not None and seen >= most):
                return seen
