"""What an approval is bound to: the version that is replaced, and a rollout's steps."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("approvals", sa.Column("terms", sa.JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("approvals", "terms")
