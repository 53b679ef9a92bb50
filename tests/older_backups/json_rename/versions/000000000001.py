"""revision 1

Revision ID: 000000000001
"""

from redismigrate import Operations

revision = "000000000001"
down_revision = None
branch_labels = ()
depends_on = ()


def upgrade(op: Operations) -> None:
    op.create_index(
        {
            "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
            "fields": [
                {"name": "title", "type": "text", "path": "$.title"},
                {"name": "brand", "type": "tag", "path": "$.brand"},
            ],
        }
    )


def downgrade(op: Operations) -> None:
    op.drop_index("products")
