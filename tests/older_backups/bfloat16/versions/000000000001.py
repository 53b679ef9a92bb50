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
            "index": {"name": "products", "prefix": "p:"},
            "fields": [
                {"name": "title", "type": "text"},
                {
                    "name": "embedding",
                    "type": "vector",
                    "attrs": {
                        "algorithm": "flat",
                        "dims": 4,
                        "distance_metric": "cosine",
                        "datatype": "float16",
                    },
                },
            ],
        }
    )


def downgrade(op: Operations) -> None:
    op.drop_index("products")
