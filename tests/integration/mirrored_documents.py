"""Documents whose second forms are made, and followed while an application writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.documents.whole_transform import RewriteDocuments
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.follower import Follower
from redismigrate.execution.documents.beside.marks import fence_of
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.execution.documents.beside.second_forms import SecondField
from redismigrate.execution.documents.traffic.mirroring import Mirror, Synchronised
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.documents.traffic.synchronising import Synchroniser
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.schema.redisvl import schema_from_redisvl
from redismigrate.schema.vector_field import Datatype
from redismigrate.state.fence import Fence

DIMS = 4
FENCE = Fence(b"{redismigrate:shop}:fence", b"7")
MARKS = b"{redismigrate:shop}:copy:"
SECOND = "embedding__8f3a1c9b2d4e"
CONNECTIONS = 3
# What was backed up since the test began that looks at it.
KEPT: list[Replaced] = []
BATCH_SIZE = 50


def schema_of(datatype: str = "float32", dims: int = DIMS, storage_type: str = "hash") -> IndexSchema:
    """Of products whose keys begin with `p:`."""
    attrs = {"algorithm": "flat", "dims": dims, "distance_metric": "l2", "datatype": datatype}
    return schema_from_redisvl(
        {
            "index": {"name": "products", "prefix": "p:", "storage_type": storage_type},
            "fields": [{"name": "embedding", "type": "vector", "attrs": attrs}],
        }
    )


def recoding(before: Datatype = "FLOAT32", after: Datatype = "FLOAT16", dims: int = DIMS) -> Recoding:
    """Of the field `embedding`."""
    return Recoding("embedding", dims, "L2", before, after)


def second_fields(
    before: Datatype = "FLOAT32", after: Datatype = "FLOAT16", dims: int = DIMS
) -> SecondFields:
    """A second field beside `embedding`."""
    field = SecondField.of(recoding(before, after, dims), SECOND, {})
    return SecondFields(schema_of(before.lower(), dims), (field,))


def copies(
    renames: tuple[PathRename, ...] = (), recodings: tuple[Recoding, ...] = (), storage_type: Any = "hash"
) -> Copies:
    """Copies of `p:*` called `q:*`."""
    rewrite = Rewrite(storage_type, recodings=recodings, renames=renames)
    there = tuple(each.reversed() for each in recodings)
    back = Rewrite(storage_type, recodings=there, renames=rewrite.moves_reversed().renames)
    return Copies(
        schema_of(storage_type=storage_type),
        storage_type,
        (PrefixChange("p:", "q:"),),
        RewriteDocuments.of(rewrite, {}),
        MARKS,
        back=RewriteDocuments.of(back, {}),
        fence=fence_of(FENCE.token),
        keep=KEPT.extend,
    )


class Interrupted(Exception):
    """Ends a pass as kill -9 does: what it had not written yet is not written."""


def synchronise(server: Server, mirror: Mirror, stop_after: int | None = None) -> Synchronised:
    """One pass over all documents; it is interrupted when so many batches are done."""
    batches = 0

    def count(_: int) -> None:
        nonlocal batches
        batches += 1
        if batches == stop_after:
            raise Interrupted

    with Synchroniser(Node(server, FENCE), CONNECTIONS, BATCH_SIZE, count) as synchroniser:
        return synchroniser.synchronise(mirror, mirror.keys(server))


def follow_at_work(
    server: Server, client: redis.Redis, mirror: Mirror, application: Callable[[], Any], seconds: float
) -> Synchronised:
    """Follow an application from its first write to its last, with the tracker's connection killed half way.

    Args:
        server: The connection that follows.
        client: Another one.
        mirror: What is followed.
        application: A context in which it writes.
        seconds: For how long it writes.

    Returns:
        What a last look at all documents finds.
    """
    with (
        Synchroniser(Node(server, FENCE), CONNECTIONS, BATCH_SIZE) as synchroniser,
        Follower(Node(server, FENCE), mirror, synchroniser) as follower,
    ):
        with application():
            follower.synchronise_all()
            assert not follower.is_behind
            follow_for(follower, seconds / 2)
            kill_trackers(client)
            while not follower.is_behind:
                time.sleep(0.01)
            time.sleep(0.1)
            follower.follow()
            assert not follower.is_behind
            follow_for(follower, seconds / 2)
            follower.settle("products", rounds=3)
        settled = follower.settle("products")
        assert settled.remaining == frozenset()
    return synchronise(server, mirror)


def follow_for(follower: Follower, seconds: float) -> None:
    """Follow again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        follower.follow()
        time.sleep(0.02)


def kill_trackers(client: redis.Redis) -> None:
    """Cut the connections on which the server reports writes."""
    for connection in client.client_list():
        if "t" in connection["flags"]:
            client.client_kill_filter(_id=connection["id"])


def create_index(client: redis.Redis, datatype: str = "FLOAT32", dims: int = DIMS) -> None:
    """The old index."""
    vector = ("VECTOR", "FLAT", 6, "TYPE", datatype, "DIM", dims, "DISTANCE_METRIC", "L2")
    command = ("FT.CREATE", "products", "PREFIX", 1, "p:", "SCHEMA", "embedding", *vector)
    client.execute_command(*command)
    while int(
        dict(zip(*[iter(client.execute_command("FT.INFO", "products"))] * 2, strict=False))[b"indexing"]
    ):
        time.sleep(0.01)
