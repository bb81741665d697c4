"""Defines the tables of the audit log: its entries, where its retention cut it, and who was told of them."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["AuditAnchor", "AuditEntry", "WebhookCursor"]

_SEQ = BigInteger().with_variant(Integer, "sqlite")


class AuditEntry(Table):
    """What somebody did. Triggers of the database refuse every change, and a seq that does not follow."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_at_seq", "at", "seq"),
        Index("ix_audit_entries_model_at_seq", "model", "at", "seq"),
        Index("ix_audit_entries_actor_at_seq", "actor", "at", "seq"),
        Index("ix_audit_entries_action_at_seq", "action", "at", "seq"),
        Index("ix_audit_entries_model_actor_at_seq", "model", "actor", "at", "seq"),
        Index("ix_audit_entries_model_action_at_seq", "model", "action", "at", "seq"),
        Index("ix_audit_entries_actor_action_at_seq", "actor", "action", "at", "seq"),
        Index("ix_audit_entries_model_actor_action_at_seq", "model", "actor", "action", "at", "seq"),
    )

    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=False)
    """From 1, without a gap."""
    version: Mapped[int]
    """Of the form that is hashed (`tidemill.accounts.auditing.audit_chain`)."""
    at: Mapped[datetime]
    """Wall-clock time of the record."""
    actor: Mapped[str]
    actor_kind: Mapped[str]
    """``person`` or ``token`` (logged in), ``open`` (nobody has to log in), ``command`` (the command line, by
    the name of the account there) or ``process`` (a policy, a rollout, the registry)."""
    model: Mapped[str | None]
    """None for what concerns the whole installation."""
    action: Mapped[str]
    resource: Mapped[str]
    """Kind of what it was done to, as in `tidemill.accounts.roles`."""
    resource_id: Mapped[str]
    reason: Mapped[str | None]
    details: Mapped[str] = mapped_column(Text)
    """Canonical JSON."""
    address: Mapped[str | None]
    """Network address of the caller; None for what was not asked for over the network."""
    prev_hash: Mapped[str]
    """Hash of the entry before; zeros for the first."""
    hash: Mapped[str]
    """SHA-256 of the canonical JSON of all other columns, in hexadecimal."""


class AuditAnchor(Table):
    """The last entry that retention removed: the chain goes on after it."""

    __tablename__ = "audit_anchors"

    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=False)
    hash: Mapped[str]
    """Of that entry."""
    at: Mapped[datetime]
    """Wall-clock time of that entry."""


class WebhookCursor(Table):
    """What a webhook has taken. All times are of the clock."""

    __tablename__ = "webhook_cursors"

    model: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    """Number of the last entry of the audit log that it took, or was not to be told of."""
    attempts: Mapped[int]
    """How often the next one was refused."""
    due_at: Mapped[datetime]
    """When it is tried next."""
    taken_at: Mapped[datetime | None]
    problem: Mapped[str | None]
    """Why it did not take the next one."""
