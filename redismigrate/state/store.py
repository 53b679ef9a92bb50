"""Reading the state, and writing it in transactions that take Redis Search commands along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import redis

from redismigrate.errors import CommandRefused, FenceLost, RunInterrupted
from redismigrate.redis_server.connection import Server
from redismigrate.state.documents import (
    Document,
    Head,
    catalog_content,
    catalog_from_content,
    parse_document,
    render_document,
)
from redismigrate.state.keys import StateKeys
from redismigrate.state.scripts import CONFLICT, FENCED, REFUSED, TRANSACTION

if TYPE_CHECKING:
    from redismigrate.schema.definition import Catalog

# Lua's unpack() fails above some 8,000 arguments; FT.CREATE with many prefixes and fields can have more.
LONGEST_SCRIPTED_COMMAND = 7000

Command = Sequence[bytes | str]


@dataclass(frozen=True)
class State:
    """The documents of a project at one moment."""

    documents: Mapping[str, Document]

    @cached_property
    def head(self) -> Head:
        """The applied revisions."""
        return Head.from_content(self.documents["head"].content)

    @cached_property
    def catalog(self) -> Catalog:
        """The indexes as recorded."""
        return catalog_from_content(self.documents["indexes"].content)

    @property
    def run(self) -> Mapping[str, Any] | None:
        """The run in progress, as its document says; None when there is none."""
        document = self.documents["run"]
        return document.content if document.exists else None

    @property
    def exists(self) -> bool:
        """Whether anything was ever recorded."""
        return any(document.exists for document in self.documents.values())


def is_one_script(server: Server, commands: Iterable[Command]) -> bool:
    """Whether commands can be sent in one script with the note that they are done."""
    longest = max((len(command) for command in commands), default=0)
    return server.capabilities.runs_search_in_scripts and longest <= LONGEST_SCRIPTED_COMMAND


def read_state(server: Server, keys: StateKeys) -> State:
    """All documents of the project in one round trip."""
    names = {"head": keys.head, "indexes": keys.indexes, "run": keys.run}
    texts = server.execute("MGET", *names.values())
    return State(
        {name: parse_document(key, text) for (name, key), text in zip(names.items(), texts, strict=True)}
    )


class StateWriter:
    """Writes the state on behalf of the holder of a lock.

    Args:
        server: The connection.
        keys: The project's keys.
        token: The fencing token that the lock gave.
        state: The state as read after the lock was taken.
    """

    def __init__(self, server: Server, keys: StateKeys, token: int, state: State) -> None:
        self._server = server
        self._keys = keys
        self._token = str(token)
        self._script = server.client.register_script(TRANSACTION)
        self.state = state

    @property
    def token(self) -> str:
        """The fencing token, for names that must never come twice."""
        return self._token

    def transact(
        self,
        *,
        head: Head | None = None,
        catalog: Catalog | None = None,
        run: Mapping[str, Any] | None = None,
        end_run: bool = False,
        event: Mapping[str, str] | None = None,
        commands: Iterable[Command] = (),
        put_back: Iterable[Command] = (),
    ) -> None:
        """Run commands and write documents: all of it or nothing.

        Where they can't be one script (see `is_one_script`), commands come first, each on its own: steps must
        bear a repeat of their commands.

        Args:
            head: The new head document, None to leave it.
            catalog: The new indexes document, None to leave it.
            run: The new run document, None to leave it.
            end_run: Delete the run document.
            event: What the journal gets.
            commands: Redis Search commands, run in order before anything is written.
            put_back: Commands that undo the first ones when a later one is refused; their errors are ignored.

        Raises:
            FenceLost: Another process has taken the lock since.
            RunInterrupted: The state was changed by another process.
            CommandRefused: A command was refused; nothing was written, `put_back` was run.
        """
        contents: dict[str, Mapping[str, Any] | None] = {}
        if head is not None:
            contents["head"] = head.content()
        if catalog is not None:
            contents["indexes"] = catalog_content(catalog)
        if run is not None or end_run:
            contents["run"] = run
        commands, put_back = list(commands), list(put_back)
        if commands and not is_one_script(self._server, (*commands, *put_back)):
            self._run_unscripted(commands, put_back)
            commands, put_back = [], []
        self._evaluate(contents, event or {}, commands, put_back)

    def _evaluate(
        self,
        contents: Mapping[str, Mapping[str, Any] | None],
        event: Mapping[str, str],
        commands: list[Command],
        put_back: list[Command],
    ) -> None:
        keys: list[str] = [self._keys.fence, self._keys.journal]
        arguments: list[Any] = [self._token, len(contents)]
        written = dict(self.state.documents)
        for name, content in contents.items():
            version = self.state.documents[name].version
            keys.append(getattr(self._keys, name))
            arguments += [version, b"" if content is None else render_document(version + 1, content)]
            written[name] = Document(0, {}) if content is None else Document(version + 1, content)
        # Names of indexes may hold bytes that are not UTF-8.
        words = [word.encode("utf-8", "surrogateescape") for pair in event.items() for word in pair]
        arguments += [len(words), *words]
        for group in (commands, put_back):
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
            return FenceLost(
                "Another process has taken over the lock of this project; this one stops.",
                "Look with `redismigrate status`; run the same command again to resume what is unfinished.",
            )
        if CONFLICT in text:
            return RunInterrupted(
                f"The state was changed by another process ({text.rpartition(' ')[2]}).",
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


def _name(command: Command) -> str:
    """The first two words of a command, for messages."""
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in command[:2]]
    return " ".join(words)
