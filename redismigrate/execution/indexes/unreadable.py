"""Asks for the right without which a server keeps an index from its user, before anything is made.

Redis 8 makes an index over any keys, and then refuses to tell, alter or drop it.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis

from redismigrate.errors import AuthenticationFailed
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema
from redismigrate.schema.strict import encode

# ARGV: a key that the user may read, then others. Answers for each of the others whether the user may not
# read it. The keys are names only, and no KEYS: those the user had to have a right to.
_UNREADABLE = """
local answers = {}
local is_told, is_allowed = pcall(redis.acl_check_cmd or error, 'GET', ARGV[1])
for i = 2, #ARGV do
  answers[#answers + 1] = is_told and is_allowed and not redis.acl_check_cmd('GET', ARGV[i]) and 1 or 0
end
return answers
""".strip()
# Behind a prefix: a right to the prefix as a key is none to the keys that begin with it.
_ANY_NAME = b"\xff~"


def unreadable_prefixes(server: Server, schemas: Iterable[IndexSchema], readable_key: str) -> frozenset[str]:
    """The prefixes of some indexes whose keys the user may not read, where the server minds.

    Args:
        server: The connection.
        schemas: Of the indexes; one without a prefix has the empty one.
        readable_key: The name of a key that the user may read, which need not be there.
    """
    if not server.capabilities.guards_indexes_by_their_keys:
        return frozenset()
    prefixes = sorted({prefix for schema in schemas for prefix in schema.prefixes or ("",)})
    if not prefixes:
        return frozenset()
    names = [encode(prefix) + end for prefix in prefixes for end in (b"", _ANY_NAME)]
    try:
        answers = server.execute("EVAL", _UNREADABLE, 0, readable_key, *names)
    except (AuthenticationFailed, redis.ResponseError):
        return frozenset()  # whoever may run no script changes nothing, and a plan does without
    pairs = zip(prefixes, answers[::2], answers[1::2], strict=True)
    return frozenset(prefix for prefix, bare, longer in pairs if bare or longer)


def require_readable(server: Server, schemas: Iterable[IndexSchema], readable_key: str) -> None:
    """Raise unless the server lets the user use some indexes.

    Args:
        server: The connection.
        schemas: Of the indexes.
        readable_key: As for `unreadable_prefixes`.

    Raises:
        AuthenticationFailed: The keys of one have a prefix that the user may not read.
    """
    for prefix in sorted(unreadable_prefixes(server, schemas, readable_key)):
        reason, rule = server.capabilities.why_unreadable(prefix)
        raise AuthenticationFailed(
            f"{reason[0].upper()}{reason[1:]}.", f"Grant {rule}, or migrate as another user."
        )
