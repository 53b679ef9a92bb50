"""Which project an index belongs to: one index, one project."""

from __future__ import annotations

import json
from collections.abc import Callable

import redis

from redismigrate.errors import FenceLost, PlanBlocked, StateError
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.redis_server.connection import Server
from redismigrate.state.key_types import require_owners_type
from redismigrate.state.keys import OWNERS_KEY, StateKeys
from redismigrate.state.lua_scripts import FENCED, REPLACE_OWNERS


def read_owners(server: Server) -> dict[str, str]:
    """Served name -> project; StateError when it is damaged."""
    require_owners_type(server)
    return _parse(server.execute("GET", OWNERS_KEY))


class OwnersWriter:
    """Claims and releases indexes on behalf of the holder of a lock."""

    def __init__(self, server: Server, keys: StateKeys, token: str) -> None:
        self._server = server
        self._keys = keys
        self._token = token

    def claim(self, index: str) -> None:
        """Make the index this project's.

        Raises:
            PlanBlocked: It belongs to another project.
            FenceLost: Another process has taken the lock since.
        """

        def change(owners: dict[str, str]) -> None:
            owner = owners.setdefault(index, self._keys.project)
            if owner != self._keys.project:
                raise PlanBlocked(*owned_by_another(index, owner))

        self._update(change)

    def release(self, index: str) -> None:
        """Give the index up, if it is this project's."""

        def change(owners: dict[str, str]) -> None:
            if owners.get(index) == self._keys.project:
                del owners[index]

        self._update(change)

    def _update(self, change: Callable[[dict[str, str]], None]) -> None:
        keys = [OWNERS_KEY] if self._server.capabilities.is_cluster else [OWNERS_KEY, self._keys.fence]
        require_owners_type(self._server)
        while True:
            current = self._server.execute("GET", OWNERS_KEY) or b""
            owners = _parse(current)
            change(owners)
            text = json.dumps(owners, sort_keys=True).encode()
            with self._server.translated_errors():
                try:
                    done = self._server.client.eval(
                        REPLACE_OWNERS, len(keys), *keys, current, text, self._token
                    )
                except redis.ResponseError as error:
                    if FENCED not in str(error):
                        raise
                    raise FenceLost.with_token(self._server.execute("GET", self._keys.fence)) from error
            if done:
                return


def owned_by_another(index: str, owner: str) -> tuple[str, str]:
    """Message and hint for an index of another project."""
    return (
        f"Index {index} belongs to project {owner}.",
        "Migrate it there, or choose another name.",
    )


def _parse(text: bytes | None) -> dict[str, str]:
    try:
        owners = parse_json(text or b"{}")
    except UnreadableDocument:
        owners = None
    if not isinstance(owners, dict) or not all(isinstance(owner, str) for owner in owners.values()):
        raise StateError(
            f"The key {OWNERS_KEY} is damaged: it does not map indexes to projects.",
            "Restore it from a dump of this Redis, or delete it: it only tells projects apart.",
        )
    return owners
