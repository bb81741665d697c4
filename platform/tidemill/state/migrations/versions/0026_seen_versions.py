"""Which versions the registry had when it was last looked at."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "seen_versions",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_seen_versions")),
    )


def downgrade() -> None:
    op.drop_table("seen_versions")
