"""What of a project is left on a server on which nothing of it is applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import list_indexes, resolve_alias
from redismigrate.schema.strict import readable
from redismigrate.state.keys import StateKeys
from redismigrate.state.owners import read_owners
from redismigrate.state.store import read_state
from redismigrate.testing.snapshot import keys_outside_state


def traces_of(
    server: Server,
    keys: StateKeys,
    aliases: Iterable[str],
    prefixes: Iterable[str],
    documents: Iterable[bytes],
) -> Iterator[str]:
    """What a downgrade to the base should have removed, one line each.

    Args:
        server: The connection.
        keys: Of the project.
        aliases: The names that led to indexes while these existed.
        prefixes: Of the keys to look at; none: all keys.
        documents: The keys of documents that were there before.
    """
    execute, state = server.client.execute_command, read_state(server, keys)
    yield from (
        f"revision {revision} is still recorded as applied" for revision in sorted(state.head.applied)
    )
    yield from (f"index {name} is still recorded" for name in sorted(state.catalog))
    yield from (f"index {name} exists" for name in list_indexes(execute))
    for alias in sorted(set(aliases)):
        target = resolve_alias(execute, alias)
        if target is not None:
            yield f"alias {alias} leads to index {target}"
    if state.run is not None:
        yield f"run {state.run.get('id')} is unfinished"
    owners = read_owners(server)
    yield from (f"index {name} is still owned" for name, owner in owners.items() if owner == keys.project)
    left = keys_outside_state(server, keys, prefixes) - set(documents)
    yield from (f"key {readable(key)} exists" for key in sorted(left))
