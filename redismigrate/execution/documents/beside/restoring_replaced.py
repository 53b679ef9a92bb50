"""Puts originals that newer copies have replaced back under their keys, where nothing is there by now."""

from __future__ import annotations

import redis

from redismigrate.backup.backup import Backup
from redismigrate.backup.replaced_documents import replaced_in
from redismigrate.documents.failures import Restored
from redismigrate.documents.whole import Found
from redismigrate.execution.documents.traffic.node import Node, Nodes
from redismigrate.execution.documents.traffic.whole_documents import commands_between
from redismigrate.redis_server.wire import concerns_one_document
from redismigrate.schema.fields import StorageType
from redismigrate.schema.strict import readable

THERE = "a key of that name is there; left as it is"


def restore_replaced(nodes: Nodes, backup: Backup, storage_type: StorageType) -> Restored:
    """Put originals back; of several of one key the newest.

    Args:
        nodes: Where the documents are; the fence of a document's node is checked with it.
        backup: Of originals that were replaced.
        storage_type: Of the documents.

    Raises:
        BackupDamaged: A chunk is not as it was written.
        FenceLost: Another process has taken over the lock.
        RedisMigrateError: The server can't be reached or used.
    """
    newest: dict[bytes, Found] = {}
    for chunk in backup.chunks():
        newest |= {each.key: each.original for each in replaced_in(backup, chunk, storage_type)}
    restored = Restored()
    for key, original in newest.items():
        reason = _put(nodes.of((key,)), key, original)
        if reason is None:
            restored.documents += 1
        else:
            restored.left.add(key, reason)
    return restored


def _put(node: Node, key: bytes, original: Found) -> str | None:
    """Write a document where nothing is; why it could not be written."""
    server, fence = node.server, node.fence
    with server.translated_errors():
        pipeline = server.client.pipeline()
        try:
            pipeline.watch(fence.key, key)  # type: ignore[no-untyped-call]
            fence.require(pipeline.get(fence.key))
            if pipeline.exists(key):
                return THERE
            pipeline.multi()
            for command in commands_between(key, Found(), original):
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            pipeline.execute()
        except redis.WatchError:
            return THERE
        except redis.ResponseError as error:
            if not concerns_one_document(error):
                raise
            return f"the server refused it: {readable(str(error))}"
        finally:
            pipeline.reset()
    return None
