"""create the index of packages

Revision ID: 51e8d0987b4c
Revises: base
Create Date: 2026-11-20T15:35:19+00:00
"""

from redismigrate import Operations

revision = "51e8d0987b4c"
down_revision = None
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    """Index the hashes whose keys begin with package:, with exact (FLAT) vector search."""
    op.create_index(
        {
            "index": {"name": "packages", "prefix": "package:", "storage_type": "hash"},
            "fields": [
                {"name": "name", "type": "tag"},
                {"name": "summary", "type": "text"},
                {"name": "section", "type": "tag"},
                {"name": "tags", "type": "tag"},
                {
                    "name": "embedding",
                    "type": "vector",
                    "attrs": {
                        "algorithm": "flat",
                        "dims": 384,
                        "datatype": "float32",
                        "distance_metric": "cosine",
                    },
                },
            ],
        }
    )


def downgrade(op: Operations) -> None:
    """Drop the index; the hashes stay."""
    op.drop_index("packages")
