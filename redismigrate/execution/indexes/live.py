"""The live indexes as a run looks at them: do they exist, and which keys are they about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from threading import Event
from types import MappingProxyType
from typing import cast

import redis

from redismigrate.documents.results_ahead import computed_ahead
from redismigrate.errors import ServerOutOfMemory
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import LiveIndex, list_indexes, read_index, resolve_alias
from redismigrate.redis_server.wire import concerns_one_document
from redismigrate.schema import IndexSchema
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.read import statistics_from_info
from redismigrate.schema.strict import encode

KEY_TYPES = {"hash": "hash", "json": "ReJSON-RL"}
SCAN_COUNT = 1000
# That are sorted together: about 7 MB. The larger the share of all keys, the more of them lie together.
KEYS_PER_PORTION = 100_000
# That are sorted in one go, with the interpreter's lock held: about three milliseconds.
KEYS_PER_SORT = 10_000
# Where a document that is written anew meanwhile can't be asked about in one transaction.
_LOOKS = 5
# Above this a pass per prefix costs more than one over all keys.
MOST_PREFIX_SCANS = 8


def existing_indexes(server: Server) -> frozenset[str]:
    """The names of all indexes, aliases not among them."""
    with server.translated_errors():
        return frozenset(list_indexes(server.ask))


def look_at(server: Server, physical: str) -> LiveIndex | None:
    """An index as it is now; None when there is none of that name, or when it is an alias."""
    with server.translated_errors():
        index = read_index(server.ask, physical)
    return index if index is not None and index.physical == physical else None


def live_schemas(
    server: Server, names: Iterable[str], known: Mapping[str, LiveIndex] = MappingProxyType({})
) -> dict[str, IndexSchema]:
    """The schemas of indexes as they are now; FT.INFO costs about a millisecond each.

    Args:
        server: The connection.
        names: Of the indexes; those that are gone by now are left out.
        known: Those that were looked at already.
    """
    indexes = {name: known.get(name) or look_at(server, name) for name in names}
    return {name: index.schema for name, index in indexes.items() if index is not None}


def alias_target(server: Server, name: str) -> str | None:
    """The physical index that a name is an alias of; None when it is no alias."""
    with server.translated_errors():
        return resolve_alias(server.ask, name)


def count_keys(server: Server, schema: IndexSchema) -> int:
    """How many keys have a prefix and the type that the index is about; FILTER is not looked at."""
    return sum(1 for _ in scan_keys(server, schema))


def scan_keys(
    server: Server, schema: IndexSchema, is_over: Callable[[], bool] = lambda: False
) -> Iterator[bytes]:
    """The keys that an index is about, as SCAN gives them: during a rehash a key may come twice.

    Args:
        server: The connection.
        schema: Tells prefixes and type.
        is_over: Asked after each SCAN whether nobody wants to know any more.
    """
    prefixes = KeyPrefixes.of(schema.prefixes)
    key_type = KEY_TYPES[schema.storage_type]
    patterns = [b"*"]
    if len(prefixes.outermost) <= MOST_PREFIX_SCANS:
        patterns = [escape_pattern(prefix) + b"*" for prefix in prefixes.outermost]
    for pattern in patterns:
        cursor = 0
        while True:
            cursor, keys = scan_some(server, cursor, pattern, key_type)
            yield from keys if pattern != b"*" else filter(prefixes.cover, keys)
            if is_over():
                return
            if not cursor:
                break


def scan_some(
    server: Server,
    cursor: int,
    pattern: bytes = b"*",
    key_type: str | None = None,
    count: int = SCAN_COUNT,
) -> tuple[int, list[bytes]]:
    """One call of SCAN: the next cursor, which is 0 at the end, and some keys."""
    with server.translated_errors():
        following, keys = server.client.scan(cursor, match=pattern, count=count, _type=key_type)
    return int(following), cast("list[bytes]", keys)  # the client does not decode


def batches_of_keys(server: Server, schema: IndexSchema, size: int) -> Iterator[list[bytes]]:
    """The keys that an index is about, in batches; no more than some portions of them are in memory.

    SCAN gives keys in the order of their hashes. Ids are given out in ascending order as a rule, and what was
    written at one time lies together in the server's memory. Commands that meet one document after the other,
    and not each in another part of the memory, take half of the time. So each portion is sorted like numbers.
    """
    # Who stops early must not wait until a portion is full: of few keys among many that takes long.
    is_over = Event()
    portions = _sorted_portions(scan_keys(server, schema, is_over.is_set))
    for portion in computed_ahead(portions, 1, is_over):
        while batch := portion[:size]:
            del portion[:size]
            yield batch


def _sorted_portions(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    while portion := list(islice(keys, KEYS_PER_PORTION)):
        # 9 before 10. To sort each length takes a third of the time of one sort by length and key.
        by_length: dict[int, list[bytes]] = {}
        for key in portion:
            by_length.setdefault(len(key), []).append(key)
        yield [key for length in sorted(by_length) for key in _sorted_in_pieces(by_length[length])]


def _sorted_in_pieces(keys: list[bytes]) -> list[bytes]:
    """The keys in order. One sort would hold up all other threads to its end, an event loop among them."""
    pieces = [sorted(keys[start : start + KEYS_PER_SORT]) for start in range(0, len(keys), KEYS_PER_SORT)]
    while len(pieces) > 1:
        # Two that are sorted are merged, in time that grows with their length alone.
        pieces = [sorted(chain.from_iterable(pieces[at : at + 2])) for at in range(0, len(pieces), 2)]
    return pieces[0]


def not_in_index(server: Server, physical: str, keys: Sequence[bytes]) -> list[bytes]:
    """Those of some keys that an index does not hold.

    INKEYS finds no key with a zero byte (seen on 2.10.5): of those it can't be told, they are passed over.
    """
    keys = [key for key in keys if b"\0" not in key]
    if not keys:
        return []
    members = set(server.execute(*_search_among(physical, keys))[1:])
    return [key for key in keys if key not in members]


def documents_not_in_index(
    server: Server, schema: IndexSchema, physical: str, keys: Sequence[bytes], *, counts_refused: bool = False
) -> list[bytes]:
    """Those of some keys that are documents of the type of an index, and that it does not hold.

    A document that is deleted and written anew meanwhile is either gone or in the index, but who asks for the
    one after the other may see neither. So both are asked in one transaction. Where the server refuses that,
    they are asked several times.

    Args:
        server: The connection.
        schema: Of the index.
        physical: It, complete.
        keys: The keys; of those with a zero byte it can't be told (see `not_in_index`), they are passed over.
        counts_refused: Whether those count whose type the user has no right to ask for.
    """
    wanted = KEY_TYPES[schema.storage_type].encode()
    # Nearly all are in the index as a rule.
    suspects = not_in_index(server, physical, keys)
    if not suspects:
        return []
    with server.translated_errors():
        pipeline = server.client.pipeline(transaction=True)
        pipeline.execute_command(*_search_among(physical, suspects))  # type: ignore[no-untyped-call]
        for key in suspects:
            pipeline.type(key)
        try:
            found, *types = pipeline.execute()
        except redis.ResponseError:  # a right to one key that is missing refuses all
            types = []
    if types:
        members = set(found[1:])
        return [
            key for key, told in zip(suspects, types, strict=True) if told == wanted and key not in members
        ]
    for _ in range(_LOOKS):
        types = types_of(server, suspects, refused=wanted if counts_refused else b"")
        there = [key for key, told in zip(suspects, types, strict=True) if told == wanted]
        suspects = not_in_index(server, physical, there)
    return suspects


def in_complete_index(server: Server, physical: str, keys: Sequence[bytes]) -> list[bytes] | None:
    """Those of some keys that an index holds; None while it is being built, or gone, and that can't be told.

    All questions are one transaction: another client may drop the index and create it anew at any moment. Of
    keys with a zero byte it can't be told (see `not_in_index`); they count as held, rather than be left out.

    Raises:
        ServerOutOfMemory: It lacks documents, or can't answer, because the server is at maxmemory or was.
    """
    if not keys:
        return []
    with server.translated_errors():
        pipeline = server.client.pipeline(transaction=True)
        pipeline.execute_command("FT.INFO", encode(physical))  # type: ignore[no-untyped-call]
        pipeline.execute_command(*_search_among(physical, keys))  # type: ignore[no-untyped-call]
        pipeline.info("memory")
        info, found, memory = pipeline.execute(raise_on_error=False)
    if isinstance(info, redis.ResponseError):
        return None
    statistics = statistics_from_info(info)
    if statistics.is_indexing:
        return None
    if statistics.is_incomplete:
        raise incomplete(physical, statistics.num_docs)
    if isinstance(found, redis.ResponseError):
        with server.translated_errors():
            raise found
    members = set(found[1:])
    is_full = 0 < memory["maxmemory"] <= memory["used_memory"]
    if not members and statistics.num_docs and is_full and server.capabilities.may_answer_with_nothing:
        raise ServerOutOfMemory(
            f"Redis at {server.url} uses more memory than its maxmemory, so it may have left out what "
            f"{physical} holds.",
            "Free memory or raise maxmemory, then run the same command again.",
        )
    return [key for key in keys if key in members or b"\0" in key]


def incomplete(physical: str, documents: int) -> ServerOutOfMemory:
    """The error for an index whose scan the server gave up; it neither goes on nor takes what is written."""
    return ServerOutOfMemory(
        f"Index {physical} is incomplete: it has {documents:,} documents, then the server was at maxmemory"
        " and gave up the scan. It takes none that is written later.",
        "Free memory or raise maxmemory, then have the index built again.",
    )


def _search_among(physical: str, keys: Sequence[bytes]) -> tuple[bytes | str, ...]:
    count = str(len(keys))
    among: tuple[bytes | str, ...] = ("INKEYS", count, *keys, "LIMIT", "0", count)
    # Without it a query that takes longer than the server's setting tells the first it has found as if all.
    return ("FT.SEARCH", encode(physical), "*", "NOCONTENT", *among, "TIMEOUT", "0")


def types_of(server: Server, keys: Sequence[bytes], refused: bytes | None = None) -> list[bytes]:
    """What TYPE tells of some keys.

    Args:
        server: The connection.
        keys: The keys.
        refused: What stands for the type of a key that the user has no right to; None raises the error.
    """
    with server.translated_errors():
        pipeline = server.client.pipeline(transaction=False)
        for key in keys:
            pipeline.type(key)
        found: list[bytes] = []
        for reply in pipeline.execute(raise_on_error=False):
            if not isinstance(reply, Exception):
                found.append(reply)  # the client does not decode
            elif refused is not None and concerns_one_document(reply):
                found.append(refused)
            else:
                raise reply
        return found


def escape_pattern(prefix: bytes) -> bytes:
    """A prefix as a glob that matches just itself."""
    special = b"\\*?[]^"
    return b"".join(b"\\" + bytes([byte]) if byte in special else bytes([byte]) for byte in prefix)
