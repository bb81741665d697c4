"""Gathers all that is on record about a version, for auditors: events, decisions, who decided, monitoring."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from tidemill.accounts.auditing.audit_chain import Head, entry_facts
from tidemill.accounts.auditing.audit_reading import verify_log
from tidemill.dashboard.records.card_reading import read_card
from tidemill.errors import AuditError, ModelNotFound
from tidemill.project import Project
from tidemill.registry.cards.card_limits import limits_of
from tidemill.registry.cards.model_card import ModelCard
from tidemill.state.record_reader import Records, Row

__all__ = ["IS", "IS_NOT", "read_dossier"]

IS: Final = (
    "What Tidemill has on record about this version at the moment `made_at`: its card, each decision of the "
    "gate with all numbers, each move of the champion or of a stage to it or away from it, deployments, "
    "rollouts, requests for a second person and their answers, entries of the audit log, monitors' runs and "
    "alerts since.",
    "Times named `at`, `window_start`, `decided_at` are event times, which a replay of history has of the "
    "past; `requested_at` and those of the audit log are of the clock.",
    "Who acted is who the dashboard had logged in, or, on the command line, who the operating system or "
    "TIDEMILL_ACTOR said it was.",
)
IS_NOT: Final = (
    "No certificate, and no proof that the version is fair, safe or lawful: it repeats what was measured and "
    "said.",
    "Not complete beyond the records: acts on files, databases or MLflow past Tidemill are in it only as far "
    "as Tidemill noticed them; the log of predictions and the data themselves are not in it.",
    "Not signed: keep the audit log's number and hash (`audit.head`) elsewhere, by which `tidemill audit "
    "verify` shows whether the log was changed since.",
)
_DELETED: Final = (
    "The registry has this version no more, so its card cannot be made. The other parts are from the records."
)
_MOST = 5000
_ITS, _FROM_OR_TO = "model = ? AND version = ?", "model = ? AND (to_version = ? OR from_version = ?)"
_PARTS: Final = {
    "gate_decisions": ("gate_decisions", "model = ? AND candidate = ?", "decided_at"),
    "moves": ("promotions", _FROM_OR_TO, "requested_at"),
    "stage_moves": ("stage_moves", _FROM_OR_TO, "requested_at"),
    "deployments": ("deployments", _ITS, "requested_at"),
    "rollouts": ("rollouts", _ITS, "requested_at"),
    "turns": ("turns", _ITS, "requested_at"),
    "second_person": ("approvals", _ITS, "asked_at"),
    "monitoring": ("monitor_runs", _ITS, "at"),
    "alerts": ("alerts", _ITS, "raised_at"),
    "audit": ("audit_entries", "model = ? AND resource = 'version' AND resource_id = ?", "seq"),
}
"""Part of the dossier → table, which of its records are about a model's version, and their order."""


def read_dossier(project: Project, records: Records, version: str, now: datetime) -> dict[str, Any]:
    """Return all that is on record about a version, as values that JSON has (but for moments).

    Of one that the registry has no more there is no card; ``card_missing`` says so. Each list holds the
    latest 5,000 at most; ``truncated`` names those that had more.

    Raises:
        ModelNotFound: there is no such version, and never was by the records.
        RegistryError: the registry does not answer.
    """
    card = _card_of(project, records, version, now)
    number = version if card is None else card.version
    found, cut = _about(records, project.model, number)
    entries = found.pop("audit")
    return {
        "model": project.model,
        "version": number,
        "made_at": now,
        "made_by": project.settings.who,
        "is": IS,
        "is_not": IS_NOT,
        "card": None if card is None else asdict(card),
        "card_limits": [] if card is None else limits_of(card),
        "card_missing": _DELETED if card is None else None,
        **{name: [vars(row) for row in rows] for name, rows in found.items()},
        "monitoring": [_run(vars(row)) for row in found["monitoring"]],
        "audit": {"head": _checked(records), "entries": _facts(entries)},
        "truncated": cut,
    }


def _about(records: Records, model: str, version: str) -> tuple[dict[str, list[Row]], list[str]]:
    """Return the latest records about a version by the names of `_PARTS`, and the tables that have more."""
    found, cut = dict[str, list[Row]](), list[str]()
    for name, (table, where, order) in _PARTS.items():
        values = (model, *[version] * (where.count("?") - 1))
        rows = records.select(table, where, *values, order=f"{order} DESC", limit=_MOST + 1)
        cut += [table] if len(rows) > _MOST else []
        found[name] = rows[:_MOST][::-1]
    return found, cut


def _card_of(project: Project, records: Records, version: str, now: datetime) -> ModelCard | None:
    """Return the card of a version; None: the records know it, and the registry does not."""
    try:
        return read_card(project, records, version, now)
    except ModelNotFound:
        of = project.model, version
        known = (
            ("gate_decisions", "model = ? AND candidate = ?", "id"),
            ("promotions", "model = ? AND to_version = ?", "id"),
            ("turns", "model = ? AND version = ?", "id"),
            ("audit_entries", "model = ? AND resource = 'version' AND resource_id = ?", "seq"),
        )
        if not any(records.select(table, where, *of, order=by, limit=1) for table, where, by in known):
            raise
        return None


def _run(row: dict[str, Any]) -> dict[str, Any]:
    """Return a monitor's run without the ids of single predictions, which are somebody's."""
    results = row.pop("results") or {}
    return {**row, "results": {name: value for name, value in results.items() if name != "examples"}}


def _facts(entries: Sequence[Row]) -> list[dict[str, Any]]:
    return [{**entry_facts(row), "hash": row.hash} for row in entries]


def _checked(records: Records) -> dict[str, Any]:
    """Return the last entry of the log, and whether all of it is as it was written."""
    try:
        last: Head = verify_log(records)
    except AuditError as error:
        return {"intact": False, "said": str(error)}
    return {"intact": True, "seq": last.seq, "hash": last.hash}
