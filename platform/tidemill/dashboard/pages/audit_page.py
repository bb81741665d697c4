"""The audit log: who did what, for those who may read it; and its export."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import FastAPI, Query
from starlette.responses import StreamingResponse

from tidemill.accounts.auditing.audit_chain import entry_facts
from tidemill.accounts.auditing.audit_export import csv_lines, json_lines
from tidemill.accounts.auditing.audit_reading import AuditFilter, all_entries, latest_entries
from tidemill.accounts.identities import decide
from tidemill.clock import parse_moment
from tidemill.dashboard.error_pages import API
from tidemill.dashboard.page import add_page, permissions
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import NotAllowed, UsageError

__all__ = ["AuditLine", "AuditPage", "add_to", "audit_log", "export_audit"]

_ROWS = 50
Text = Annotated[str, Query(max_length=200)]
Since = Annotated[str, Query(alias="from", max_length=40, description="Only since then (ISO 8601).")]
Until = Annotated[str, Query(alias="to", max_length=40, description="Only until then; a day counts whole.")]


@dataclass(frozen=True)
class AuditLine:
    """One entry."""

    seq: int
    at: datetime
    actor: str
    actor_kind: str
    model: str | None
    """None: it concerns the whole installation."""
    action: str
    resource: str
    resource_id: str
    reason: str | None
    details: dict[str, Any]
    address: str | None
    hash: str


@dataclass(frozen=True)
class Chosen:
    """What the list is narrowed to; empty where it is not."""

    actor: str
    action: str
    model: str
    since: str
    until: str


@dataclass(frozen=True)
class AuditPage:
    """Some entries, the latest first."""

    entries: Sequence[AuditLine]
    older: int | None
    """``before`` of the next page; None if this is the last."""
    everything: bool
    """Whether entries of the whole installation are among them."""
    models: Sequence[str]
    """Whose entries the visitor may read."""
    chosen: Chosen
    query: str
    """The same choice as a query string."""


def audit_log(
    visit: Here,
    actor: Text = "",
    action: Text = "",
    model: Text = "",
    since: Since = "",
    until: Until = "",
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> AuditPage:
    """Return entries that the visitor may read, the latest first."""
    chosen = Chosen(actor.strip(), action.strip(), model, since.strip(), until.strip())
    found = latest_entries(visit.records, _wanted(visit, chosen, "read"), _ROWS + 1, before)
    shown = found[:_ROWS]
    names = {"since": "from", "until": "to"}
    query = urlencode({names.get(name, name): value for name, value in asdict(chosen).items() if value})
    return AuditPage(
        [_line(row) for row in shown],
        shown[-1].seq if len(found) > _ROWS else None,
        _everything(visit, "read"),
        _models(visit, "read"),
        chosen,
        query,
    )


def export_audit(
    visit: Here,
    format: Literal["jsonl", "csv"] = "jsonl",
    actor: Text = "",
    action: Text = "",
    model: Text = "",
    since: Since = "",
    until: Until = "",
) -> StreamingResponse:
    """Return all entries of a choice as a file, in order."""
    chosen = Chosen(actor.strip(), action.strip(), model, since.strip(), until.strip())
    rows = all_entries(visit.records, _wanted(visit, chosen, "export"))
    lines, kind = (
        (csv_lines(rows), "text/csv") if format == "csv" else (json_lines(rows), "application/x-ndjson")
    )
    named = {"Content-Disposition": f'attachment; filename="audit.{format}"'}
    return StreamingResponse(lines, media_type=f"{kind}; charset=utf-8", headers=named)


def _wanted(visit: Visit, chosen: Chosen, action: str) -> AuditFilter:
    """Return the filter of a choice, narrowed to what the visitor may see.

    Raises:
        ModelNotFound: there is no such model.
        NotAllowed: the visitor may not see the entries of this one, or of any.
        UsageError: a moment is none.
    """
    models: Sequence[str] | None = None if _everything(visit, action) else _models(visit, action)
    if chosen.model:
        shown = visit.project(chosen.model)
        if not visit.may(action, "audit", shown.model):
            raise NotAllowed(
                f"{visit.who} may not {action} the audit log of {shown.name}",
                hint="an admin gives the role operator: `tidemill users grant`, or the page People",
            )
        models = (shown.model,)
    elif models is not None and not models:
        raise NotAllowed(
            f"{visit.who} may not {action} the audit log", hint="an admin gives the role operator"
        )
    since, until = _moment(chosen.since), _moment(chosen.until)
    if until is not None and len(chosen.until) == len("2026-01-31"):
        until = None if until.date() == date.max else until + timedelta(days=1)
    return AuditFilter(since, until, chosen.actor or None, chosen.action or None, models)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a moment", hint="write it like 2026-01-31") from error


def _everything(visit: Visit, action: str) -> bool:
    return decide(visit.identity, (action, "audit"), None) == "allowed"


def _models(visit: Visit, action: str) -> Sequence[str]:
    return [one.model for one in visit.projects if visit.may(action, "audit", one.model)]


def _line(row: Any) -> AuditLine:
    facts = {**entry_facts(row), "at": row.at, "hash": row.hash}
    return AuditLine(**{name: facts[name] for name in AuditLine.__dataclass_fields__})


def add_to(app: FastAPI) -> None:
    """Add the page and its export, which is the same for people and programs."""
    add_page(app, "/audit", audit_log, template="audit.html", needs=("read", "audit"), title="Audit log")
    app.add_api_route("/audit/export", export_audit, methods=["GET"], include_in_schema=False)
    app.add_api_route(
        f"{API}/audit/export",
        export_audit,
        methods=["GET"],
        summary="Audit log, as a file",
        response_class=StreamingResponse,
        response_model=None,
    )
    permissions(app)["/audit/export"] = ("export", "audit")
