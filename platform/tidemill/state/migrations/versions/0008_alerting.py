"""The steps of alerts, silences, and notifications."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STEPS = (
    ("firing", "raised_at", "'monitor:' || monitor", "1 = 1"),
    ("acknowledged", "acknowledged_at", "acknowledged_by", "acknowledged_at IS NOT NULL"),
    ("resolved", "resolved_at", "'monitor:' || monitor", "resolved_at IS NOT NULL"),
)
"""Of an alert of an earlier version: step, moment, person, condition."""


def upgrade() -> None:
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("found_in", sa.Integer(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("occurrence", sa.Integer(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("fired_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "alert_steps",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("comment", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_alert_steps_alert_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_steps")),
    )
    op.create_index("ix_alert_steps_alert_id", "alert_steps", ["alert_id"])
    op.create_table(
        "silences",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("matchers", sa.JSON(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_notifications_alert_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index("ix_notifications_alert_id", "notifications", ["alert_id"])
    op.create_index("ix_notifications_model_status", "notifications", ["model", "status"])
    op.execute("UPDATE alerts SET fired_at = raised_at")
    op.execute("UPDATE alerts SET status = 'firing' WHERE status = 'open'")
    for number, (step, moment, person, condition) in enumerate(_STEPS):
        op.execute(
            f"INSERT INTO alert_steps (id, alert_id, step, at, person) "  # noqa: S608 - our own columns
            f"SELECT 'step_{number}_' || id, id, '{step}', {moment}, {person} FROM alerts WHERE {condition}"
        )


def downgrade() -> None:
    op.drop_table("notifications")
    op.drop_table("silences")
    op.drop_table("alert_steps")
    op.execute("UPDATE alerts SET status = 'open' WHERE status IN ('pending', 'firing')")
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_column("fired_at")
        batch_op.drop_column("occurrence")
        batch_op.drop_column("found_in")
