"""Live indexes as they are: schema, statistics, synonyms, vectors."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ResponseError

from redismigrate.redis_server.glance import NO_SUCH_INDEX
from redismigrate.schema.read import (
    index_name_from_info,
    is_surely_not_temporary,
    label_count_from_details,
    schema_from_info,
    statistics_from_info,
)
from redismigrate.schema.strict import encode
from redismigrate.schema.vector_field import VectorField
from redismigrate.schema.words import word_as_meant

if TYPE_CHECKING:
    from redismigrate.schema.index_schema import IndexSchema
    from redismigrate.schema.read import IndexStatistics

_NOT_TEMPORARY = "Index is not temporary"
_TTL_ATTEMPTS = 3
# By the second one where the module has a coordinator in it, as in Redis 8.
_DEBUG_COMMANDS = ("FT.DEBUG", "_FT.DEBUG")


class Execute(Protocol):
    """`redis.Redis.execute_command` of a client with `decode_responses=False`, under either protocol."""

    def __call__(self, *arguments: bytes | str) -> Any:
        """Send one command and return its reply; errors of the server are `redis.ResponseError`."""


@dataclass(frozen=True)
class LiveIndex:
    """An index as the server tells it.

    Attributes:
        physical: Its name, also when it was looked up by an alias.
        schema: Its schema but for what the server can't tell (see `redismigrate.schema.compare.observable`).
        statistics: What it counts.
        synonyms: Synonym group -> its terms, sorted.
        has_vector_details: Whether FT.DEBUG answered all, and in time; Redis 8 refuses it unless its
            configuration says enable-debug-command. If not, `schema` lacks EF_RUNTIME, EPSILON, BLOCK_SIZE
            and SEARCH_WINDOW_SIZE, its TEMPORARY may be missing or too short, and `vector_labels` is empty.
        vector_labels: Vector field -> how many vectors it holds; in a cluster, on the node that was asked.
        stays: It is certain that it is not TEMPORARY, whatever FT.DEBUG has answered.
        has_synonyms: Whether FT.SYNDUMP answered; 8.0 refuses it of an index whose scan it gave up. If not,
            `synonyms` is empty.
    """

    physical: str
    schema: IndexSchema
    statistics: IndexStatistics
    synonyms: dict[str, tuple[str, ...]]
    has_vector_details: bool
    vector_labels: dict[str, int]
    stays: bool = False
    has_synonyms: bool = True

    @property
    def is_temporary(self) -> bool | None:
        """Whether dropping the index deletes its documents; None: the server did not say."""
        if self.schema.temporary_seconds is not None:
            return True
        return False if self.has_vector_details or self.stays else None


def read_index(execute: Execute, name: str) -> LiveIndex | None:
    """An index by its name or by an alias; None when there is none.

    Looking at a TEMPORARY index starts its time anew.

    Raises:
        redis.RedisError: As the server or the connection says.
    """
    try:
        return _read_index(execute, name)
    except ResponseError as error:
        if NO_SUCH_INDEX.search(str(error)):
            return None
        raise


def list_indexes(execute: Execute) -> tuple[str, ...]:
    """The names of all indexes, sorted; aliases are not among them."""
    return tuple(sorted(map(_text, execute("FT._LIST"))))


def resolve_alias(execute: Execute, name: str) -> str | None:
    """The name of the index that `name` is an alias of; None when it is an index itself or nothing at all."""
    try:
        physical = index_name_from_info(execute("FT.INFO", encode(name)))
    except ResponseError as error:
        if NO_SUCH_INDEX.search(str(error)):
            return None
        raise
    return None if physical == name else physical


def vector_details(execute: Execute, physical: str, field: str) -> Any:
    """What FT.DEBUG VECSIM_INFO tells of a vector field; of no other field: 2.10 crashes when asked of a TAG.

    Raises:
        redis.ResponseError: The server does not tell it, or not to this user.
    """
    return _debug(execute, "VECSIM_INFO", encode(physical), encode(field))


def _debug(execute: Execute, *arguments: bytes | str) -> Any:
    for command in _DEBUG_COMMANDS[:-1]:
        try:
            return execute(command, *arguments)
        except ResponseError as error:
            if "unknown command" not in str(error).lower():
                raise
    return execute(_DEBUG_COMMANDS[-1], *arguments)


def _read_index(execute: Execute, name: str) -> LiveIndex:
    info, temporary_seconds, has_details = _info_and_lifetime(execute, name)
    physical = index_name_from_info(info)
    vector_fields = [field.name for field in schema_from_info(info).fields if isinstance(field, VectorField)]
    details: dict[str, Any] = {}
    if has_details:
        try:
            details = {field: vector_details(execute, physical, field) for field in vector_fields}
        except ResponseError:
            has_details = False
    statistics, synonyms = statistics_from_info(info), None
    try:
        synonyms = _synonyms(execute("FT.SYNDUMP", encode(physical)))
    except ResponseError as error:
        if not statistics.is_incomplete or NO_SUCH_INDEX.search(str(error)):
            raise
    return LiveIndex(
        physical=physical,
        schema=schema_from_info(info, details).with_options(temporary_seconds=temporary_seconds),
        statistics=statistics,
        synonyms=synonyms or {},
        has_vector_details=has_details,
        vector_labels={field: label_count_from_details(reply) for field, reply in details.items()},
        stays=is_surely_not_temporary(info),
        has_synonyms=synonyms is not None,
    )


def _info_and_lifetime(execute: Execute, name: str) -> tuple[Any, int | None, bool]:
    """FT.INFO, the seconds of TEMPORARY, and whether these are certain.

    FT.INFO starts the time of a TEMPORARY index anew, and FT.DEBUG TTL cuts what is left to whole seconds; so
    within a second after FT.INFO it is one less than TEMPORARY said, later it may be less.
    """
    info, remaining_seconds = None, 0
    for _ in range(_TTL_ATTEMPTS):
        started = monotonic()
        info = execute("FT.INFO", encode(name))
        if is_surely_not_temporary(info):
            return info, None, True
        try:
            remaining_seconds = int(_debug(execute, "TTL", encode(name)))
        except ResponseError as error:
            if NO_SUCH_INDEX.search(str(error)):
                raise
            return info, None, _NOT_TEMPORARY in str(error)
        if monotonic() - started < 1:
            return info, remaining_seconds + 1, True
    return info, remaining_seconds + 1, False


def _synonyms(reply: Any) -> dict[str, tuple[str, ...]]:
    terms = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    groups: dict[str, list[str]] = {}
    for term, names in terms:
        for name in names:
            groups.setdefault(_text(name), []).append(word_as_meant(term))
    return {group: tuple(sorted(groups[group])) for group in sorted(groups)}


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
