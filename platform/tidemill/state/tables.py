"""The records, as SQLAlchemy tables. Times are aware, in UTC; ``*_at`` is event time unless noted."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, Index, MetaData, TypeDecorator, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "Alert",
    "ApiKey",
    "BatchRun",
    "Deployment",
    "Erasure",
    "GateDecision",
    "Job",
    "LaneCount",
    "MonitorRun",
    "Promotion",
    "ReplicaState",
    "Rollout",
    "Table",
    "Turn",
    "UtcDateTime",
]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC on every database (SQLite forgets time zones)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive moments, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive datetime cannot be recorded: {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back what was stored, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """Base of all records."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012


class GateDecision(Table):
    """What a gate compared, and what it decided."""

    __tablename__ = "gate_decisions"

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    candidate: Mapped[str]
    """Version number of the candidate."""
    champion: Mapped[str | None]
    """Version number of the champion it was compared with; none for the first."""
    mode: Mapped[str]
    """``enforce``, ``dry_run`` or ``off``."""
    passed: Mapped[bool]
    reasons: Mapped[list[str]]
    """One sentence a check, each with its numbers."""
    numbers: Mapped[dict[str, Any]]
    decided_at: Mapped[datetime]


class Promotion(Table):
    """One move of an alias. Written ``pending`` before the registry is touched, ``done`` after."""

    __tablename__ = "promotions"
    __table_args__ = (Index("ix_promotions_model_requested_at", "model", "requested_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    alias: Mapped[str]
    from_version: Mapped[str | None]
    to_version: Mapped[str]
    kind: Mapped[str]
    """``promotion`` or ``rollback``."""
    status: Mapped[str]
    """``pending``, ``done`` or ``superseded`` (somebody else moved the alias before this one took effect)."""
    actor: Mapped[str]
    reason: Mapped[str]
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    turn_id: Mapped[str | None] = mapped_column(ForeignKey("turns.id"), unique=True)
    """The turn that promoted: unique, so that no turn can ever promote twice."""
    at: Mapped[datetime]
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""


class Deployment(Table):
    """A version beside the champion, from when it was asked for until it ended; a change is a new record.

    Written ``pending`` before the registry's alias is touched, ``live`` after; ``stopping`` before the alias
    is taken away, ``stopped`` after. Replicas read those that are live.
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
    """Of the experiment; for the other kinds the same as ``kind``."""
    version: Mapped[str]
    champion: Mapped[str]
    """The champion at the time."""
    share: Mapped[float]
    """Of the routing keys, 0 to 1."""
    salt: Mapped[str]
    """Makes its choice of keys its own; kept while the share of one version changes."""
    status: Mapped[str]
    """``pending``, ``live``, ``stopping``, ``stopped``, or ``superseded`` (somebody else moved the alias)."""
    from_version: Mapped[str | None]
    """The version that the alias named before."""
    actor: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    live_at: Mapped[datetime | None]
    """Wall-clock time from which on replicas read it."""
    ended_at: Mapped[datetime | None]
    """Wall-clock time from which on they do not."""
    ended_reason: Mapped[str | None]


class LaneCount(Table):
    """What one replica has answered with one version in one role since it began, as it says itself."""

    __tablename__ = "lane_counts"

    replica: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    """``champion``, ``canary``, ``ab:<name>`` or ``shadow``."""
    version: Mapped[str] = mapped_column(primary_key=True)
    answered: Mapped[int]
    """Rows it scored."""
    failed: Mapped[int]
    """Rows it could not score; the champion answered them."""
    dropped: Mapped[int]
    """Copies for a shadow that were not taken, because there was too much to do."""
    seconds: Mapped[dict[str, Any]]
    """How long its calls took: bucket (`tidemill.serving.tally`) → calls."""
    error: Mapped[str | None]
    """The last one."""
    seen_at: Mapped[datetime]
    """Wall-clock time of the last change."""


class Rollout(Table):
    """A canary on its way to champion, and how far it has come. Each step is written before it is taken."""

    __tablename__ = "rollouts"
    __table_args__ = (
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
    """The champion that it is compared with."""
    plan: Mapped[dict[str, Any]]
    """Steps and limits, as `serve.rollout` of params.yaml had them when it began."""
    status: Mapped[str]
    """``running``, ``promoting``, then ``promoted``, ``rolled_back`` or ``stopped``."""
    step: Mapped[int]
    """Which of the plan's steps is under way, from 0."""
    baseline: Mapped[dict[str, Any]]
    """The replicas' counts when the step began."""
    checks: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """The last check of each step."""
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    """What the gate said before the first step."""
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


class Turn(Table):
    """One turn of the loop (a training or a retraining) and how far it has come."""

    __tablename__ = "turns"
    __table_args__ = (
        Index(
            "uq_turns_one_running_a_model",
            "model",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    trigger: Mapped[str]
    """``manual``, or the kind of alert that set it off."""
    policy: Mapped[str | None]
    reason: Mapped[str]
    alert_id: Mapped[str | None] = mapped_column(ForeignKey("alerts.id"))
    actor: Mapped[str]
    promote: Mapped[bool]
    """Whether the candidate is to go through the gate and be promoted, or only registered."""
    overrides: Mapped[dict[str, Any]]
    """Values of params.yaml that this turn sets, by dotted name."""
    as_of: Mapped[datetime]
    """Nothing known later than this moment may enter the turn."""
    status: Mapped[str]
    """``running``, then ``registered``, ``promoted``, ``refused`` or ``failed``."""
    step: Mapped[str]
    """The step under way: ``data``, ``train``, ``register``, ``gate``, ``promote`` or ``end``."""
    data_revision: Mapped[str | None]
    run_id: Mapped[str | None]
    version: Mapped[str | None]
    decision_id: Mapped[str | None] = mapped_column(ForeignKey("gate_decisions.id"))
    error: Mapped[str | None]
    seconds: Mapped[dict[str, Any]]
    """Wall-clock seconds by step."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end."""


class MonitorRun(Table):
    """One evaluation of a monitor over one window."""

    __tablename__ = "monitor_runs"
    __table_args__ = (Index("ix_monitor_runs_monitor_at", "monitor", "at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    monitor: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    rows: Mapped[int]
    labelled: Mapped[int]
    verdict: Mapped[str]
    """``ok``, ``alert`` or ``too_few``."""
    results: Mapped[dict[str, Any]]
    report_path: Mapped[str | None]
    """The HTML report, relative to the project's folder; the results lie beside it as JSON."""
    at: Mapped[datetime]


class Alert(Table):
    """Something a person, or a policy, should look at."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_model_raised_at", "model", "raised_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    monitor: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    kind: Mapped[str]
    """``data_drift``, ``prediction_drift``, ``quality`` or ``feature_skew``."""
    severity: Mapped[str]
    message: Mapped[str]
    details: Mapped[dict[str, Any]]
    monitor_run_id: Mapped[str] = mapped_column(ForeignKey("monitor_runs.id"))
    status: Mapped[str]
    """``open``, ``acknowledged`` or ``resolved``."""
    raised_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    """The last monitor run that still found it: an open alert is seen again, not raised again."""
    acknowledged_by: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]


class Erasure(Table):
    """The erasure of one subject: that it was asked for, and what was done. It names nobody."""

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_pseudonym", "pseudonym"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    entity: Mapped[str]
    """The column of the key; several, in order, with `` + `` between them."""
    pseudonym: Mapped[str]
    """The pseudonym of its value; several likewise. Never the value itself."""
    actor: Mapped[str]
    reason: Mapped[str]
    history: Mapped[bool]
    """Whether earlier data versions were to be purged too."""
    status: Mapped[str]
    """``running``, then ``done``, or ``incomplete``: something still holds the subject (see ``steps``)."""
    steps: Mapped[dict[str, Any]]
    """By step: its ``status``, what was ``found`` before anything was changed, and what was ``removed``."""
    error: Mapped[str | None]
    """Why the last attempt stopped."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end."""


class ApiKey(Table):
    """A key of the prediction API: what it is for, and the digests of its secrets."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(
            "uq_api_keys_one_name_in_use",
            "name",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """It stands in logs; the secret is not here."""
    name: Mapped[str]
    scopes: Mapped[list[str]]
    digest: Mapped[str]
    """SHA-256 of the secret, in hexadecimal."""
    previous_digest: Mapped[str | None]
    """Of the secret before the last rotation."""
    previous_until: Mapped[datetime | None]
    """Wall-clock time until which that one is valid."""
    rate: Mapped[float | None]
    """Requests a second, over all replicas."""
    created_at: Mapped[datetime]
    """Wall-clock time, as are all moments here."""
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    rotated_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To ten minutes, as replicas say now and then."""


class Job(Table):
    """A slow prediction: what was asked for, how far it is, and what it came to."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("uq_jobs_model_caller_key", "model", "caller", "key", unique=True),
        Index("ix_jobs_model_status_due_at", "model", "status", "due_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    caller: Mapped[str]
    """Id of the API key that submitted it; empty where none is needed."""
    key: Mapped[str | None]
    """What makes submitting it twice one job."""
    digest: Mapped[str]
    """SHA-256 of what was submitted, in hexadecimal; empty if that was erased."""
    status: Mapped[str]
    """``queued``, ``running``, ``done``, ``dead`` (too many attempts came to nothing) or ``cancelled``."""
    version: Mapped[str | None]
    """The version that answers: the champion when the first attempt began."""
    at: Mapped[datetime]
    """Moment of its predictions."""
    test: Mapped[bool]
    rows: Mapped[int]
    rows_done: Mapped[int]
    attempts: Mapped[int]
    """Attempts since it last got on."""
    worker: Mapped[str | None]
    """Who runs it."""
    error: Mapped[str | None]
    """Why the last attempt came to nothing."""
    cancel_requested: Mapped[bool]
    requested_at: Mapped[datetime]
    """Wall-clock time, as are the moments below."""
    due_at: Mapped[datetime]
    """Not to be run before."""
    published_at: Mapped[datetime | None]
    """When a message about it last went to the broker."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    """When its files, and what is on record of them, were erased, as they named an erased subject."""


class ReplicaState(Table):
    """Which version a serving replica answers with, as the replica itself says."""

    __tablename__ = "replicas"

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str | None]
    wanted: Mapped[str | None]
    """The version that the alias names; differs from ``version`` while it loads, or if it cannot load."""
    error: Mapped[str | None]
    lanes: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    """The versions beside the champion: role, version, share, whether it is loaded, and why not."""
    loaded_at: Mapped[datetime | None]
    """Wall-clock time at which ``version`` began to answer."""
    seen_at: Mapped[datetime]
    """Wall-clock time of the replica's last sign of life."""


class BatchRun(Table):
    """One slot of a batch scoring schedule, and what it came to."""

    __tablename__ = "batch_runs"
    __table_args__ = (Index("uq_batch_runs_slot", "model", "schedule", "slot", unique=True),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    schedule: Mapped[str]
    slot: Mapped[datetime]
    """The moment that it is for: unique by schedule, so that no slot is ever scored twice."""
    status: Mapped[str]
    """``running`` (a process is at it, or was killed), ``done``, ``failed`` or ``skipped``."""
    tries: Mapped[int]
    version: Mapped[str | None]
    rows: Mapped[int | None] = mapped_column(BigInteger)
    """Of the input."""
    rejected: Mapped[int | None] = mapped_column(BigInteger)
    output: Mapped[str | None]
    error: Mapped[str | None]
    """Why the last try failed, or why it was skipped."""
    at: Mapped[datetime]
    """Of the last try."""
    requested_at: Mapped[datetime]
    """Wall-clock time of the record."""
    finished_at: Mapped[datetime | None]
    """Wall-clock time of the end of the last try."""
