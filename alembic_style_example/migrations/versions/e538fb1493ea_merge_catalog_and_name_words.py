"""merge catalog and name words

Revision ID: e538fb1493ea
Revises: 06c45affb167, c1c0db9bb072
Create Date: 2026-11-20T15:35:21+00:00
"""

from redismigrate import Operations

revision = "e538fb1493ea"
down_revision = ("06c45affb167", "c1c0db9bb072")
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    """Nothing to do: the two branches change different things."""


def downgrade(op: Operations) -> None:
    """Nothing to undo."""
