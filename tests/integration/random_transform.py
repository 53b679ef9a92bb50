"""A transform that comes to other values each time and takes its time, and how a run is made to use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from redismigrate.documents.batch import Batch, Failure, Transformed
from redismigrate.execution.steps.document_work import DocumentWork

if TYPE_CHECKING:
    import pytest

    from redismigrate.documents.conversion import Quantizations
    from redismigrate.documents.rewrite import Recoding
    from redismigrate.execution.documents.in_place.job import RewriteJob
    from redismigrate.execution.run import Run
    from redismigrate.planning.plan import Step


@dataclass(frozen=True)
class RandomVectors:
    """Puts random numbers in the place of vectors.

    Attributes:
        fields: The fields, and the bytes of a new vector in each.
        seconds: How long a batch takes.
        leaves_out: A document with this value of the first field is left out.
    """

    fields: tuple[tuple[str, int], ...]
    seconds: float = 0
    leaves_out: bytes | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(path for path, _ in self.fields)

    @property
    def writes(self) -> tuple[str, ...]:
        return self.reads

    @property
    def is_deterministic(self) -> bool:
        return False

    @property
    def is_slow(self) -> bool:
        return self.seconds > 0

    @property
    def back(self) -> None:
        return None

    def __call__(self, batch: Batch) -> Transformed:
        time.sleep(self.seconds)
        drawn = np.random.default_rng()
        first = batch.columns[self.reads[0]]
        left_out = [row for row, value in enumerate(first) if value is not None and value == self.leaves_out]
        columns = {
            path: [
                None if value is None or row in left_out else drawn.random(size // 2).astype("<f2").tobytes()
                for row, value in enumerate(batch.columns[path])
            ]
            for path, size in self.fields
        }
        return Transformed(columns, [Failure(row, "it was not answered") for row in left_out])

    def check(self, batch: Batch) -> dict[int, str]:
        del batch
        return {}


@dataclass(frozen=True)
class Forbidden(RandomVectors):
    """Is never to be run, although it would come to the same values again."""

    @property
    def is_deterministic(self) -> bool:
        return True

    def __call__(self, batch: Batch) -> Transformed:
        raise AssertionError(f"{self} was run for {len(batch.keys)} documents")


def plugged_in(
    kind: type[RandomVectors] = RandomVectors,
    *,
    seconds: float = 0,
    at_once: int = 1,
    leaves_out: bytes | None = None,
) -> Callable[[], None]:
    """Makes a process use it for every rewrite."""
    return partial(_plug_in, kind, seconds, at_once, leaves_out)


def plug_in(patch: pytest.MonkeyPatch, kind: type[RandomVectors], **how: float) -> None:
    """Make this process use it, as long as the patch lasts."""
    patch.setattr(DocumentWork, "job", DocumentWork.job)
    plugged_in(kind, **how)()  # type: ignore[arg-type]


def _plug_in(kind: type[RandomVectors], seconds: float, at_once: int, leaves_out: bytes | None) -> None:
    job_of = DocumentWork.job

    def make(recodings: Sequence[Recoding], quantizations: Quantizations) -> RandomVectors:
        del quantizations
        fields = tuple((recoding.path, recoding.bytes_after) for recoding in recodings)
        return kind(fields, seconds, leaves_out)

    def job(work: DocumentWork, step: Step, run: Run) -> RewriteJob:
        return replace(job_of(work, step, run), make_transform=make, transforms_at_once=at_once)

    DocumentWork.job = job  # type: ignore[method-assign]
