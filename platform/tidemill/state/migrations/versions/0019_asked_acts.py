"""Acts that people asked for by a form."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_GIVEN = ("id", "model", "act", "subject", "reason", "actor", "status")


def upgrade() -> None:
    op.create_table(
        "asked_acts",
        *(sa.Column(name, sa.String, nullable=False) for name in _GIVEN),
        sa.Column("result", sa.JSON, nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_asked_acts"),
    )
    op.create_index("ix_asked_acts_model_asked_at", "asked_acts", ["model", "asked_at"])
    running = sa.text("status = 'running'")
    op.create_index(
        "uq_asked_acts_one_running",
        "asked_acts",
        ["model", "act", "subject"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )


def downgrade() -> None:
    op.drop_table("asked_acts")
