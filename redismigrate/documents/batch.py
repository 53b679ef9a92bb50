"""What flows from Redis through a transform and back: a batch of documents, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from redismigrate.documents.columns import Column, take


class Failure(NamedTuple):
    """A document that a transform left out.

    Attributes:
        row: Its position in the batch, from 0.
        reason: Why, in words for the user.
    """

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents, column by column.

    Attributes:
        keys: One per document.
        columns: Hash field or JSON path -> its raw values, in the order of the keys.

    Raises:
        ValueError: A column is longer or shorter than the keys.
    """

    keys: list[bytes]
    columns: dict[str, Column]

    def __post_init__(self) -> None:
        for name, values in self.columns.items():
            if len(values) != len(self.keys):
                raise ValueError(f"column {name!r} has {len(values)} values for {len(self.keys)} keys")

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the documents; `rows` are positions, ascending and without repeats."""
        if len(rows) == len(self.keys):
            return self
        return Batch(
            [self.keys[row] for row in rows],
            {name: take(column, rows) for name, column in self.columns.items()},
        )


@dataclass(frozen=True, slots=True)
class Transformed:
    """What a transform made of a batch.

    Attributes:
        columns: Hash field or JSON path to write -> the new values, in the order of the batch's keys; None
            leaves that document's field alone.
        failures: The documents that were left out, in the order of their rows, each at most once; all
            their new values are None.
    """

    columns: dict[str, Column]
    failures: list[Failure] = field(default_factory=list)
