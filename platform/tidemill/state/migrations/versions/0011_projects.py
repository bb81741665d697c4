"""Which projects keep their records here, and indexes for lists that are read a page at a time."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INDEXES = {
    "monitor_runs": (("model", "at", "id"), ("model", "monitor", "at", "id")),
    "promotions": (("model", "requested_at", "id"),),
    "gate_decisions": (("model", "decided_at", "id"), ("model", "candidate")),
    "turns": (("model", "requested_at", "id"),),
    "alerts": (("model", "status", "raised_at"),),
    "notifications": (("model", "at", "id"),),
    "rollouts": (("model", "requested_at", "id"),),
    "batch_runs": (("model", "slot"),),
    "jobs": (("model", "requested_at", "id"),),
}


def _names() -> Iterator[tuple[str, str, list[str]]]:
    for table, indexes in _INDEXES.items():
        for columns in indexes:
            yield f"ix_{table}_{'_'.join(columns)}", table, list(columns)


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("model", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("root", sa.String, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_projects"),
    )
    for name, table, columns in _names():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in _names():
        op.drop_index(name, table)
    op.drop_table("projects")
