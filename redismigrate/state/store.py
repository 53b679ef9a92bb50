"""Reading the state, and writing it in transactions that take Redis Search commands along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import redis

from redismigrate.errors import CommandRefused, FenceLost, RunInterrupted, StateError
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
    catalog_content,
    catalog_from_content,
    parse_document,
    render_document,
    version_in,
)

if TYPE_CHECKING:
    from redismigrate.schema.definition import Catalog

# Lua's unpack() fails above some 8,000 arguments; FT.CREATE with many prefixes and fields can have more.
LONGEST_SCRIPTED_COMMAND = 7000
ABSENT = StateDocument(0, {})

Command = Sequence[bytes | str]


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

    def transact(
        self,
        *,
        head: Head | None = None,
        catalog: Catalog | None = None,
        run: Mapping[str, Any] | None = None,
        progress: Mapping[str, Any] | None = None,
        end_run: bool = False,
        last_run: LastRun | None = None,
        end_last_run: bool = False,
        undo: Mapping[str, Mapping[str, Any] | None] | None = None,
        event: Mapping[str, str] | None = None,
        commands: Iterable[Command] = (),
        put_back: Iterable[Command] = (),
        guards: Mapping[str, tuple[int, int]] | None = None,
        replaces_damaged: bool = False,
    ) -> None:
        """Run commands and write documents: all of it or nothing.

        Where they can't be one script (see `is_one_script`), commands come first, each on its own: steps must
        bear a repeat of their commands.

        Args:
            head: The new head document, None to leave it.
            catalog: The new indexes document, None to leave it.
            run: The new run document, None to leave it. It tells everything: that of its progress is empty.
            progress: The new document of the run's progress, None to leave it.
            end_run: Delete the run document, that of its progress, and what was changed of its limits.
            last_run: The new document of the run that finished last, None to leave it.
            end_last_run: Delete that document.
            undo: Revision -> the document that tells what undoes it, None to delete it. It is written once,
                so the fencing token alone guards it.
            event: What the journal gets.
            commands: Redis Search commands, run in order before anything is written.
            put_back: Commands that undo the first ones when a later one is refused; their errors are ignored.
            guards: Physical index -> its max_doc_id and num_docs, without which nothing is done. They are
                looked at where commands can be one script with the documents.
            replaces_damaged: Write documents whatever stands in their place: the lock alone guards them.

        Raises:
            FenceLost: Another process has taken the lock since.
            RunInterrupted: The state was changed by another process.
            CommandRefused: A command was refused; nothing was written, `put_back` was run.
            DocumentsMoved: An index is not what its guard says; nothing was done.
        """
        contents: dict[str, Mapping[str, Any] | None] = {}
        if head is not None:
            contents["head"] = head.content()
        if catalog is not None:
            contents["indexes"] = catalog_content(catalog)
        if run is not None or end_run:
            # There is always one beside a run: without it nobody knows how far the run is.
            contents["run"], contents["progress"] = run, None if run is None else {}
        elif progress is not None:
            contents["progress"] = progress
        if last_run is not None or end_last_run:
            contents["last_run"] = None if last_run is None else last_run.content()
        commands, put_back = list(commands), list(put_back)
        if commands and not is_one_script(self._server, (*commands, *put_back)):
            self._run_unscripted(commands, put_back)
            commands, put_back, guards = [], [], None
        removed = (self._keys.control,) if end_run else ()
        self._evaluate(
            contents, undo or {}, removed, event or {}, commands, put_back, guards or {}, replaces_damaged
        )

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

    def _evaluate(
        self,
        contents: Mapping[str, Mapping[str, Any] | None],
        undo: Mapping[str, Mapping[str, Any] | None],
        removed: Sequence[str],
        event: Mapping[str, str],
        commands: list[Command],
        put_back: list[Command],
        guards: Mapping[str, tuple[int, int]],
        replaces_damaged: bool,
    ) -> None:
        keys: list[str] = [self._keys.fence, self._keys.journal]
        arguments: list[Any] = [self._token]
        written = dict(self.state.documents)
        for name, content in contents.items():
            version = self.state.documents[name].version
            keys.append(getattr(self._keys, name))
            text = _text(version + 1, content, is_sealed=name in SEALED)
            arguments += [ANY_VERSION if replaces_damaged else version, text]
            written[name] = ABSENT if content is None else StateDocument(version + 1, content)
        if "progress" in contents and "run" not in contents:
            # Its versions begin anew with every revision: one that the server has gone back to may have the
            # same.
            keys.append(self._keys.run)
            arguments += [self.state.documents["run"].version, UNCHANGED]
        for revision, content in undo.items():
            keys.append(self._keys.undo(revision))
            arguments += [ANY_VERSION, _text(1, content, is_sealed=True)]
        for key in removed:
            keys.append(key)
            arguments += [ANY_VERSION, _text(1, None)]
        arguments.insert(1, len(keys) - 2)
        # Names of indexes may hold bytes that are not UTF-8.
        words = [word.encode("utf-8", "surrogateescape") for pair in event.items() for word in pair]
        arguments += [len(words), *words]
        guarded = [(encode(name), *numbers) for name, numbers in guards.items()]
        for group in (commands, put_back, guarded):
            arguments.append(len(group))
            for command in group:
                arguments += [len(command), *command]
        with self._server.translated_errors():
            try:
                self._script(keys=keys, args=arguments)
            except redis.ResponseError as error:
                raise self._explained(error, commands) from error
        self.state = replace(self.state, documents=written)

    def _explained(self, error: redis.ResponseError, commands: list[Command]) -> Exception:
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

    def _run_unscripted(self, commands: list[Command], put_back: list[Command]) -> None:
        if self._server.execute("GET", self._keys.fence) != self._token.encode():
            raise self._explained(redis.ResponseError(FENCED), commands)
        for position, command in enumerate(commands):
            try:
                self._server.execute(*command)
            except redis.ResponseError as error:
                for undo in put_back if position else ():
                    self._ignore_refusal(undo)
                raise CommandRefused(position, str(error), _name(command)) from error

    def _ignore_refusal(self, command: Command) -> None:
        try:
            self._server.execute(*command)
        except redis.ResponseError:
            return


def _text(version: int, content: Mapping[str, Any] | None, *, is_sealed: bool = False) -> bytes:
    """A document as the script takes it; nothing deletes it."""
    return b"" if content is None else render_document(version, content, is_sealed=is_sealed)


def _name(command: Command) -> str:
    """The first two words of a command, for messages."""
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in command[:2]]
    return " ".join(words)
