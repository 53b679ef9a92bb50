"""Builds histories for tests: script files in a folder, or scripts that exist in memory only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from redismigrate.history.graph import History
from redismigrate.history.script import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOURCE = '''"""{message}

Revision ID: {revision}
Revises: {revises}
Create Date: {create_date}
"""
revision = {revision!r}
down_revision = {down_revision!r}
branch_labels: tuple[str, ...] = {branch_labels!r}
depends_on: tuple[str, ...] = {depends_on!r}


def upgrade(op):
    {upgrade}


def downgrade(op):
    {downgrade}
'''


def write_script_file(
    folder: Path,
    revision: str,
    down_revisions: tuple[str, ...] = (),
    *,
    message: str = "a revision",
    branch_labels: tuple[str, ...] = (),
    depends_on: tuple[str, ...] = (),
    create_date: str = "2026-01-01T00:00:00+00:00",
    upgrade: str = "pass",
    downgrade: str = "pass",
) -> Path:
    """Write a script to `<revision>.py`; `upgrade` and `downgrade` are the one line of their bodies."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{revision}.py"
    down_revision = down_revisions[0] if len(down_revisions) == 1 else down_revisions or None
    source = _SOURCE.format(
        message=message,
        revision=revision,
        revises=", ".join(down_revisions),
        create_date=create_date,
        down_revision=down_revision,
        branch_labels=branch_labels,
        depends_on=depends_on,
        upgrade=upgrade,
        downgrade=downgrade,
    )
    path.write_text(source, encoding="utf-8")
    return path


def make_script(
    revision: str,
    down_revisions: tuple[str, ...] = (),
    branch_labels: tuple[str, ...] = (),
    depends_on: tuple[str, ...] = (),
) -> Script:
    """Return a script without a file."""
    return Script(
        revision=revision,
        down_revisions=down_revisions,
        branch_labels=branch_labels,
        depends_on=depends_on,
        message=f"message of {revision}",
        create_date=None,
        path=Path(f"versions/{revision}.py"),
        sha256="0" * 64,
    )


def make_history(
    parents: Mapping[str, tuple[str, ...]],
    *,
    labels: Mapping[str, str] | None = None,
    depends_on: Mapping[str, tuple[str, ...]] | None = None,
) -> History:
    """Return a history.

    Args:
        parents: What each revision revises.
        labels: Branch labels and the revisions that give them.
        depends_on: What revisions depend on.
    """
    return History(
        make_script(
            revision,
            down_revisions,
            tuple(label for label, owner in (labels or {}).items() if owner == revision),
            (depends_on or {}).get(revision, ()),
        )
        for revision, down_revisions in parents.items()
    )
