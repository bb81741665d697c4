"""Silences: about which alerts nothing is sent, until when and why; begin one, end one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field, StringConstraints

from tidemill.alerting.label_matchers import LABELS, Matchers, labels_of, matches, parse_matchers
from tidemill.alerting.silences import add_silence, check_matchers, end_of, end_silence
from tidemill.dashboard.page import Done, PageNumber, add_act, add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records.alert_rows import open_alerts, own_alert
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.templating import moment
from tidemill.dashboard.visit import Here
from tidemill.errors import RecordNotFound, UsageError
from tidemill.state import alert_queries
from tidemill.state.record_reader import Row

__all__ = ["ShownSilence", "Silences", "add_to", "silences"]


@dataclass(frozen=True)
class ShownSilence:
    """A silence."""

    id: str
    matchers: Mapping[str, str | Sequence[str]]
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    open: int
    """How many alerts that are not resolved it matches."""


@dataclass(frozen=True)
class Silences:
    """The silences of a model."""

    model: str
    in_force: Sequence[ShownSilence]
    ended: Sequence[ShownSilence]
    part: Part
    """Of those that have ended."""
    proposed: Mapping[str, str]
    """Labels that the form begins with: those of the alert that it was asked for."""


class SilenceForm(BaseModel):
    """A silence that is asked for; labels that are left empty match everything."""

    until: Annotated[str, Field(min_length=1, max_length=40, description="A moment, or how long: 8h, 2d.")]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    kind: Annotated[str, Field(max_length=200)] = ""
    monitor: Annotated[str, Field(max_length=200)] = ""
    version: Annotated[str, Field(max_length=200)] = ""
    severity: Annotated[str, Field(max_length=200)] = ""
    others: Annotated[str, Field(max_length=2000, description="LABEL=PATTERN, apart by spaces.")] = ""


class EndForm(BaseModel):
    """The end of a silence needs no words."""


def silences(
    visit: Here,
    model: str,
    alert: Annotated[str, Query(description="The alert that the form begins with.")] = "",
    number: PageNumber = 1,
) -> Silences:
    """Return the silences of a model: those in force, and those that have ended."""
    visit.project(model)
    labels = [labels_of(row) for row in open_alerts(visit.records, model)]
    in_force = alert_queries.silences(visit.records, model, visit.now, ended=False)
    over = "model = ? AND ends_at <= ?", model, visit.now
    ended, part = read_part(visit.records, "silences", *over, order="ends_at DESC, id DESC", number=number)
    proposed: dict[str, str] = {}
    if alert:
        known = labels_of(own_alert(visit.records, model, alert))
        proposed = {name: known[name] for name in ("kind", "monitor")}
    return Silences(
        model,
        [_shown(row, labels) for row in in_force],
        [_shown(row, ()) for row in ended],
        part,
        proposed,
    )


def _shown(row: Row, labels: Sequence[Mapping[str, str]]) -> ShownSilence:
    names = "id", "matchers", "author", "reason", "starts_at", "ends_at"
    open_ones = sum(matches(row.matchers, each) for each in labels)
    return ShownSilence(**{name: getattr(row, name) for name in names}, open=open_ones)


def begin_silence(visit: Here, model: str, form: SilenceForm) -> Done:
    """Send nothing about certain alerts for a while."""
    visit.project(model)
    given = {name: getattr(form, name).strip() for name in LABELS if name != "model"}
    matchers: Matchers = {name: value for name, value in given.items() if value}
    others = parse_matchers(form.others.split())
    if twice := matchers.keys() & others.keys():
        raise UsageError(f"{min(twice)} is given twice", hint="leave it out among the other labels")
    matchers = check_matchers({**matchers, **others})
    row = add_silence(
        visit.state, model, matchers, visit.who, form.reason, visit.now, end_of(form.until.strip(), visit.now)
    )
    return Done(f"Silent until {moment(row.ends_at)} UTC.", address_of("models", model, "silences"))


def end_one_silence(visit: Here, model: str, silence_id: str, form: EndForm) -> Done:
    """End a silence now."""
    visit.project(model)
    if not visit.records.select("silences", "id = ? AND model = ?", silence_id, model):
        raise RecordNotFound(f"{model} has no silence {silence_id!r}", hint="the list has those there are")
    end_silence(visit.state, silence_id, visit.now, visit.who)
    return Done("The silence has ended.", address_of("models", model, "silences"))


def add_to(app: FastAPI) -> None:
    """Add the page and its acts."""
    path, needs = "/models/{model}/silences", ("silence", "alert")
    add_page(app, path, silences, template="alerts/silences.html", needs=("read", "alert"), title="Silences")
    add_act(app, path, begin_silence, SilenceForm, needs=needs, title="Begin a silence")
    add_act(app, f"{path}/{{silence_id}}/end", end_one_silence, EndForm, needs=needs, title="End a silence")
