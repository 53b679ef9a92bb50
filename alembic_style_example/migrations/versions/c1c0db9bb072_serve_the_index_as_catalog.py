"""serve the index as catalog

Revision ID: c1c0db9bb072
Revises: 2f5a5e4caf09
Create Date: 2026-11-20T15:35:20+00:00
"""

from redismigrate import Operations

revision = "c1c0db9bb072"
down_revision = "2f5a5e4caf09"
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    """Give clients a name that can be pointed at another index later."""
    op.create_alias("catalog", "packages")


def downgrade(op: Operations) -> None:
    """Take the name away."""
    op.drop_alias("catalog")
