"""split tags at vertical bars

Revision ID: 9c1b2cd5abc3
Revises: 7a1a802617b2
Create Date: 2026-11-20T15:35:20+00:00
"""

from redismigrate import Operations

revision = "9c1b2cd5abc3"
down_revision = "7a1a802617b2"
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    """Split "role::program|use::converting" where the data does, not at commas."""
    with op.index("packages") as index:
        index.alter_field("tags", separator="|")


def downgrade(op: Operations) -> None:
    """Split at commas again, which no tag contains."""
    with op.index("packages") as index:
        index.alter_field("tags", separator=",")
