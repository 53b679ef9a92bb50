"""Reading the state, and writing it in transactions that take Redis Search commands along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import redis

from redismigrate.errors import (
    AuthenticationFailed,
    CommandRefused,
    ConnectionFailed,
    FenceLost,
    RunInterrupted,
    ServerError,
    StateError,
)
from redismigrate.foreign_modules import text_of
from redismigrate.redis_server.connection import Server
from redismigrate.schema.strict import encode
from redismigrate.state.key_types import RUN, require_types, way_out_of_run, wrong_type
from redismigrate.state.keys import StateKeys
from redismigrate.state.lua_scripts import (
    ANY_VERSION,
    CONFLICT,
    FENCED,
    MOVED,
    REFUSED,
    TRANSACTION,
    UNCHANGED,
)
from redismigrate.state.stored_documents import (
    SEALED,
    VERSION_BYTES,
    Head,
    LastRun,
    StateDocument,
    catalog_from_content,
    parse_document,
    render_document,
    version_in,
)
from redismigrate.state.transaction import Command, Transaction

if TYPE_CHECKING:
    from redismigrate.schema.definition import Catalog

# Lua's unpack() fails above some 8,000 arguments; FT.CREATE with many prefixes and fields can have more.
LONGEST_SCRIPTED_COMMAND = 7000
ABSENT = StateDocument(0, {})


@dataclass(frozen=True)
class State:
    """The documents of a project at one moment.

    Attributes:
        documents: By their attribute of the keys.
        keys: Where they stand.
    """

    documents: Mapping[str, StateDocument]
    keys: StateKeys

    @cached_property
    def head(self) -> Head:
        """The applied revisions, as they are recorded."""
        return Head.from_content(self.documents["head"].content, self.keys.head)

    @cached_property
    def catalog(self) -> Catalog:
        """The indexes as they are recorded."""
        return catalog_from_content(self.documents["indexes"].content, self.keys.indexes)

    @property
    def run(self) -> Mapping[str, Any] | None:
        """The run in progress, as `:run` says, and `:progress` of what changes at every step; else None."""
        run, progress = self.documents["run"], self.documents.get("progress", ABSENT)
        return {**run.content, **progress.content} if run.exists else None

    @cached_property
    def last_run(self) -> LastRun | None:
        """The run that finished last; None when it can't be rolled back, or another one has begun since."""
        document = self.documents.get("last_run", ABSENT)
        return LastRun.from_content(document.content, self.keys.last_run) if document.exists else None

    @property
    def last_revisions(self) -> tuple[str, ...]:
        """The revisions of the run that finished last, as far as there are documents that undo them."""
        return self.last_run.revisions if self.last_run is not None else ()

    def require_readable(self) -> None:
        """Read what the documents hold before anything is done by one of them.

        Raises:
            StateError: One has values of another type.
        """
        _ = self.head, self.catalog, self.last_run

    @property
    def exists(self) -> bool:
        """Whether anything was ever recorded."""
        return any(document.exists for document in self.documents.values())


def is_one_script(server: Server, commands: Iterable[Command]) -> bool:
    """Whether commands can be sent in one script with the note that they are done."""
    longest = max((len(command) for command in commands), default=0)
    return server.capabilities.runs_search_in_scripts and longest <= LONGEST_SCRIPTED_COMMAND


def read_state(server: Server, keys: StateKeys) -> State:
    """All documents of the project.

    Raises:
        NewerState: One was written by a newer version.
        StateError: One is damaged, or a key of the project is of another type than ours.
    """
    require_types(server, keys)
    names = {name: getattr(keys, name) for name in ("head", "indexes", "run", "progress", "last_run")}
    texts = server.execute("MGET", *names.values())
    hints = dict.fromkeys(RUN, way_out_of_run(keys))
    documents = {
        name: parse_document(key, text, hints.get(name))
        for (name, key), text in zip(names.items(), texts, strict=True)
    }
    state = State(documents, keys)
    if state.documents["run"].exists and not state.documents["progress"].exists:
        # From the first step on it would back up what the run itself has written.
        raise StateError(
            f"The key {keys.progress} is gone: it told how far the run is.", way_out_of_run(keys)
        )
    return state


def read_undo(server: Server, keys: StateKeys, revision: str) -> Mapping[str, Any]:
    """The document that tells what undoes a revision.

    Raises:
        StateError: It is gone or damaged.
    """
    key = keys.undo(revision)
    found = server.execute("TYPE", key).decode()
    if found not in {"string", "none"}:
        raise wrong_type(key, found, "string", "Restore it from a dump of this Redis.")
    document = parse_document(key, server.execute("GET", key))
    if not document.exists:
        raise StateError(
            f"The key {key} is gone: it told what undoes revision {revision}.",
            "Restore it from a dump of this Redis.",
        )
    return document.content


class DocumentsMoved(RunInterrupted):
    """An index has not the documents any more that a guard has seen."""


