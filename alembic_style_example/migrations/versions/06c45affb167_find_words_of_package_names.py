"""find words of package names

Revision ID: 06c45affb167
Revises: 2f5a5e4caf09
Create Date: 2026-11-20T15:35:20+00:00
"""

from redismigrate import Operations

revision = "06c45affb167"
down_revision = "2f5a5e4caf09"
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    """Index the name a second time, as text: the tag finds whole names only."""
    with op.index("packages") as index:
        index.add_field({"name": "name_words", "type": "text", "path": "name", "attrs": {"weight": 2}})


def downgrade(op: Operations) -> None:
    """Take the words out of the index; the tag stays."""
    with op.index("packages") as index:
        index.drop_field("name_words")
