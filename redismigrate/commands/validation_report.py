"""What `validate` found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from redismigrate.commands.migration_options import key_to_json
from redismigrate.errors import DriftError
from redismigrate.execution.indexes.unindexed import UnindexedDocument
from redismigrate.operations.expectations import Source


@dataclass(frozen=True)
class Flaw:
    """One thing that is not as it should be.

    Attributes:
        kind: What: as of `check` where the index or an alias differs from the record; `unindexed`, `vectors`,
            `incomplete`, `expectation`, `unfinished_run`.
        index: The served name; None where it is about no index.
        message: The same in words.
        remedy: What to do.
    """

    kind: str
    index: str | None
    message: str
    remedy: str

    def __str__(self) -> str:
        told = f"{self.message}; {self.remedy}"
        return told if self.index is None else f"{self.index}: {told}"


@dataclass(frozen=True)
class LookedAtIndex:
    """An index as it was found.

    Attributes:
        index: The served name.
        physical: The index itself.
        documents: Those that it has.
        unindexed: How many it should have and lacks; None where that was not looked at.
        sample: The first of these, with reasons.
        vectors: Vector field -> how many vectors the index holds, and how many documents have one.
    """

    index: str
    physical: str
    documents: int
    unindexed: int | None = None
    sample: tuple[UnindexedDocument, ...] = ()
    vectors: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class AskedExpectation:
    """What was expected of an index, and what it has answered.

    Attributes:
        index: The served name.
        asked: What was asked, in words.
        wanted: What was to be found, in words.
        found: What was found, in words.
        passed: Whether it was as expected.
        source: Whether the script of the last revision says so, or a file of queries.
    """

    index: str
    asked: str
    wanted: str
    found: str
    passed: bool
    source: Source


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes:
        project: Whose indexes they are.
        flaws: What is not as it should be.
        indexes: Every index that was looked at.
        expectations: Every expectation that was asked.
        notes: What could not be looked at, and why.
    """

    project: str
    flaws: tuple[Flaw, ...]
    indexes: tuple[LookedAtIndex, ...]
    expectations: tuple[AskedExpectation, ...]
    notes: tuple[str, ...] = ()

    @property
    def result(self) -> Literal["valid", "invalid"]:
        """Whether all is as it should be."""
        return "invalid" if self.flaws else "valid"

    @property
    def exit_code(self) -> int:
        """0, or that of drift."""
        return DriftError.exit_code if self.flaws else 0

    def to_json(self) -> dict[str, Any]:
        """The report as data for `--json`."""
        return {
            "project": self.project,
            "result": self.result,
            "flaws": [asdict(flaw) for flaw in self.flaws],
            "indexes": [
                {
                    "index": each.index,
                    "physical": each.physical,
                    "documents": each.documents,
                    "unindexed": each.unindexed,
                    "sample": [{"key": key_to_json(one.key), "reason": one.reason} for one in each.sample],
                    "vectors": {
                        name: {"indexed": indexed, "in_documents": held}
                        for name, (indexed, held) in each.vectors.items()
                    },
                }
                for each in self.indexes
            ],
            "expectations": [asdict(each) for each in self.expectations],
            "notes": list(self.notes),
        }