class StateWriter:
    """Writes the state on behalf of the holder of a lock.

    Args:
        server: The connection.
        keys: The project's keys.
        token: The fencing token that the lock gave.
        state: The state as read after the lock was taken.
    """

    def __init__(self, server: Server, keys: StateKeys, token: str, state: State) -> None:
        self._server = server
        self._keys = keys
        self._token = token
        self._script = server.client.register_script(TRANSACTION)
        self.state = state

    @property
    def token(self) -> str:
        """The fencing token, for whoever else writes on behalf of the holder."""
        return self._token

    def transact(self, transaction: Transaction) -> None:
        """Run commands and write documents: all of it or nothing.

        Where they can't be one script (see `is_one_script`), commands come first, each on its own: steps must
        bear a repeat of their commands.

        Args:
            transaction: What to do.

        Raises:
            FenceLost: Another process has taken the lock since.
            RunInterrupted: The state was changed by another process.
            CommandRefused: A command was refused; nothing was written, its `put_back` was run.
            DocumentsMoved: An index is not what its guard says; nothing was done.
        """
        commands = (*transaction.commands, *transaction.put_back)
        if transaction.commands and not is_one_script(self._server, commands):
            self._run_unscripted(transaction.commands, transaction.put_back)
            transaction = replace(transaction, commands=(), put_back=(), guards={})
        self._evaluate(transaction)

    def require_kept(self) -> None:
        """Go on only where the server still has what was written last.

        One that is restarted, or a replica that takes its place, may have lost that. `transact` finds out by
        itself; who writes documents has to ask.

        Raises:
            FenceLost: Another process has taken the lock since, or the record was deleted.
            RunInterrupted: It has another state.
        """
        documents = self.state.documents
        with self._server.translated_errors():
            pipeline = self._server.client.pipeline(transaction=False)
            pipeline.get(self._keys.fence)
            for name in documents:
                pipeline.getrange(getattr(self._keys, name), 0, VERSION_BYTES)
            token, *beginnings = pipeline.execute()
        if token != self._token.encode():
            raise FenceLost.with_token(token)
        for (name, document), beginning in zip(documents.items(), beginnings, strict=True):
            if version_in(beginning) != document.version:
                raise RunInterrupted(
                    f"The server has not kept the state that was written last ({getattr(self._keys, name)}): "
                    "it was started again with older data, or a replica has taken its place.",
                    "Run the same command again.",
                )

    def read_undo(self, revision: str) -> Mapping[str, Any]:
        """The document that tells what undoes a revision, see `read_undo`."""
        return read_undo(self._server, self._keys, revision)

    def _evaluate(self, transaction: Transaction) -> None:
        contents = transaction.contents()
        keys: list[str] = [self._keys.fence, self._keys.journal]
        arguments: list[Any] = [self._token]
        written = dict(self.state.documents)
        for name, content in contents.items():
            version = self.state.documents[name].version
            keys.append(getattr(self._keys, name))
            text = _text(version + 1, content, is_sealed=name in SEALED)
            arguments += [ANY_VERSION if transaction.replaces_damaged else version, text]
            written[name] = ABSENT if content is None else StateDocument(version + 1, content)
        if "progress" in contents and "run" not in contents:
            # Its versions begin anew with every revision: one that the server has gone back to may have the
            # same.
            keys.append(self._keys.run)
            arguments += [self.state.documents["run"].version, UNCHANGED]
        for revision, content in transaction.undo.items():
            keys.append(self._keys.undo(revision))
            arguments += [ANY_VERSION, _text(1, content, is_sealed=True)]
        if transaction.end_run:
            for key in (self._keys.control, self._keys.while_expanded):
                keys.append(key)
                arguments += [ANY_VERSION, _text(1, None)]
        arguments.insert(1, len(keys) - 2)
        # Names of indexes may hold bytes that are not UTF-8.
        event = transaction.event.items()
        words = [word.encode("utf-8", "surrogateescape") for pair in event for word in pair]
        arguments += [len(words), *words]
        guarded = [(encode(name), *numbers) for name, numbers in transaction.guards.items()]
        for group in (transaction.commands, transaction.put_back, guarded):
            arguments.append(len(group))
            for command in group:
                arguments += [len(command), *command]
        with self._server.translated_errors():
            try:
                self._script(keys=keys, args=arguments)
            except redis.ResponseError as error:
                raise self._explained(error, transaction.commands) from error
        self.state = replace(self.state, documents=written)

    def _explained(self, error: redis.ResponseError, commands: Sequence[Command]) -> Exception:
        text = str(error)
        if FENCED in text:
            return FenceLost.with_token(self._server.execute("GET", self._keys.fence))
        if CONFLICT in text:
            return RunInterrupted(
                f"The state was changed by another process ({text.rpartition(' ')[2]}).",
                "Run the same command again.",
            )
        if MOVED in text:
            return DocumentsMoved(
                f"Index {text.rpartition(' ')[2]} has got other documents meanwhile.",
                "Run the same command again.",
            )
        if REFUSED in text:
            position, _, reason = text.partition(REFUSED)[2].strip().partition(" ")
            return CommandRefused(int(position), reason, _name(commands[int(position)]))
        return error

    def _run_unscripted(self, commands: Sequence[Command], put_back: Sequence[Command]) -> None:
        if self._server.execute("GET", self._keys.fence) != self._token.encode():
            raise self._explained(redis.ResponseError(FENCED), commands)
        # Over maxmemory nothing begins: FT.DROPINDEX would pass, and its name be refused to what follows.
        self._server.execute("SETRANGE", self._keys.fence, 0, "")
        for position, command in enumerate(commands):
            try:
                self._server.execute(*command)
            except ConnectionFailed:
                raise  # nobody can be asked to put anything back
            except (redis.ResponseError, ServerError) as error:
                for undo in put_back if position else ():
                    self._ignore_refusal(undo)
                # A right that is missing ends the revision, as where it is found in a script.
                if isinstance(error, redis.ResponseError | AuthenticationFailed):
                    raise CommandRefused(position, text_of(error), _name(command)) from error
                raise

    def _ignore_refusal(self, command: Command) -> None:
        try:
            self._server.execute(*command)
        except ConnectionFailed:
            raise
        except (redis.ResponseError, ServerError):
            return


def _text(version: int, content: Mapping[str, Any] | None, *, is_sealed: bool = False) -> bytes:
    """A document as the script takes it; nothing deletes it."""
    return b"" if content is None else render_document(version, content, is_sealed=is_sealed)


def _name(command: Command) -> str:
    """The first two words of a command, for messages."""
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in command[:2]]
    return " ".join(words)
