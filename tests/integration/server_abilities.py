"""What a server can do, row by row of the table in the documentation, asked as the commands ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from redismigrate.redis_server.inspection import vector_details
from redismigrate.redis_server.probes import PROBED_FEATURES
from redismigrate.redis_server.reports import why_unreported

if TYPE_CHECKING:
    from redismigrate.redis_server.connection import Server

YES, NO = "yes", "no"


def abilities_of(server: Server) -> dict[str, str]:
    """The column of a server.

    Args:
        server: The connection, in the profile that it is to be asked by.
    """
    server.look_for_features(PROBED_FEATURES)
    found = server.capabilities
    return {
        "JSON documents": _word(found.has_json),
        **{feature: _word(found.lacking(feature) is None) for feature in sorted(PROBED_FEATURES)},
        "names move in the script that records the revision": _word(found.runs_search_in_scripts),
        "one script, any keys": _word(found.standing.reaches_all_slots),
        "tells what applications write": _word(why_unreported(server) is None),
        "tells its settings": _word(found.tells_settings),
        "tells its maxmemory": _word(found.tells_maxmemory),
        "tells which fields expire": _word(found.tells_expiring_fields),
        "tells EF_RUNTIME, TEMPORARY, and counts vectors": _word(_has_debug(server)),
        "builds graphs with threads that it tells": _word(_is_set(server, "search-workers")),
        "builds can be slowed down": _word(_is_set(server, "search-bg-index-sleep-duration-us")),
        "lists the aliases of an index": _word(found.lists_aliases),
        "may answer with nothing at maxmemory": _word(found.may_answer_with_nothing),
        "ends at text with max_text_fields and no_fields": _word(found.crashes_on_wide_text_without_fields),
        "a moved hash may lose its name": _word(found.forgets_renames),
    }


def _has_debug(server: Server) -> bool:
    try:
        vector_details(server.ask, "redismigrate:probe", "v")
    except redis.ResponseError as error:
        text = str(error).lower()
        refusals = ("unknown command", "no permissions", "debug commands are disabled")
        return not any(refusal in text for refusal in refusals)
    return True


def _is_set(server: Server, setting: str) -> bool:
    try:
        return bool(server.ask("CONFIG", "GET", setting))
    except redis.ResponseError:
        return False


def _word(is_so: bool) -> str:
    return YES if is_so else NO
