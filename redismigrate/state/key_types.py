"""Keys of the state that are of another type than ours: one error that names key, type and way out."""

from __future__ import annotations

from collections.abc import Iterable

from redismigrate.errors import StateError
from redismigrate.foreign_text import shell_command
from redismigrate.redis_server.capabilities import BUILD_SLEEP_SETTING
from redismigrate.redis_server.connection import Server
from redismigrate.state.keys import OWNERS_KEY, StateKeys

# What is lost with a key that can be deleted.
_LOST = {
    "control": "the run keeps to the limits that it was begun with",
    "follower": "whoever follows gives a sign of life again",
    "while_expanded": "what became of documents while a revision was expanded is counted anew",
    "lock": "who works on the project says so again",
    "fence": "who works on the project stops",
    "journal": "what happened so far is forgotten",
    "last_run": "the run that finished last can't be rolled back any more",
}
_STREAMS = frozenset({"journal"})
RECORD = ("head", "indexes")
RUN = ("run", "progress")
ALL = (*RECORD, *RUN, *_LOST)


def require_types(server: Server, keys: StateKeys, names: Iterable[str] = ALL) -> None:
    """Refuse to work where a key is of another type than it has to be.

    Args:
        server: The connection.
        keys: The project's keys.
        names: Which keys to look at, as attributes of `StateKeys`.

    Raises:
        StateError: One is.
    """
    names = tuple(names)
    with server.translated_errors():
        pipeline = server.client.pipeline(transaction=False)
        for name in names:
            pipeline.type(getattr(keys, name))
        types = pipeline.execute()
    for name, found in zip(names, types, strict=True):
        wanted = "stream" if name in _STREAMS else "string"
        if found.decode() not in {wanted, "none"}:
            raise wrong_type(getattr(keys, name), found.decode(), wanted, _way_out(keys, name))


def wrong_type(key: str, found: str, wanted: str, way_out: str) -> StateError:
    """The error for a key of another type.

    Args:
        key: The key.
        found: Its type.
        wanted: What it has to be.
        way_out: What to do about it, sentences.
    """
    article = "an" if found[:1] in "aeiou" else "a"
    return StateError(
        f"The key {key} is {article} {found}, where redismigrate keeps a {wanted}: something else wrote it.",
        way_out,
    )


def require_owners_type(server: Server) -> None:
    """Refuse to work where the key of the owners is of another type.

    Raises:
        StateError: It is.
    """
    found = server.execute("TYPE", OWNERS_KEY).decode()
    if found not in {"string", "none"}:
        way_out = f"Delete it with {delete_command(OWNERS_KEY)}: it only tells projects apart."
        raise wrong_type(OWNERS_KEY, found, "string", way_out)


def delete_command(*keys: str) -> str:
    """How to delete keys, as it is typed."""
    return f"`{shell_command('redis-cli', 'DEL', *keys)}`"


def way_out_of_run(keys: StateKeys) -> str:
    """What to do where the record of a run is lost, as to what it was about to do or how far it was."""
    return (
        "Restore it from a dump of this Redis. Without one, give the run up: "
        f"{delete_command(*_of_run(keys))}, drop the indexes that `redismigrate check` then says are left or "
        "differ (`redis-cli FT.DROPINDEX`; documents stay), `redismigrate backup restore --run RUN` with the "
        "run of the newest backup, if it made one, and `redismigrate repair`. Where the run had slowed down "
        f"the server's own build, `{shell_command('redis-cli', 'CONFIG', 'GET', BUILD_SLEEP_SETTING)}` shows "
        "more than before it: set that back with CONFIG SET. Once its new index has the name, only a dump "
        "helps."
    )


def _of_run(keys: StateKeys) -> tuple[str, ...]:
    return tuple(getattr(keys, name) for name in RUN)


def _way_out(keys: StateKeys, name: str) -> str:
    if name in RUN:
        return way_out_of_run(keys)
    if name in RECORD:
        return (
            "Restore it from a dump of this Redis, or replace it with `redismigrate stamp REV --purge`: REV "
            "is the revision that the indexes are at."
        )
    return f"Look who wrote it, then delete it with {delete_command(getattr(keys, name))}: {_LOST[name]}."
