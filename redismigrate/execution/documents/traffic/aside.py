"""Transforms that take long run while nothing is watched, and what they made is kept until it is written.

What was made is known by what it was made of. So to compare what is read under the watch with what was read
before it is to look it up: of a document that was written meanwhile there is nothing, and only of that one
something is made again, with nothing watched. A transform that gives other values each time is asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from redismigrate.documents.batch import Batch, Failure, Transformed
from redismigrate.documents.columns import Column, take
from redismigrate.documents.whole import Document
from redismigrate.documents.whole_transform import Documents

TransformDocuments = Callable[[Documents], Documents]
TransformValues = Callable[[Batch], Transformed]
"""A transform of one column into another one, value by value."""


class NotMadeYet(Exception):
    """A batch can't be decided before something is made, which takes long.

    Args:
        make: Makes it. Nothing must be watched meanwhile.
    """

    def __init__(self, make: Callable[[], object]) -> None:
        super().__init__("a transform has to run first")
        self.make = make


class _Made(NamedTuple):
    """What became of one document."""

    content: Document | None
    expiries: dict[bytes, int] | None
    reason: str | None


Made = TypeVar("Made")


@dataclass(slots=True)
class Aside:
    """What slow transforms have made for one batch.

    Attributes:
        is_watched: Keys are watched at the moment: nothing is made.
    """

    is_watched: bool = False
    _made: dict[int, dict[object, Any]] = field(default_factory=dict)

    def of(self, transform: TransformDocuments) -> TransformDocuments:
        """The same transform, which takes what was made already.

        Args:
            transform: Lives as long as the batch.

        Returns:
            A transform that raises `NotMadeYet` where it would have to run while keys are watched.
        """

        def transformed(documents: Documents) -> Documents:
            names = [_name(documents, row) for row in range(len(documents.contents))]
            made = self._recall(transform, names, lambda rows: _make(transform, documents, rows))
            return Documents(
                [each.content for each in made],
                {row: dict(each.expiries) for row, each in enumerate(made) if each.expiries},
                [Failure(row, each.reason) for row, each in enumerate(made) if each.reason is not None],
            )

        return transformed

    def of_values(self, transform: TransformValues, path: str) -> TransformValues:
        """As `of`, for a transform of single values, known by these.

        Args:
            transform: Lives as long as the batch.
            path: Of the column that it reads and writes. It makes nothing of documents without a value.
        """

        def transformed(batch: Batch) -> Transformed:
            column = batch.columns[path]
            rows = [row for row, value in enumerate(column) if value is not None]
            values = [column[row] for row in rows]
            made = self._recall(transform, values, lambda at: _make_values(transform, path, take(values, at)))
            new: list[bytes | None] = [None] * len(column)
            for row, (value, _) in zip(rows, made, strict=True):
                new[row] = value
            reasons = ((row, reason) for row, (_, reason) in zip(rows, made, strict=True))
            return Transformed(
                {path: new}, [Failure(row, reason) for row, reason in reasons if reason is not None]
            )

        return transformed

    def _recall(
        self, transform: object, names: Sequence[object], make: Callable[[Sequence[int]], Iterable[Made]]
    ) -> list[Made]:
        """What a transform made of each of some things.

        Args:
            transform: Which one.
            names: What these things are known by.
            make: Makes it of those in some rows.

        Raises:
            NotMadeYet: It would have to run while keys are watched.
        """
        known = self._made.setdefault(id(transform), {})
        missing = {name: row for row, name in enumerate(names) if name not in known}
        if missing:

            def make_missing() -> None:
                known.update(zip(missing, make(list(missing.values())), strict=True))

            if self.is_watched:
                raise NotMadeYet(make_missing)
            make_missing()
        return [known[name] for name in names]


def _name(documents: Documents, row: int) -> tuple[object, object]:
    """What a document is known by: the server may name the fields of a hash in another order next time."""
    content = documents.contents[row]
    fields = frozenset(content.items()) if isinstance(content, dict) else content
    return fields, frozenset(documents.expiries.get(row, {}).items())


def _make(transform: TransformDocuments, documents: Documents, rows: Sequence[int]) -> list[_Made]:
    """What a transform makes of some documents."""
    expiries = {at: of for at, row in enumerate(rows) if (of := documents.expiries.get(row))}
    made = transform(Documents([documents.contents[row] for row in rows], expiries))
    reasons = dict(made.failures)
    return [
        _Made(content, made.expiries.get(at), reasons.get(at)) for at, content in enumerate(made.contents)
    ]


def _make_values(
    transform: TransformValues, path: str, column: Column
) -> list[tuple[bytes | None, str | None]]:
    """What a transform makes of some values, and why nothing of others."""
    made = transform(Batch([b""] * len(column), {path: column}))
    reasons = dict(made.failures)
    return [(value, reasons.get(row)) for row, value in enumerate(made.columns[path])]
