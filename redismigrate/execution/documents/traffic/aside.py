"""Transforms that take long run while nothing is watched, and what they made is kept until it is written.

What was made is known by what it was made of. So to compare what is read under the watch with what was read
before it is to look it up: of a document that was written meanwhile there is nothing, and only of that one
something is made again, with nothing watched. A transform that gives other values each time is asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from redismigrate.documents.batch import Failure
from redismigrate.documents.whole import Document
from redismigrate.documents.whole_transform import Documents

TransformDocuments = Callable[[Documents], Documents]


class NotMadeYet(Exception):
    """A batch can't be decided before something is made, which takes long.

    Args:
        make: Makes it. Nothing must be watched meanwhile.
    """

    def __init__(self, make: Callable[[], None]) -> None:
        super().__init__("a transform has to run first")
        self.make = make


class _Made(NamedTuple):
    """What became of one document."""

    content: Document | None
    expiries: dict[bytes, int] | None
    reason: str | None


_Name = tuple[object, object]


@dataclass(slots=True)
class Aside:
    """What slow transforms have made for one batch.

    Attributes:
        is_watched: Keys are watched at the moment: nothing is made.
    """

    is_watched: bool = False
    _made: dict[int, dict[_Name, _Made]] = field(default_factory=dict)

    def of(self, transform: TransformDocuments) -> TransformDocuments:
        """The same transform, which takes what was made already.

        Args:
            transform: Lives as long as the batch.

        Returns:
            A transform that raises `NotMadeYet` where it would have to run while keys are watched.
        """
        known = self._made.setdefault(id(transform), {})

        def transformed(documents: Documents) -> Documents:
            names = [_name(documents, row) for row in range(len(documents.contents))]
            missing = {name: row for row, name in enumerate(names) if name not in known}
            if missing:

                def make() -> None:
                    known.update(
                        zip(missing, _make(transform, documents, list(missing.values())), strict=True)
                    )

                if self.is_watched:
                    raise NotMadeYet(make)
                make()
            made = [known[name] for name in names]
            return Documents(
                [each.content for each in made],
                {row: dict(each.expiries) for row, each in enumerate(made) if each.expiries},
                [Failure(row, each.reason) for row, each in enumerate(made) if each.reason is not None],
            )

        return transformed


def _name(documents: Documents, row: int) -> _Name:
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
