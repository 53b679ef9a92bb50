"""Asks for the rights that rewriting needs, before anything is done: without them it would stop half way.

A right that lacks for the command, or for all keys, ends the run before it begins. One that lacks for some
keys only is a matter of their documents: they are found by the pass that backs up, and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing

from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.documents.in_place.job import RewriteJob
from redismigrate.execution.documents.traffic.reading import documents_on
from redismigrate.redis_server.wire import Wire, raise_refusal, render
from redismigrate.schema.strict import encode, readable_key

# ARGV: how many commands, their names, then keys. Answers for each key the number of the first command that
# the user may not run on it, which stands for every argument: some commands take several keys. 0 where there
# is none. The keys are names only, and no KEYS: those the user had to have a right to. Before Redis 7.0 a
# script can't ask.
_FORBIDDEN = b"""
local answers, count, check = {}, tonumber(ARGV[1]), redis.acl_check_cmd
for i = count + 2, #ARGV do
  local key, found = ARGV[i], 0
  for at = 1, check and count or 0 do
    local is_known, is_allowed = pcall(check, ARGV[1 + at], key, key, key, key, key)
    if is_known and not is_allowed then
      found = at
      break
    end
  end
  answers[#answers + 1] = found
end
return answers
"""
# Documents, before a right that lacks for a prefix counts as one that lacks for all of its keys.
LOOKED_AT = 500
_RECODING = {
    "hash": (b"HMGET", b"HSET", b"HSTRLEN"),
    "json": (b"JSON.GET", b"JSON.SET", b"JSON.ARRLEN"),
}
_SHOWING = b"HRANDFIELD"
_EXPIRY_COMMANDS = (b"HPEXPIRETIME", b"HPEXPIREAT")
_PINNING = (b"HRANDFIELD", b"HPEXPIRETIME", b"HPEXPIRE", b"HPERSIST")
_MOVING = {
    "hash": (b"EXISTS", b"TYPE", b"HMGET", b"HSET", b"HDEL", b"HEXISTS", b"HGET", b"HSETNX"),
    "json": (b"EXISTS", b"TYPE", b"JSON.GET", b"JSON.SET", b"JSON.DEL"),
}
_DROPPING = {
    "hash": (b"HLEN", b"HMGET", b"HSET", b"HDEL"),
    "json": (b"JSON.GET", b"JSON.SET", b"JSON.DEL"),
}
# A sentinel, too, is written under a prefix that is tracked.
_FOLLOWING = (b"PEXPIRETIME", b"PEXPIREAT", b"PERSIST", b"SET", b"DEL")
_BESIDE = {
    "hash": (*_FOLLOWING, b"HGETALL", b"HMGET", b"HSET", b"HDEL"),
    "json": (*_FOLLOWING, b"JSON.GET", b"JSON.SET", b"JSON.DEL"),
}
# A document steps aside under another name while one of the other type takes its place.
_CHANGING_TYPE = (b"RENAME",)


def require_rights(job: RewriteJob, *, shows_documents: bool = False, is_beside: bool = False) -> None:
    """Raise unless the user may do what the rewrite will do.

    A right that lacks for some keys only is no reason, see `KeyRights`, unless documents get a second form.

    Args:
        job: The rewrite.
        shows_documents: Whether the documents are shown to their new index one by one.
        is_beside: Whether they get a second form beside the first, and writers are followed.

    Raises:
        AuthenticationFailed: A right is missing.
    """
    commands = _commands(job, shows_documents=shows_documents, is_beside=is_beside)
    prefixes = [*job.schema.prefixes, *(change.new for change in job.rewrite.prefixes)] or [""]
    with job.server.translated_errors(), closing(Wire(job.server.client)) as wire:
        transaction = [(b"WATCH", job.nodes.home.fence.key), (b"UNWATCH",), (b"MULTI",), (b"EXEC",)]
        if is_beside:
            transaction.append((b"CLIENT", b"TRACKING", b"OFF"))
        wire.send(b"".join(render(*command) for command in transaction))
        raise_refusal(*wire.receive(len(transaction)))
        for prefix, command in zip(prefixes, _forbidden(wire, commands, map(encode, prefixes)), strict=True):
            if command is None:
                continue
            # The keys of the state are the user's.
            (is_of_command,) = _forbidden(wire, (command,), (job.nodes.home.fence.key,))
            if is_beside or is_of_command is not None or not _may_write_some(job, wire, commands):
                raise AuthenticationFailed(
                    f"The Redis user lacks the right to run {command.decode()} on keys {prefix}*.",
                    "Grant it with ACL SETUSER, or migrate as another user.",
                )


class KeyRights:
    """Tells of which documents a user who may write most of them lacks a right; owns a connection.

    Args:
        job: The rewrite.
        shows_documents: Whether the documents are shown to their new index one by one.
    """

    def __init__(self, job: RewriteJob, *, shows_documents: bool = False) -> None:
        self._server = job.server
        self._mover = job.mover()
        self._commands = _commands(job, shows_documents=shows_documents)
        with job.server.translated_errors():
            self._wire = Wire(job.server.client)
            with ExitStack() as opened:
                opened.callback(self._wire.close)
                self._has_all = _may_use_all_keys(self._wire)
                opened.pop_all()

    def lacking(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Those of some documents that the user may not rewrite, with the reason.

        Args:
            keys: Of the documents.
        """
        if self._has_all or not keys or not self._commands:
            return {}
        targets = keys if self._mover is None else list(map(self._mover.target, keys))
        with self._server.translated_errors():
            found = dict(zip(keys, _forbidden(self._wire, self._commands, keys), strict=True))
            moved = [(key, target) for key, target in zip(keys, targets, strict=True) if key != target]
            answers = _forbidden(self._wire, self._commands, [target for _, target in moved])
        reasons = {
            key: f"the Redis user lacks the right to run {command.decode()} on this key"
            for key, command in found.items()
            if command is not None
        }
        for (key, target), command in zip(moved, answers, strict=True):
            if command is not None:
                reason = f"the Redis user lacks the right to run {command.decode()} on {readable_key(target)}"
                reasons.setdefault(key, reason)
        return reasons

    def close(self) -> None:
        """Close the connection over which rights are asked for."""
        self._wire.close()


def _commands(
    job: RewriteJob, *, shows_documents: bool = False, is_beside: bool = False
) -> tuple[bytes, ...]:
    """What the rewrite runs on documents."""
    rewrite = job.rewrite
    commands = set(_RECODING[rewrite.storage_type] if rewrite.recodings else ())
    if rewrite.moves:
        commands |= set(_MOVING[rewrite.storage_type])
    if rewrite.storage is not None and not is_beside:
        commands |= {*_CHANGING_TYPE, *_BESIDE["hash"], *_BESIDE["json"]}
    if rewrite.dropped:
        commands |= set(_DROPPING[rewrite.storage_type])
    if rewrite.prefixes:
        commands |= {b"COPY", b"DEL"} if job.meets_other_storage_type() else {b"RENAMENX"}
    if not is_beside and job.may_lose_names():
        commands |= set(_PINNING)
    if shows_documents:
        commands |= {_SHOWING, b"HSET"}
    if rewrite.storage_type == "hash" and job.has_expiring_fields():
        commands |= set(_EXPIRY_COMMANDS)
    if is_beside:
        commands |= {*_BESIDE[rewrite.storage_type], *_BESIDE[rewrite.storage_after]}
    return tuple(sorted(commands))


def _forbidden(wire: Wire, commands: Sequence[bytes], keys: Iterable[bytes]) -> list[bytes | None]:
    """For each key the first of the commands that the user may not run on it."""
    wire.send(render(b"EVAL", _FORBIDDEN, b"0", b"%d" % len(commands), *commands, *keys))
    (answers,) = wire.receive(1)
    raise_refusal(answers)
    return [commands[answer - 1] if answer else None for answer in answers]


def _may_write_some(job: RewriteJob, wire: Wire, commands: Sequence[bytes]) -> bool:
    """Whether the user may rewrite at least one of the first documents."""
    batches = documents_on(job.nodes, job.schema, LOOKED_AT, job.rewrite.excluded_prefixes)
    keys, mover = next(batches, []), job.mover()
    targets = keys if mover is None else list(map(mover.target, keys))
    pairs = zip(_forbidden(wire, commands, keys), _forbidden(wire, commands, targets), strict=True)
    return any(pair == (None, None) for pair in pairs)


def _may_use_all_keys(wire: Wire) -> bool:
    """Whether no key is kept from the user, who may be one that is not allowed to ask."""
    wire.send(render(b"ACL", b"WHOAMI"))
    (name,) = wire.receive(1)
    if not isinstance(name, bytes):
        return False
    wire.send(render(b"ACL", b"GETUSER", name))
    (user,) = wire.receive(1)
    if not isinstance(user, list):
        return False
    told = dict(zip(user[::2], user[1::2], strict=True))
    # Before Redis 7 a list.
    return told.get(b"keys") in (b"~*", [b"*"])
