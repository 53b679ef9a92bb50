"""What `validate` found, for people."""

from __future__ import annotations

from redismigrate.cli.context import lines_text
from redismigrate.commands.validation_report import ValidationReport
from redismigrate.schema.strict import readable_key


def validation_text(report: ValidationReport) -> str:
    """The report, with what is wrong at its end."""
    lines = [f"Note: {note}" for note in report.notes]
    for each in report.indexes:
        lines.append(f"{each.index}: {each.documents:,} documents indexed{_lacking(each.unindexed)}")
        lines += [f"  {readable_key(one.key)}: {one.reason}" for one in each.sample]
        lines += [
            f"  field {name}: {indexed:,} vectors of {held:,} documents"
            for name, (indexed, held) in each.vectors.items()
        ]
    for asked in report.expectations:
        found = f"found {asked.found}" if asked.passed else f"wanted {asked.wanted}, found {asked.found}"
        lines.append(f"{asked.index}: {asked.asked}: {found}")
    lines += [f"Wrong: {flaw}" for flaw in report.flaws]
    if not report.flaws:
        lines.append("All is as it should be.")
    return lines_text(lines)


def _lacking(count: int | None) -> str:
    return "" if not count else f", {count:,} are not"
