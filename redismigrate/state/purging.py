"""Reads the state for who is about to replace it, be it damaged."""

from __future__ import annotations

from redismigrate.errors import NewerState, StateError
from redismigrate.redis_server.connection import Server
from redismigrate.state.key_types import ALL, require_types
from redismigrate.state.keys import StateKeys
from redismigrate.state.store import ABSENT, State
from redismigrate.state.stored_documents import Head, LastRun, catalog_from_content, parse_document

_CONTENTS = {"head": Head.from_content, "indexes": catalog_from_content, "last_run": LastRun.from_content}


def read_readable_state(server: Server, keys: StateKeys) -> State:
    """All documents of the project that can be read; the others count as absent.

    Raises:
        NewerState: One was written by a newer version, which knows what stands in it.
    """
    names = ("head", "indexes", "run", "progress", "last_run")
    # The others are replaced whatever they are.
    require_types(server, keys, [name for name in ALL if name not in _CONTENTS])
    documents = {}
    for name, text in zip(
        names, server.execute("MGET", *(getattr(keys, name) for name in names)), strict=True
    ):
        try:
            documents[name] = parse_document(getattr(keys, name), text)
            if name in _CONTENTS and documents[name].exists:
                _CONTENTS[name](documents[name].content, getattr(keys, name))
        except NewerState:
            raise
        except StateError:
            documents[name] = ABSENT
    return State(documents, keys)
