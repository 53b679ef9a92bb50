"""Transforms that take their time and look at the server meanwhile, and ways to see what they did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from random_transform import RandomVectors

from redismigrate.documents.batch import Batch, Transformed
from redismigrate.documents.vectors import ReEncodeVectors
from redismigrate.execution.steps.document_work import DocumentWork

if TYPE_CHECKING:
    import pytest
    import redis

    from redismigrate.documents.conversion import Quantizations
    from redismigrate.documents.rewrite import Recoding

SECONDS = 0.1


def watched_keys(client: redis.Redis) -> int:
    """How many keys the clients of the server watch."""
    return sum(int(each["watch"]) for each in client.client_list())


@dataclass(frozen=True)
class Noting(RandomVectors):
    """Notes what it has made in a file, before anybody else can see it.

    Attributes:
        file: The file.
    """

    file: str = ""

    def __call__(self, batch: Batch) -> Transformed:
        made = super().__call__(batch)
        values = [value for column in made.columns.values() for value in column if value is not None]
        with Path(self.file).open("a", encoding="ascii") as file:
            file.writelines(value.hex() + "\n" for value in values)
        return made

    @staticmethod
    def noted(file: Path) -> set[bytes]:
        """All that was ever made."""
        if not file.exists():
            return set()
        return {bytes.fromhex(line) for line in file.read_text("ascii").splitlines()}


@dataclass(frozen=True)
class SlowVectors:
    """A deterministic transform of vectors, during which something happens; with a way back that is as slow.

    Attributes:
        inner: What it does.
        during: Happens at the end of each batch that takes its time.
        asked: Gets the number of values of every batch.
        seconds: How long a batch takes.
    """

    inner: ReEncodeVectors
    during: Callable[[], object]
    asked: list[int]
    seconds: float = SECONDS / 10

    @property
    def reads(self) -> tuple[str, ...]:
        return self.inner.reads

    @property
    def writes(self) -> tuple[str, ...]:
        return self.inner.writes

    @property
    def is_deterministic(self) -> bool:
        return True

    @property
    def is_slow(self) -> bool:
        return True

    @property
    def back(self) -> SlowVectors | None:
        back = self.inner.back
        return None if back is None else replace(self, inner=back)

    def __call__(self, batch: Batch) -> Transformed:
        time.sleep(self.seconds)
        self.during()
        self.asked.append(len(batch.keys))
        return self.inner(batch)

    def check(self, batch: Batch) -> dict[int, str]:
        return self.inner.check(batch)


def call_numpy_slow() -> None:
    """Let this process take the way around for what numpy converts."""
    ReEncodeVectors.is_slow = True  # type: ignore[assignment,method-assign]


def make_slow(patch: pytest.MonkeyPatch, during: Callable[[], object] = lambda: None) -> list[int]:
    """Make this process convert slowly, as long as the patch lasts; the sizes of the batches as they come."""
    job_of, asked = DocumentWork.job, []

    def job(work, step, run):
        job = job_of(work, step, run)

        def make(recodings: tuple[Recoding, ...], quantizations: Quantizations) -> SlowVectors:
            return SlowVectors(job.make_transform(recodings, quantizations), during, asked)

        return replace(job, make_transform=make)

    patch.setattr(DocumentWork, "job", job)
    return asked
