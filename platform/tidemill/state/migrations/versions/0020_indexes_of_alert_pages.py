"""Indexes for the page of an alert: marks of noise, how often it fired, and the moves and turns before it."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_INDEXES = (
    ("alert_steps", ("step", "at")),
    ("promotions", ("model", "at", "id")),
    ("rollouts", ("model", "at", "id")),
    ("turns", ("model", "version", "requested_at")),
)


def upgrade() -> None:
    for table, columns in _INDEXES:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def downgrade() -> None:
    for table, columns in _INDEXES:
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table)
