"""The contract of a transform: what it reads and writes, and what it makes of a batch of documents.

It gets columns and gives columns, and knows neither Redis nor files. It can be pickled, so that threads,
processes or a scheduler can carry it.
"""

from __future__ import annotations

from typing import Protocol

from redismigrate.documents.batch import Batch, Transformed


class Transform(Protocol):
    """Makes new values of those of some fields, document by document or for a whole batch at once.

    It may be slow, cost money or come to other values each time: it runs before a batch is written, never
    while one is watched, and what it has written is known by digests afterwards. Beside, a second form is
    compared with what the transform makes of the first one at every look: there it has to be deterministic.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """The hash fields or JSON paths that a batch has to have columns of; none where it does nothing."""

    @property
    def writes(self) -> tuple[str, ...]:
        """Those that it gives columns for."""

    @property
    def is_deterministic(self) -> bool:
        """Whether it makes the same bytes of the same bytes, each time and on every machine."""

    @property
    def is_slow(self) -> bool:
        """Whether a batch takes longer than its keys should be watched: 50 ms or more, or nobody knows.

        A slow one runs before that, at the price of reading twice where reading and writing are one
        transaction; and nothing stays watched while it is waited for.
        """

    @property
    def back(self) -> Transform | None:
        """What makes values again that differ from the original ones by rounding at most; None for nothing.

        Only what no backup holds the original of is brought back by it.
        """

    def __call__(self, batch: Batch) -> Transformed:
        """The new values.

        Args:
            batch: Has a column for everything that is read.

        Returns:
            A column for everything that is written, and the documents that were left out with the reason.
        """

    def check(self, batch: Batch) -> dict[int, str]:
        """The rows that would be left out, with the reason, as far as that is found out cheaply.

        The first pass asks for all documents, to refuse before anything is written. What shows only when
        the transform runs is told then.
        """
