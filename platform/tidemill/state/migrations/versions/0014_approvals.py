"""What waits for a second person."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_GIVEN = ("id", "model", "action", "version", "reason", "asked_by", "person", "status")


def upgrade() -> None:
    op.create_table(
        "approvals",
        *(sa.Column(name, sa.String, nullable=False) for name in _GIVEN),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        *(sa.Column(name, sa.String, nullable=True) for name in ("decided_by", "comment")),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_model_asked_at_id", "approvals", ["model", "asked_at", "id"])


def downgrade() -> None:
    op.drop_table("approvals")
