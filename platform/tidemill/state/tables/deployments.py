"""Defines the tables of versions beside the champion, their rollouts, replicas, and replicas' counts."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from tidemill.state.tables.declarative import Table

__all__ = ["Deployment", "ReplicaState", "Rollout", "VersionCount"]


class Deployment(Table):
    """A version beside the champion, from its request to its end; each change is a new record.

    The status is ``pending`` before the registry's alias is set and ``live`` after, ``stopping`` before the
    alias is deleted and ``stopped`` after. Replicas read the live records.
    """

    __tablename__ = "deployments"
    __table_args__ = (
        Index("ix_deployments_model_requested_at", "model", "requested_at"),
        Index(
            "uq_deployments_one_live_a_name",
            "model",
            "name",
            unique=True,
            sqlite_where=text("status = 'live'"),
            postgresql_where=text("status = 'live'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    kind: Mapped[str]
    """``canary``, ``ab``, ``shadow`` or ``challenger``."""
    name: Mapped[str]
    """Name of the experiment; for the other kinds the same as ``kind``."""
    version: Mapped[str]
    champion: Mapped[str]
    """The champion at that time."""
    share: Mapped[float]
    """Share of the routing keys, 0 to 1."""
    salt: Mapped[str]
    """Salt for hashing routing keys; it stays the same while the share of one version changes."""
    status: Mapped[str]
    """``pending``, ``live``, ``stopping``, ``stopped``, or ``superseded`` (somebody else moved the alias)."""
    from_version: Mapped[str | None]
    """The version that the alias pointed to before."""
    actor: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    live_at: Mapped[datetime | None]
    """Wall-clock time when replicas began to read it."""
    ended_at: Mapped[datetime | None]
    """Wall-clock time when replicas stopped reading it."""
    ended_reason: Mapped[str | None]
    counted_before: Mapped[dict[str, Any] | None]
    """What all replicas had counted for the version in its role when it began, as `Rollout.baseline`."""


class VersionCount(Table):
    """One replica's own counts for one version in one role since the replica started."""

    __tablename__ = "lane_counts"

    replica: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    """``champion``, ``canary``, ``ab:<name>`` or ``shadow``."""
    version: Mapped[str] = mapped_column(primary_key=True)
    answered: Mapped[int]
    """Rows that the version scored."""
    failed: Mapped[int]
    """Rows that the version failed to score; the champion answered them."""
    dropped: Mapped[int]
    """Copies for a shadow that were dropped because of overload."""
    seconds: Mapped[dict[str, Any]]
    """Call durations: bucket (`tidemill.serving.observability.version_counters`) → number of calls."""
    error: Mapped[str | None]
    """The last error."""
    seen_at: Mapped[datetime]
    """Wall-clock time of the last change."""


class Rollout(Table):
    """The rollout of a canary to champion, and its progress. Each step is recorded before it is taken."""

    __tablename__ = "rollouts"
    __table_args__ = (
        Index("ix_rollouts_model_requested_at_id", "model", "requested_at", "id"),
        Index("ix_rollouts_model_at_id", "model", "at", "id"),
        Index(
            "uq_rollouts_one_running_a_model",
            "model",
            unique=True,
            sqlite_where=text("status IN ('running', 'promoting')"),
            postgresql_where=text("status IN ('running', 'promoting')"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    champion: Mapped[str]
    """The champion that the canary is compared with."""
    plan: Mapped[dict[str, Any]]
    """Steps and limits, as `serve.rollout` of params.yaml had them when it began."""
    status: Mapped[str]
    """``running``, ``promoting``, then ``promoted``, ``rolled_back`` or ``stopped``."""
    step: Mapped[int]
    """Index of the current step of the plan, from 0."""
    baseline: Mapped[dict[str, Any]]
    """The replicas' counts when the step began."""
    checks: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """The last check of each step."""
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    """The gate's decision before the first step."""
    actor: Mapped[str]
    reason: Mapped[str]
    outcome: Mapped[str | None]
    """Why it ended as it did."""
    at: Mapped[datetime]
    """When it began, event time."""
    stepped_at: Mapped[datetime]
    """When the step began, event time."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end."""


class ReplicaState(Table):
    """Which version a serving replica answers with, as the replica reports."""

    __tablename__ = "replicas"

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str | None]
    wanted: Mapped[str | None]
    """The version that the alias points to; differs from ``version`` while it loads or if it cannot load."""
    error: Mapped[str | None]
    lanes: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    """The versions beside the champion: role, version, share, whether it is loaded, and why not."""
    loaded_at: Mapped[datetime | None]
    """Wall-clock time at which ``version`` began to answer."""
    seen_at: Mapped[datetime]
    """Wall-clock time of the replica's last heartbeat."""
