"""The Redis that tests migrate: a private one, or one of others, where only what is recorded is removed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from redismigrate.commands.project import Project
from redismigrate.commands.recording import record_upgrades
from redismigrate.errors import ConfigurationError, ScriptError, StateError
from redismigrate.execution.indexes.live import escape_pattern, existing_indexes
from redismigrate.execution.run import Run
from redismigrate.redis_server.connection import Server, connect
from redismigrate.redis_server.embedded import embedded_from_url
from redismigrate.schema.definition import Catalog
from redismigrate.schema.strict import encode, readable
from redismigrate.state.keys import OWNERS_KEY, StateKeys
from redismigrate.state.owners import read_owners
from redismigrate.state.store import read_state
from redismigrate.testing.snapshot import keys_outside_state, state_prefix

URL_VARIABLE = "REDISMIGRATE_TEST_URL"
WORKERS_VARIABLE = "PYTEST_XDIST_WORKER_COUNT"
_NAMED_KEYS = 3


@dataclass(frozen=True)
class ScratchServer:
    """A Redis for tests.

    Attributes:
        url: Where it is.
        is_private: Whether it was started for this process, so that all of it may be emptied.
    """

    url: str
    is_private: bool


class ScratchProject(Project):
    """A project on the server of the tests, whatever Redis its `env.py` connects to."""

    def connect(self) -> Server:
        """A connection to the server that the settings name; the tests have put theirs there."""
        return connect(self.settings.url, self.settings.tls)

    def read_anew(self) -> Self:
        """The same project as the next process meets it, with the scripts not read yet."""
        return type(self)(self.settings, self.x)


@contextmanager
def scratch_server() -> Iterator[ScratchServer]:
    """An embedded server, or that of `REDISMIGRATE_TEST_URL`.

    Raises:
        EmbeddedServerUnavailable: No server with Search starts on this machine.
        ConfigurationError: Several workers of pytest-xdist would share the one server of the variable, or it
            is wrong.
    """
    url = os.environ.get(URL_VARIABLE) or "embedded://"
    if url.startswith("embedded:"):
        with embedded_from_url(url) as embedded:
            # What is kept in a folder may be somebody's.
            yield ScratchServer(embedded.url, is_private=embedded.data_dir is None)
        return
    if int(os.environ.get(WORKERS_VARIABLE, "1")) > 1:
        raise ConfigurationError(
            f"{URL_VARIABLE} names one server, which several workers of pytest-xdist would share.",
            "Run these tests with -n 0, or unset the variable: then each worker starts a server of its own.",
        )
    yield ScratchServer(url, is_private=False)


def prepare(scratch: ScratchServer, server: Server, keys: StateKeys, prefixes: tuple[str, ...]) -> None:
    """Empty a private server; refuse another one that holds what a migration of the project could touch.

    Args:
        scratch: The server.
        server: A connection to it.
        keys: Of the project.
        prefixes: Of the keys that a migration may touch; none: any key.

    Raises:
        StateError: It holds an index, a key of the project's state, or a document of one of its indexes.
    """
    if scratch.is_private:
        server.client.flushall()
        return
    indexes = sorted(existing_indexes(server))
    found = [f"index {readable(name)}" for name in indexes]
    found += [f"key {readable(key)}" for key in sorted(_state_keys(server, keys))]
    found += [f"key {readable(key)}" for key in sorted(keys_outside_state(server, keys, prefixes))]
    if found:
        more = f" and {len(found) - _NAMED_KEYS} more" if len(found) > _NAMED_KEYS else ""
        raise StateError(
            f"{server.url} can't be used for tests: it holds {', '.join(found[:_NAMED_KEYS])}{more}, which "
            "these tests have not made and a migration could change.",
            f"Let {URL_VARIABLE} name an empty Redis, or unset it. Documents of a test are removed after it "
            "if it writes them with `insert_documents`.",
        )


def clean_up(
    scratch: ScratchServer,
    server: Server,
    keys: StateKeys,
    prefixes: tuple[str, ...],
    inserted: Iterable[bytes],
) -> None:
    """Remove what a test has made: all of a private server, else only what is recorded as made by it.

    That is the state of the project, the indexes that the state names, and the documents inserted by the
    test, also under the prefix to which a migration has moved them.

    Args:
        scratch: The server.
        server: A connection to it.
        keys: Of the project.
        prefixes: Of the keys that a migration may touch.
        inserted: The keys of the documents.
    """
    if scratch.is_private:
        server.client.flushall()
        return
    for name in sorted(_recorded_indexes(server, keys) & existing_indexes(server)):
        server.execute("FT.DROPINDEX", encode(name))
    owners = {name: owner for name, owner in read_owners(server).items() if owner != keys.project}
    removed = {*_state_keys(server, keys), *_moved(inserted, prefixes)}
    if owners:
        server.client.set(OWNERS_KEY, json.dumps(owners, sort_keys=True))
    else:
        removed.add(OWNERS_KEY.encode())
    if removed:
        server.client.delete(*removed)


def prefixes_of(project: Project) -> tuple[str, ...]:
    """Of all keys that a migration of the project may touch; none: any key, as far as can be told."""
    prefixes: dict[str, None] = {}
    catalog = Catalog()
    try:
        recorded = record_upgrades(project.history, tuple(project.history), catalog, None)
    except ScriptError:
        return ()  # for example a history that changes an index which no revision creates
    for item in recorded:
        catalog = item.apply(catalog)
        for definition in catalog.values():
            if not definition.schema.prefixes:
                return ()
            prefixes.update(dict.fromkeys(definition.schema.prefixes))
    return tuple(prefixes)


def _state_keys(server: Server, keys: StateKeys) -> frozenset[bytes]:
    pattern = escape_pattern(encode(state_prefix(keys))) + b"*"
    return frozenset(server.client.scan_iter(pattern, count=1000))


def _recorded_indexes(server: Server, keys: StateKeys) -> set[str]:
    state = read_state(server, keys)
    names = {definition.physical for definition in state.catalog.values()}
    if state.run is not None:
        run = Run.from_content(state.run, keys)
        for step in (*run.plan.steps, *run.undo):
            names |= {definition.physical for definition in (step.before, step.after) if definition}
    return names


def _moved(inserted: Iterable[bytes], prefixes: Iterable[str]) -> Iterator[bytes]:
    """Keys, and what they are called where a prefix is changed to another one."""
    known = [encode(prefix) for prefix in prefixes]
    for key in inserted:
        yield key
        for old in known:
            if key.startswith(old):
                yield from (new + key.removeprefix(old) for new in known)
