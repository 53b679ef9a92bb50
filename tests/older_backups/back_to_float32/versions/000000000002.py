"""revision 2

Revision ID: 000000000002
"""

from redismigrate import Operations

revision = "000000000002"
down_revision = "000000000001"
branch_labels = ()
depends_on = ()


def upgrade(op: Operations) -> None:
    with op.index("products") as index:
        index.alter_field("embedding", datatype="float16")


def downgrade(op: Operations) -> None:
    with op.index("products") as index:
        index.alter_field("embedding", datatype="float32")
