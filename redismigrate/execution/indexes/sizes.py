"""What an index and its documents take of the server's memory, by a sample."""

from __future__ import annotations

from contextlib import suppress
from statistics import mean

import redis

from redismigrate.errors import AuthenticationFailed, RedisMigrateError
from redismigrate.execution.indexes.live import look_at
from redismigrate.redis_server.connection import Server
from redismigrate.schema.strict import encode

MEASURED_DOCUMENTS = 100


def sizes_of(server: Server, physical: str) -> tuple[int | None, int | None]:
    """What an index and its documents take; None where the server does not tell, or not any more.

    Args:
        server: The connection.
        physical: The index.
    """
    with suppress(RedisMigrateError, redis.RedisError):
        live = look_at(server, physical)
        if live is not None:
            count = live.statistics.num_docs
            return live.statistics.size_bytes, bytes_of_documents(server, physical, count)
    return None, None


def bytes_of_documents(server: Server, physical: str, documents: int) -> int | None:
    """What the documents of an index take in memory, about; some milliseconds, however many they are.

    Args:
        server: The connection.
        physical: The index.
        documents: How many it has.

    Returns:
        None where the server does not tell, or not to this user.
    """
    if not documents:
        return 0
    if server.profile == "managed":
        return None  # MEMORY is not even tried there
    # FT.AGGREGATE stops at LIMIT; FT.SEARCH would look at every document to count them.
    query = ("*", "LOAD", "1", "@__key", "LIMIT", "0", str(MEASURED_DOCUMENTS))
    try:
        reply = server.execute("FT.AGGREGATE", encode(physical), *query)
        keys = [row[1] for row in reply[1:] if isinstance(row, list) and len(row) > 1]
        pipeline = server.client.pipeline(transaction=False)
        for key in keys:
            pipeline.execute_command("MEMORY", "USAGE", key)  # type: ignore[no-untyped-call]
        with server.translated_errors():
            told = pipeline.execute(raise_on_error=False)
    except (redis.ResponseError, AuthenticationFailed):
        return None
    sizes = [size for size in told if isinstance(size, int)]
    return round(mean(sizes) * documents) if sizes else None
