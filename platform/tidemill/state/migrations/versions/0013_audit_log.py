"""The audit log, which the database itself keeps append-only.

A later migration must not make these tables anew (`batch_alter_table` does so in SQLite): the triggers would
be lost with the old ones.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INDEXES = (
    ("at", "seq"),
    ("model", "at", "seq"),
    ("actor", "at", "seq"),
    ("action", "at", "seq"),
    ("model", "actor", "at", "seq"),
    ("model", "action", "at", "seq"),
)
_REFUSED = "the audit log is append-only"
_NEXT = (
    "NEW.seq IS DISTINCT FROM COALESCE((SELECT MAX(seq) FROM audit_entries), "
    "(SELECT MAX(seq) FROM audit_anchors), 0) + 1 "
    "OR NEW.prev_hash IS DISTINCT FROM COALESCE("
    "(SELECT hash FROM audit_entries ORDER BY seq DESC LIMIT 1), "
    "(SELECT hash FROM audit_anchors ORDER BY seq DESC LIMIT 1), "
    "'0000000000000000000000000000000000000000000000000000000000000000')"
)
_KEPT = "OLD.seq > COALESCE((SELECT MAX(seq) FROM audit_anchors), 0)"
_UNFOUNDED = "NOT EXISTS (SELECT 1 FROM audit_entries WHERE seq = NEW.seq AND hash = NEW.hash)"
_GUARDS = (
    ("audit_entries", "INSERT", _NEXT),
    ("audit_entries", "UPDATE", "TRUE"),
    ("audit_entries", "DELETE", _KEPT),
    ("audit_anchors", "INSERT", _UNFOUNDED),
    ("audit_anchors", "UPDATE", "TRUE"),
    ("audit_anchors", "DELETE", "TRUE"),
)
"""Table, event, and the condition under which it is refused."""


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        _seq(),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("prev_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_entries")),
    )
    op.create_table(
        "audit_anchors",
        _seq(),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_anchors")),
    )
    for columns in _INDEXES:
        op.create_index(f"ix_audit_entries_{'_'.join(columns)}", "audit_entries", list(columns))
    guard = _guard_postgres if op.get_bind().dialect.name == "postgresql" else _guard_sqlite
    for table, event, refused in _GUARDS:
        guard(table, event, refused)


def downgrade() -> None:
    op.drop_table("audit_anchors")
    op.drop_table("audit_entries")
    if op.get_bind().dialect.name == "postgresql":
        for table in ("audit_entries", "audit_anchors"):
            for event in ("insert", "update", "delete", "truncate"):
                op.execute(f"DROP FUNCTION {table}_{event}()")


def _seq() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("seq", kind, nullable=False, autoincrement=False)


def _guard_sqlite(table: str, event: str, refused: str) -> None:
    condition = refused.replace("IS DISTINCT FROM", "IS NOT").replace("TRUE", "1")
    op.execute(
        f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} WHEN {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    )


def _guard_postgres(table: str, event: str, refused: str) -> None:
    name = f"{table}_{event.lower()}"
    answer = "OLD" if event == "DELETE" else "NEW"
    stop = f"RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'restrict_violation'"
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {refused} THEN {stop}; END IF; RETURN {answer}; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")
    if event == "UPDATE":
        op.execute(
            f"CREATE FUNCTION {table}_truncate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {stop}; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_truncate()"
        )
