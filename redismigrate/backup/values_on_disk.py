"""Values of documents as a backup has them when they are dropped: a column each, and when they expire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redismigrate.backup.chunk_file import Chunk
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column
from redismigrate.documents.whole import NEVER

ValueOnDisk = tuple[bytes, int]
"""A value, and when it expires: Unix time in milliseconds, or -1 for never."""


def chunk_of_values(
    keys: Sequence[bytes], paths: Sequence[str], rows: Sequence[Sequence[ValueOnDisk | None]]
) -> Chunk:
    """Values that are about to go.

    Args:
        keys: Of the documents.
        paths: Hash fields or JSON paths.
        rows: Document by document and path by path; None where there is no value.
    """
    columns: dict[str, Column] = {}
    numbers = {}
    for at, path in enumerate(paths):
        values = [row[at] for row in rows]
        columns[path] = [None if value is None else value[0] for value in values]
        numbers[_expiries_of(path)] = [NEVER if value is None else value[1] for value in values]
    return Chunk(Batch(list(keys), columns), numbers)


def values_in(chunk: Chunk, paths: Sequence[str]) -> Iterator[tuple[bytes, tuple[ValueOnDisk | None, ...]]]:
    """The values of a chunk, document by document.

    Args:
        chunk: Made by `chunk_of_values`.
        paths: Those that are wanted, among those that it has.
    """
    keys = chunk.documents.keys
    columns = [
        [
            None if content is None else (content, moment)
            for content, moment in zip(
                chunk.documents.columns[path],
                chunk.numbers.get(_expiries_of(path), [NEVER] * len(keys)),
                strict=True,
            )
        ]
        for path in paths
    ]
    yield from zip(keys, zip(*columns, strict=True), strict=True)


def _expiries_of(path: str) -> str:
    return f"expires_ms {path}"
