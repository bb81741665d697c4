"""Users, their roles and sessions, failed logins; keys that carry roles and belong to users."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _moment(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "users",
        *(_text("id"), _text("name"), _text("name_folded"), _text("display_name"), _text("password", True)),
        *(_moment("password_at", True), _moment("created_at"), _text("created_by")),
        _moment("disabled_at", True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name_folded", name="uq_users_name_folded"),
    )
    op.create_table(
        "role_grants",
        *(_text("user_id"), _text("project"), _text("role"), _moment("granted_at"), _text("granted_by")),
        sa.PrimaryKeyConstraint("user_id", "project", "role", name="pk_role_grants"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_role_grants_user_id"),
    )
    op.create_table(
        "login_sessions",
        *(_text("digest"), _text("id"), _text("user_id"), _text("csrf"), _moment("created_at")),
        *(_moment("seen_at"), _moment("expires_at"), _text("address"), _text("agent")),
        sa.PrimaryKeyConstraint("digest", name="pk_login_sessions"),
        sa.UniqueConstraint("id", name="uq_login_sessions_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_login_sessions_user_id"),
    )
    op.create_index("ix_login_sessions_user_id_created_at", "login_sessions", ["user_id", "created_at"])
    op.create_table(
        "failed_logins",
        *(_text("subject"), sa.Column("failures", sa.Integer, nullable=False)),
        *(_moment("last_at"), _moment("blocked_until", True)),
        sa.PrimaryKeyConstraint("subject", name="pk_failed_logins"),
    )
    op.create_index("ix_failed_logins_last_at", "failed_logins", ["last_at"])
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("roles", sa.JSON(), nullable=True))
        keys.add_column(_text("owner", True))
        keys.create_index("ix_api_keys_owner", ["owner"])
        keys.create_foreign_key("fk_api_keys_owner", "users", ["owner"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as keys:
        keys.drop_constraint("fk_api_keys_owner", type_="foreignkey")
        keys.drop_index("ix_api_keys_owner")
        keys.drop_column("owner")
        keys.drop_column("roles")
    for table in ("failed_logins", "login_sessions", "role_grants", "users"):
        op.drop_table(table)
