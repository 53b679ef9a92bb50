"""Names that may be aliases of an index that no revision made: servers before 8.10 don't list them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from redismigrate.commands.authoring.declared import declared_schemas, declares_schemas
from redismigrate.commands.project import Project
from redismigrate.errors import RedisMigrateError
from redismigrate.execution.indexes.aliases import names_in_use
from redismigrate.redis_server.connection import Server


def candidates(project: Project, server: Server, given: Iterable[str] = ()) -> tuple[str, ...]:
    """Names to be asked about: told by the user, declared, or used by somebody.

    Args:
        project: Its setting `known_aliases` and its declared schemas tell some.
        server: Its logs and records tell some.
        given: Those that the command names.
    """
    known = dict.fromkeys((*given, *project.settings.known_aliases))
    # An application that can't be read declares nothing; who needs its schemas says so.
    with suppress(RedisMigrateError):
        known.update(dict.fromkeys(declared_schemas(project) if declares_schemas(project) else ()))
    known.update(dict.fromkeys(names_in_use(server, project.settings.project)))
    return tuple(known)
