"""Collects why a plan can't run, with the index that each reason concerns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from redismigrate.operations.operation_types import Operation
from redismigrate.planning.plan import Obstacle
from redismigrate.planning.step_life import Strategy


@dataclass
class Obstacles:
    """The obstacles that a plan has met so far.

    Attributes:
        about: The served name of the index that the operation at work is about; None for none.
    """

    about: str | None = None
    _found: list[Obstacle] = field(default_factory=list)

    def append(self, text: str, index: str | None = None, strategy: Strategy | None = None) -> None:
        """One more.

        Args:
            text: The reason.
            index: What it concerns; None takes the index at work.
            strategy: See `Obstacle`.
        """
        obstacle = Obstacle(index=index or self.about, strategy=strategy, text=text)
        if obstacle not in self._found:
            self._found.append(obstacle)

    def complete(self, text: str, more: str) -> None:
        """Say more about an obstacle that was met.

        Args:
            text: The reason.
            more: What follows it.
        """
        self._found = [
            each.model_copy(update={"text": f"{text}; {more}"}) if each.text == text else each
            for each in self._found
        ]

    def __iadd__(self, texts: Iterable[str]) -> Self:
        for text in texts:
            self.append(text)
        return self

    def __iter__(self) -> Iterator[Obstacle]:
        return iter(self._found)


def index_of(operation: Operation) -> str | None:
    """The served name of the index that an operation is about, as it is called after it; None for none."""
    match operation.kind:
        case "create_index":
            return operation.schema.name
        case "change_index":
            return operation.name_after
        case "drop_index":
            return operation.name
        case "create_alias" | "set_synonyms" | "expect":
            return operation.index
    return None
