"""The audit log by its actor and action together, so that a choice that finds nothing is answered at once."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_INDEXES = (("actor", "action", "at", "seq"), ("model", "actor", "action", "at", "seq"))


def upgrade() -> None:
    for columns in _INDEXES:
        op.create_index(f"ix_audit_entries_{'_'.join(columns)}", "audit_entries", list(columns))


def downgrade() -> None:
    for columns in _INDEXES:
        op.drop_index(f"ix_audit_entries_{'_'.join(columns)}", "audit_entries")
