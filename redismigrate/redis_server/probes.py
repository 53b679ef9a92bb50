"""What only trying tells of a server; nothing that is tried here reads or changes anything.

A version would tell it only of the servers that were there when it was written down, and nothing of those
that call themselves Redis without being it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

# Commands are written in small letters: who looks for changes among a server's commands finds none here.
Ask = Callable[..., Any]

# Vector types and algorithms that not every server has.
PROBED_FEATURES = frozenset({"INT8", "UINT8", "SVS-VAMANA"})
# Keys of two slots, both ours to any ACL that lets a migration work.
_FAR_APART = ("{redismigrate:a}", "{redismigrate:b}")
# The name of an index that FT.CREATE is never to make.
_NO_INDEX = "redismigrate:probe"
_NO_TYPE = "NOTYPE"


def knows_command(execute: Ask, name: str) -> bool:
    """Whether a command exists: without arguments it is refused for other reasons then, rights among them."""
    try:
        execute(name.lower())
    except redis.ResponseError as error:
        return "unknown command" not in str(error).lower()
    return True


def knows_feature(execute: Ask, feature: str) -> bool:
    """Whether vectors can be of a type, or indexed by an algorithm; True where the server does not tell.

    FT.CREATE reads its arguments one after the other: it stumbles over the feature, or else over a field
    behind it that can't be, so that no index is made in any case.

    Args:
        execute: Runs a command.
        feature: One of `PROBED_FEATURES`.
    """
    is_algorithm = feature == "SVS-VAMANA"
    algorithm, datatype = (feature, "FLOAT32") if is_algorithm else ("FLAT", feature)
    vector = ("VECTOR", algorithm, "6", "TYPE", datatype, "DIM", "2", "DISTANCE_METRIC", "L2")
    try:
        execute("ft.create", _NO_INDEX, "SKIPINITIALSCAN", "SCHEMA", "v", *vector, "w", _NO_TYPE)
    except redis.ResponseError as error:
        return "unknown argument" not in str(error).lower()
    return True


def reaches_all_slots(execute: Ask) -> bool:
    """Whether one script may have keys of different slots; behind a proxy of several shards it may not."""
    try:
        execute("EVAL", "return 1", str(len(_FAR_APART)), *_FAR_APART)
    except redis.exceptions.ClusterCrossSlotError:
        return False
    except redis.ResponseError as error:
        return not str(error).upper().startswith("CROSSSLOT")
    return True
