"""What replicas had counted for a version in its role when its deployment began."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deployments", sa.Column("counted_before", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("deployments", "counted_before")
