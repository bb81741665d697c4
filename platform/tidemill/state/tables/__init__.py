"""Defines the records as SQLAlchemy tables, one module for each subject. Times are aware, in UTC.

``*_at`` is event time unless noted.
"""

from tidemill.state.tables.accounts import FailedLogins, LoginSession, RoleGrant, User
from tidemill.state.tables.alerts import Alert, AlertStep, Notification, Silence
from tidemill.state.tables.approvals import Approval
from tidemill.state.tables.asked_acts import AskedAct
from tidemill.state.tables.audit_log import AuditAnchor, AuditEntry, WebhookCursor
from tidemill.state.tables.declarative import Table, UtcDateTime
from tidemill.state.tables.deployments import Deployment, ReplicaState, Rollout, VersionCount
from tidemill.state.tables.erasures import Erasure
from tidemill.state.tables.jobs import BatchRun, Claim, Job
from tidemill.state.tables.keys import ApiKey
from tidemill.state.tables.monitor_runs import MonitorRun
from tidemill.state.tables.policy_backtests import PolicyBacktest
from tidemill.state.tables.policy_decisions import PolicyDecision
from tidemill.state.tables.projects import KnownProject
from tidemill.state.tables.promotions import GateDecision, Promotion, SeenVersions, StageMove
from tidemill.state.tables.sign_on import LinkedAccount, SignOnAttempt
from tidemill.state.tables.turns import Turn

__all__ = [
    "Alert",
    "AlertStep",
    "ApiKey",
    "Approval",
    "AskedAct",
    "AuditAnchor",
    "AuditEntry",
    "BatchRun",
    "Claim",
    "Deployment",
    "Erasure",
    "FailedLogins",
    "GateDecision",
    "Job",
    "KnownProject",
    "LinkedAccount",
    "LoginSession",
    "MonitorRun",
    "Notification",
    "PolicyBacktest",
    "PolicyDecision",
    "Promotion",
    "ReplicaState",
    "RoleGrant",
    "Rollout",
    "SeenVersions",
    "SignOnAttempt",
    "Silence",
    "StageMove",
    "Table",
    "Turn",
    "User",
    "UtcDateTime",
    "VersionCount",
    "WebhookCursor",
]
