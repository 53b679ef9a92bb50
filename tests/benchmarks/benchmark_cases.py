"""The migrations that are compared: each as one of our revisions and as a schema patch of RedisVL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from benchmark_documents import PREFIX

Contestant = Literal[
    "redismigrate",
    "redismigrate --exclusive",
    "redismigrate, search up",
    "RedisVL, batches of 1000",
    "RedisVL, defaults",
    "raw loop",
]
Hash = dict[str, bytes]

NEW_PREFIX = "art:"
OLD_FIELD, NEW_FIELD = "title", "headline"

_EVERYONE: tuple[Contestant, ...] = (
    "redismigrate",
    "redismigrate --exclusive",
    "redismigrate, search up",
    "RedisVL, batches of 1000",
    "RedisVL, defaults",
    "raw loop",
)
# Keys move in place only while writers pause, and so do values, which can't be done with search up at all.
_MOVING: tuple[Contestant, ...] = tuple(name for name in _EVERYONE if name != "redismigrate")
_RENAMING: tuple[Contestant, ...] = tuple(name for name in _MOVING if name != "redismigrate, search up")


@dataclass(frozen=True)
class Case:
    """One migration.

    Attributes:
        title: What it does.
        upgrade: The lines of our revision's `upgrade`.
        downgrade: Those of its `downgrade`.
        redisvl_changes: The `changes` of RedisVL's schema patch.
        migrated: Gives the key and the hash that a document has to be in the end.
        queries: Of which one finds all documents, whenever search is whole.
        contestants: Who takes part.
        count: Documents; None: as many as were asked for.
        dims: Of a vector; None: as many as were asked for.
        other_keys: Keys on the server that are no documents.
        is_probed: Whether the search is watched in a further round.
    """

    title: str
    upgrade: tuple[str, ...]
    downgrade: tuple[str, ...]
    redisvl_changes: Mapping[str, Any]
    migrated: Callable[[str, Hash], tuple[str, Hash]]
    queries: tuple[str, ...] = ("*",)
    contestants: tuple[Contestant, ...] = _EVERYONE
    count: int | None = None
    dims: int | None = None
    other_keys: int = 0
    is_probed: bool = True


def _to_float16(key: str, document: Hash) -> tuple[str, Hash]:
    vector = np.frombuffer(document["embedding"], np.float32)
    return key, document | {"embedding": vector.astype(np.float16).tobytes()}


def _renamed(key: str, document: Hash) -> tuple[str, Hash]:
    return key, {NEW_FIELD if field == OLD_FIELD else field: value for field, value in document.items()}


def _moved(key: str, document: Hash) -> tuple[str, Hash]:
    return NEW_PREFIX + key.removeprefix(PREFIX), document


def _changed(line: str) -> tuple[str, ...]:
    return ('with op.index("products") as index:', f"    {line}")


_FLOAT16: dict[str, Any] = {
    "upgrade": _changed('index.alter_field("embedding", datatype="float16")'),
    "downgrade": _changed('index.alter_field("embedding", datatype="float32")'),
    "redisvl_changes": {"update_fields": [{"name": "embedding", "attrs": {"datatype": "float16"}}]},
    "migrated": _to_float16,
}

CASES: dict[str, Case] = {
    "float16": Case(title="Vectors from float32 to float16", **_FLOAT16),
    "rename": Case(
        title="A text field renamed",
        upgrade=_changed(f'index.rename_field("{OLD_FIELD}", "{NEW_FIELD}")'),
        downgrade=_changed(f'index.rename_field("{NEW_FIELD}", "{OLD_FIELD}")'),
        redisvl_changes={"rename_fields": [{"old_name": OLD_FIELD, "new_name": NEW_FIELD}]},
        migrated=_renamed,
        queries=(f"@{OLD_FIELD}:hello", f"@{NEW_FIELD}:hello"),
        contestants=_RENAMING,
    ),
    "prefix": Case(
        title="Another prefix",
        upgrade=_changed(f'index.change_prefix("{PREFIX}", "{NEW_PREFIX}")'),
        downgrade=_changed(f'index.change_prefix("{NEW_PREFIX}", "{PREFIX}")'),
        redisvl_changes={"index": {"prefix": NEW_PREFIX}},
        migrated=_moved,
        contestants=_MOVING,
    ),
    "hnsw": Case(
        title="FLAT to HNSW",
        upgrade=_changed('index.alter_field("embedding", algorithm="hnsw")'),
        downgrade=_changed('index.alter_field("embedding", algorithm="flat")'),
        redisvl_changes={"update_fields": [{"name": "embedding", "attrs": {"algorithm": "hnsw"}}]},
        migrated=lambda key, document: (key, document),
        contestants=("redismigrate, search up", "RedisVL, batches of 1000"),
        count=20_000,
        dims=384,
    ),
    # The raw loop knows the keys; here finding them is all there is to do.
    "sparse": Case(
        title="Vectors from float32 to float16, few documents among many other keys",
        contestants=tuple(name for name in _EVERYONE if name not in {"raw loop", "redismigrate, search up"}),
        count=100,
        other_keys=1_000_000,
        **_FLOAT16,
    ),
    "million": Case(
        title="Vectors from float32 to float16, many small documents",
        contestants=("redismigrate", "redismigrate --exclusive", "RedisVL, batches of 1000"),
        count=1_000_000,
        dims=128,
        is_probed=False,
        **_FLOAT16,
    ),
}
