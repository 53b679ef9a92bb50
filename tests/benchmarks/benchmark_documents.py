"""The documents that are migrated: written to a server as fast as it takes them, and looked at afterwards.

Every batch has a seed of its own, so that the documents of any batch can be made once more to compare.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from raw_connection import RawConnection, encode, require_no_error

INDEX = "products"
PREFIX = "doc:"
SCHEMA_FIELDS = (
    {"name": "title", "type": "text"},
    {"name": "tag", "type": "tag"},
    {"name": "num", "type": "numeric", "attrs": {"sortable": True}},
)
_BATCH = 1_000
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Documents:
    """Hashes with a text, a tag, a number and a vector of unit length.

    Attributes:
        count: How many.
        dims: Components of a vector, float32.
        other_keys: Strings beside them that no index covers.
    """

    count: int
    dims: int
    other_keys: int = 0

    def load(self, connection: RawConnection) -> None:
        """Write them all to an empty server."""
        for first in range(0, self.other_keys, _BATCH):
            numbers = range(first, min(first + _BATCH, self.other_keys))
            connection.send(b"".join([encode("SET", f"other:{number}", number) for number in numbers]))
            require_no_error(connection.receive(len(numbers)))
        for first in range(0, self.count, _BATCH):
            batch = self.batch(first // _BATCH)
            connection.send(b"".join([encode("HSET", key, *_pairs(document)) for key, document in batch]))
            require_no_error(connection.receive(len(batch)))

    def create_index(self, connection: RawConnection) -> None:
        """Create their index and wait until it holds them all."""
        schema: list[str | int] = ["title", "TEXT", "tag", "TAG", "num", "NUMERIC", "SORTABLE"]
        schema += ["embedding", "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", self.dims]
        schema += ["DISTANCE_METRIC", "COSINE"]
        reply = connection.ask("FT.CREATE", INDEX, "ON", "HASH", "PREFIX", 1, PREFIX, "SCHEMA", *schema)
        require_no_error([reply])
        while not self._is_indexed(connection):
            time.sleep(_POLL_SECONDS)

    def batch(self, number: int) -> list[tuple[str, dict[str, bytes]]]:
        """The keys and hashes of one batch, as they are before a migration."""
        first = number * _BATCH
        size = min(_BATCH, self.count - first)
        vectors = np.random.default_rng((1, number)).standard_normal((size, self.dims), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return [
            (
                f"{PREFIX}{document}",
                {
                    "title": b"hello world %d" % document,
                    "tag": b"t%d" % (document % 50),
                    "num": b"%d" % document,
                    "embedding": vector.tobytes(),
                },
            )
            for document, vector in enumerate(vectors, first)
        ]

    @cached_property
    def sample(self) -> list[tuple[str, dict[str, bytes]]]:
        """Those of the first and of the last batch."""
        last = (self.count - 1) // _BATCH
        return self.batch(0) + (self.batch(last) if last else [])

    def require_indexed(self, connection: RawConnection, query: str) -> None:
        """Raise if a query does not find all of them."""
        reply = connection.ask("FT.SEARCH", INDEX, query, "LIMIT", 0, 0)
        require_no_error([reply])
        if reply[0] != self.count:
            raise RuntimeError(f"{query} finds {reply[0]} of {self.count} documents.")

    def _is_indexed(self, connection: RawConnection) -> bool:
        reply = connection.ask("FT.INFO", INDEX)
        info: dict[bytes, Any] = dict(zip(reply[::2], reply[1::2], strict=True))
        return int(info[b"num_docs"]) == self.count and not int(info[b"indexing"])


def require_hashes(connection: RawConnection, expected: list[tuple[str, dict[str, bytes]]]) -> None:
    """Raise if one of the keys holds anything but the hash that is expected."""
    connection.send(b"".join([encode("HGETALL", key) for key, _ in expected]))
    for (key, document), reply in zip(expected, connection.receive(len(expected)), strict=True):
        require_no_error([reply])
        found = dict(zip(reply[::2], reply[1::2], strict=True))
        if found != {field.encode(): value for field, value in document.items()}:
            raise RuntimeError(f"{key} is not what the migration should have made of it.")


def _pairs(document: dict[str, bytes]) -> Iterator[bytes | str]:
    for field, value in document.items():
        yield field
        yield value
