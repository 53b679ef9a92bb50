"""What a fold saves, as data: its costs beside those of its revisions one by one."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from redismigrate.quantities import seconds_text, size_text


class Saving(BaseModel):
    """What a fold costs, and what its revisions would cost one by one.

    Attributes:
        builds: Indexes that are built, as a fold.
        builds_one_by_one: The same one by one.
        seconds: Wall seconds, as a fold.
        seconds_one_by_one: The same one by one.
        bytes_written: Bytes of documents written, as a fold.
        bytes_written_one_by_one: The same one by one.
    """

    model_config = ConfigDict(frozen=True)

    builds: int
    builds_one_by_one: int
    seconds: float
    seconds_one_by_one: float
    bytes_written: int
    bytes_written_one_by_one: int

    def __str__(self) -> str:
        builds = f"{self.builds} build{'' if self.builds == 1 else 's'} instead of {self.builds_one_by_one}"
        parts = [builds]
        if seconds_text(self.seconds_one_by_one):
            parts.append(f"about {_beside(seconds_text, self.seconds, self.seconds_one_by_one)}")
        if self.bytes_written_one_by_one:
            written = _beside(_bytes_text, self.bytes_written, self.bytes_written_one_by_one)
            parts.append(f"{written} of documents written")
        return ", ".join(parts)


def _bytes_text(value: float) -> str:
    return size_text(round(value))


def _beside(text: Callable[[float], str], one: float, other: float) -> str:
    return f"{text(one) or 'nothing'} instead of {text(other) or 'nothing'}"
