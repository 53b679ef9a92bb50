"""index the installed size

Revision ID: 7a1a802617b2
Revises: 51e8d0987b4c
Create Date: 2026-11-20T15:35:19+00:00
"""

from redismigrate import Operations

revision = "7a1a802617b2"
down_revision = "51e8d0987b4c"
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    """Make packages findable and sortable by the size they take when installed."""
    with op.index("packages") as index:
        index.add_field({"name": "installed_kb", "type": "numeric", "attrs": {"sortable": True}})


def downgrade(op: Operations) -> None:
    """Take the size out of the index; the hashes keep it."""
    with op.index("packages") as index:
        index.drop_field("installed_kb")
