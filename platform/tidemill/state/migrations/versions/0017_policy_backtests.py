"""Backtests of policies."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_backtests",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_backtests")),
    )
    op.create_index("ix_policy_backtests_model_made_at", "policy_backtests", ["model", "made_at"])


def downgrade() -> None:
    op.drop_index("ix_policy_backtests_model_made_at", "policy_backtests")
    op.drop_table("policy_backtests")
