"""How a turn sought its model, what its version was for, and what it took."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COLUMNS = {
    "cpu_seconds": sa.Double,
    "recipe": sa.JSON,
    "windows": sa.JSON,
    "action": sa.String,
    "question": sa.JSON,
}


def upgrade() -> None:
    with op.batch_alter_table("turns", schema=None) as batch_op:
        for name, kind in _COLUMNS.items():
            batch_op.add_column(sa.Column(name, kind(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("turns", schema=None) as batch_op:
        for name in reversed(_COLUMNS):
            batch_op.drop_column(name)
