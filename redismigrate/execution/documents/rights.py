"""Asks for the rights that rewriting needs, before anything is done: without them it would stop half way."""

from __future__ import annotations

from contextlib import closing

from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.documents.job import RewriteJob
from redismigrate.execution.documents.wire import Wire, raise_refusal, render
from redismigrate.schema.strict import encode

# ARGV: a key, then the names of commands. Answers the first one that the user may not run on that key, which
# stands for every argument: some commands take several keys. Before Redis 7.0 a script can't ask.
_FORBIDDEN = b"""
if not redis.acl_check_cmd then return false end
for i = 2, #ARGV do
  local key = ARGV[1]
  local is_known, is_allowed = pcall(redis.acl_check_cmd, ARGV[i], key, key, key, key, key)
  if is_known and not is_allowed then return ARGV[i] end
end
return false
"""
_HASH_COMMANDS = (b"HMGET", b"HSET", b"HSTRLEN")
_SHOWING = b"HRANDFIELD"
_EXPIRY_COMMANDS = (b"HPEXPIRETIME", b"HPEXPIREAT")
_PINNING = (b"HRANDFIELD", b"HPEXPIRETIME", b"HPEXPIRE", b"HPERSIST")
_MOVING = {
    "hash": (b"EXISTS", b"TYPE", b"HMGET", b"HSET", b"HDEL", b"HEXISTS", b"HGET", b"HSETNX"),
    "json": (b"EXISTS", b"TYPE", b"JSON.GET", b"JSON.SET", b"JSON.DEL"),
}
# A sentinel, too, is written under a prefix that is tracked.
_FOLLOWING = (b"PEXPIRETIME", b"PEXPIREAT", b"PERSIST", b"SET", b"DEL")
_BESIDE = {
    "hash": (*_FOLLOWING, b"HGETALL", b"HMGET", b"HSET", b"HDEL"),
    "json": (*_FOLLOWING, b"JSON.GET", b"JSON.SET"),
}


def require_rights(job: RewriteJob, *, shows_documents: bool = False, is_beside: bool = False) -> None:
    """Raise unless the user may do what the rewrite will do.

    Args:
        job: The rewrite.
        shows_documents: Whether the documents are shown to their new index one by one.
        is_beside: Whether they get a second form beside the first, and writers are followed.

    Raises:
        AuthenticationFailed: A right is missing.
    """
    rewrite = job.rewrite
    commands = set(_HASH_COMMANDS if rewrite.recodings else ())
    if rewrite.moves:
        commands |= set(_MOVING[rewrite.storage_type])
    if rewrite.prefixes:
        commands |= {b"COPY", b"DEL"} if job.meets_other_storage_type() else {b"RENAMENX"}
    if not is_beside and job.may_lose_names():
        commands |= set(_PINNING)
    if shows_documents:
        commands |= {_SHOWING, b"HSET"}
    if rewrite.storage_type == "hash" and job.has_expiring_fields():
        commands |= set(_EXPIRY_COMMANDS)
    if is_beside:
        commands |= set(_BESIDE[rewrite.storage_type])
    prefixes = [*job.schema.prefixes, *(change.new for change in rewrite.prefixes)] or [""]
    with job.server.translated_errors(), closing(Wire(job.server.client)) as wire:
        transaction = [(b"WATCH", job.fence.key), (b"UNWATCH",), (b"MULTI",), (b"EXEC",)]
        if is_beside:
            transaction.append((b"CLIENT", b"TRACKING", b"OFF"))
        wire.send(b"".join(render(*command) for command in transaction))
        raise_refusal(*wire.receive(len(transaction)))
        for prefix in prefixes:
            wire.send(render(b"EVAL", _FORBIDDEN, b"0", encode(prefix), *sorted(commands)))
            (forbidden,) = wire.receive(1)
            raise_refusal(forbidden)
            if forbidden is not None:
                raise AuthenticationFailed(
                    f"The Redis user lacks the right to run {forbidden.decode()} on keys {prefix}*.",
                    "Grant it with ACL SETUSER, or migrate as another user.",
                )
