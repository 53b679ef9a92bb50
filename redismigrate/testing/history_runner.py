"""Takes a project up and down its history on the server of the tests, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from redismigrate import commands
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.commands.squashed_history import seen
from redismigrate.errors import UsageError
from redismigrate.foreign_text import readable
from redismigrate.history.identifiers import resolve_one
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode
from redismigrate.schema.vector_field import VectorField
from redismigrate.state.store import State, read_state
from redismigrate.state.stored_documents import Head
from redismigrate.testing.document_forms import (
    GivenDocuments,
    SampleDocuments,
    document_commands,
    read_documents,
    store,
    vector_bytes,
)
from redismigrate.testing.scratch_server import ScratchProject, ScratchServer, clean_up, prefixes_of, prepare
from redismigrate.testing.snapshot import MOST_DIFFERENCES, Snapshot, differences, take_snapshot
from redismigrate.testing.traces import traces_of

if TYPE_CHECKING:
    import redis
    from redis.commands.search.query import Query
    from redis.commands.search.result import Result


class MigrationRunner:
    """Owns what a test makes on the server: leaving its `with` block removes it.

    Args:
        project: The project, whose settings name the server.
        scratch: The server.
        samples: The documents of `insert_sample_documents`.
        options: Of every upgrade and downgrade; by default nobody else writes to the documents.

    Attributes:
        project: The project.
        client: A redis-py client of the server (RESP2, replies as bytes), as `op.run` gives to functions.
        options: Of every upgrade and downgrade.

    Raises:
        StateError: The server is not private, and holds what a migration could change.
    """

    def __init__(
        self,
        project: ScratchProject,
        scratch: ScratchServer,
        samples: SampleDocuments | None = None,
        options: MigrationOptions | None = None,
    ) -> None:
        self.project = project
        self.options = options or MigrationOptions(exclusive=True)
        self._scratch = scratch
        self._samples = dict(samples or {})
        self._sampled: set[str] = set()
        self._inserted: set[bytes] = set()
        self._server = project.connect()
        self.client: redis.Redis = self._server.client
        try:
            # Of a private server every key may be looked at, even if the scripts can't be read.
            self._prefixes = () if scratch.is_private else prefixes_of(project)
            prepare(scratch, self._server, project.keys, self._prefixes)
        except BaseException:
            self._server.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.reset()
        finally:
            self._server.close()

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that no other revises."""
        return self.project.history.heads()

    @property
    def history(self) -> tuple[str, ...]:
        """The ids of all revisions, parents first."""
        return tuple(self.project.history)

    @property
    def current(self) -> tuple[str, ...]:
        """The applied revisions that no applied one stands on."""
        return self._head.heads

    @property
    def _head(self) -> Head:
        """What is recorded, as the scripts call it: of a squashed one its parts may be."""
        return seen(self.project, self.state.head)

    @property
    def state(self) -> State:
        """What is recorded on the server."""
        return read_state(self._server, self.project.keys)

    def migrate_up_to(self, revision: str = "heads") -> tuple[str, ...]:
        """Apply a revision and all it stands on.

        Args:
            revision: A revision identifier.

        Returns:
            What was applied, in order.
        """
        return commands.upgrade(self.project, revision, self.options).revisions

    def migrate_up_before(self, revision: str) -> tuple[str, ...]:
        """Apply all that a revision stands on, so that it can be the next one.

        Raises:
            UsageError: The revision is applied already.
        """
        revision = self._resolve(revision)
        if revision in self._head.applied:
            raise UsageError(
                f"Revision {revision} is applied already, so nothing is left to be done before it.",
                f"Undo it with migrate_down_to, or begin with migrate_up_before({revision!r}).",
            )
        parents = (
            *self.project.history[revision].down_revisions,
            *self.project.history.dependencies(revision),
        )
        return tuple(applied for parent in parents for applied in self.migrate_up_to(parent))

    def migrate_up_one(self) -> tuple[str, ...]:
        """Apply the next revision in the order of the history; nothing when none is left."""
        applied = self._head.applied
        following = next((revision for revision in self.history if revision not in applied), None)
        return () if following is None else self.migrate_up_to(following)

    def migrate_down_to(self, revision: str) -> tuple[str, ...]:
        """Undo what was applied after a revision.

        Args:
            revision: A revision identifier, which stays applied, or `base`.

        Returns:
            What was undone, in order.
        """
        return commands.downgrade(self.project, revision, self.options).revisions

    def migrate_down_one(self) -> tuple[str, ...]:
        """Undo the last applied revision in the order of the history; nothing when none is applied."""
        known = self.project.history.known(self._head.applied)
        if not known:
            return ()
        # Of several heads -1 alone could mean any.
        return self.migrate_down_to(f"{self.project.history.ordered(known)[-1]}@-1")

    def roundtrip(self, revision: str) -> None:
        """Apply a revision, undo it and apply it again.

        Samples that are due are inserted before and after the first time.

        Raises:
            AssertionError: Undoing it did not lead back, or applying it again elsewhere than the first time.
        """
        revision = self._resolve(revision)
        self.migrate_up_before(revision)
        self.insert_sample_documents()
        before = self.snapshot()
        self.migrate_up_to(revision)
        self.insert_sample_documents()
        after = self.snapshot()
        self.migrate_down_to(f"{revision}@-1")
        self.require_equal(before, f"The downgrade of {self.name(revision)} does not lead back")
        self.migrate_up_to(revision)
        self.require_equal(
            after, f"The second upgrade to {self.name(revision)} does not lead where the first did"
        )

    def insert_documents(self, index: str, documents: GivenDocuments) -> tuple[str, ...]:
        """Store documents for an index, in hashes or as JSON, as its storage type says.

        Args:
            index: Its served name.
            documents: Fields or members, with their keys if they are a mapping; else they get the prefix of
                the index and a number. Vectors of hashes are sequences or arrays of shape (dims,).

        Returns:
            Their keys.

        Raises:
            SchemaError: There is no such index, a key has none of its prefixes, a vector does not fit its
                field, or a document can't be stored as the index needs it. Nothing was stored.
        """
        commands = document_commands(self._server, self.schema(index), documents)
        # Before they are stored: what the server refuses half way is removed as well.
        self._inserted.update(map(encode, commands))
        store(self._server, commands.values())
        return tuple(commands)

    def insert_sample_documents(self) -> None:
        """Store the documents of the fixture `redismigrate_documents` for indexes that are new since."""
        catalog = self.state.catalog
        for index, documents in self._samples.items():
            if index in catalog and index not in self._sampled:
                self._sampled.add(index)
                made = documents(catalog[index].schema) if callable(documents) else documents
                self.insert_documents(index, made)

    @property
    def samples_left(self) -> tuple[str, ...]:
        """The indexes of the fixture `redismigrate_documents` that have not existed since the beginning."""
        return tuple(name for name in self._samples if name not in self._sampled)

    def documents(self, index: str) -> dict[str, dict[str, Any]]:
        """The documents that an index is about, by key: vectors of hashes as arrays, other fields as text.

        Raises:
            SchemaError: There is no such index.
        """
        return read_documents(self._server, self.schema(index))

    def search(
        self, index: str, query: str | Query = "*", parameters: Mapping[str, Any] | None = None
    ) -> Result:
        """What clients find.

        Args:
            index: A served name or an alias.
            query: As FT.SEARCH takes it, or redis-py's.
            parameters: Of the query; see `vector` for those that are vectors.
        """
        found: Result = self.client.ft(index).search(query, dict(parameters or {}))
        return found

    def vector(self, index: str, field: str, numbers: Any) -> bytes:
        """A vector for a query, in the datatype that the field has at this revision.

        Args:
            index: A served name.
            field: The name of a vector field.
            numbers: A sequence or an array of shape (dims,).

        Raises:
            SchemaError: There is no such index or field, or the numbers don't fit it.
        """
        found = self.schema(index).field(field)
        if not isinstance(found, VectorField):
            raise UsageError(f"Field {field!r} of index {index!r} holds no vectors.")
        return vector_bytes(found, numbers)

    def schema(self, index: str) -> IndexSchema:
        """The schema of an index at this revision, as recorded.

        Raises:
            SchemaError: There is no such index.
        """
        return self.state.catalog.index(index).schema

    def snapshot(self) -> Snapshot:
        """What the project has on the server, to be compared later; see `require_equal`."""
        return take_snapshot(self._server, self.project.keys, self._prefixes)

    def require_equal(self, expected: Snapshot, message: str) -> None:
        """Compare the server with what it was, but for documents that were inserted since.

        Args:
            expected: As it was.
            message: What a difference means.

        Raises:
            AssertionError: It differs; the message and each difference.
        """
        found = differences(expected, self.snapshot(), inserted_since=self._inserted)
        if found:
            more = [f"… and {len(found) - MOST_DIFFERENCES} more"] if len(found) > MOST_DIFFERENCES else []
            lines = "".join(f"\n  {line}" for line in [*found[:MOST_DIFFERENCES], *more])
            raise AssertionError(f"{message}:{lines}")

    @property
    def served_names(self) -> frozenset[str]:
        """The names of the indexes at this revision, and their aliases."""
        definitions = self.state.catalog.items()
        return frozenset(name for served, item in definitions for name in (served, *item.aliases))

    def traces(self, names: Iterable[str]) -> tuple[str, ...]:
        """What should be gone once nothing is applied, one line each; documents that were inserted may stay.

        Args:
            names: That led to indexes of the project, see `served_names`.
        """
        return tuple(traces_of(self._server, self.project.keys, names, self._prefixes, self._inserted))

    def reset(self) -> None:
        """Remove what was made through this runner, so that the next revision is the first one again."""
        clean_up(self._scratch, self._server, self.project.keys, self._prefixes, self._inserted)
        self._inserted.clear()
        self._sampled.clear()

    def name(self, revision: str) -> str:
        """A revision with the first line of its script, for messages."""
        message = self.project.history[revision].message
        return f"{revision} ({readable(message)})" if message else revision

    def _resolve(self, revision: str) -> str:
        return resolve_one(self.project.history, revision, self._head.applied)
