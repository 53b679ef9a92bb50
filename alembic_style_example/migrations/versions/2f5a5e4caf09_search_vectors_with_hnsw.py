"""search vectors with HNSW

Revision ID: 2f5a5e4caf09
Revises: 9c1b2cd5abc3
Create Date: 2026-11-20T15:35:20+00:00
"""

from redismigrate import Operations

revision = "2f5a5e4caf09"
down_revision = "9c1b2cd5abc3"
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    """Search vectors along a graph instead of comparing all of them."""
    with op.index("packages") as index:
        index.alter_field("embedding", algorithm="hnsw", m=16, ef_construction=200)


def downgrade(op: Operations) -> None:
    """Compare all vectors again."""
    with op.index("packages") as index:
        index.alter_field("embedding", algorithm="flat")
