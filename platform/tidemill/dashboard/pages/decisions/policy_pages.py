"""Policies: when they ask for a turn, what each decided and why it holds, and the last backtest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import FastAPI

from tidemill.dashboard.acting import act_apart
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.backtest_rows import ShownBacktest, latest_backtest
from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.visit import Here
from tidemill.errors import TidemillError
from tidemill.retraining.past_holds import why_over
from tidemill.retraining.policies import Policy, load_policies
from tidemill.state.record_reader import Row

__all__ = ["Policies", "PoliciesNow", "add_to", "policies", "policies_now"]

_KEPT_SECONDS = 60.0
_PLACE_SECONDS = 300.0


@dataclass(frozen=True)
class PolicyWord:
    """What a policy decided, and in how many rounds of the controller it came to it."""

    policy: str
    verdict: str
    rule: str | None
    reason: str
    cause_message: str
    alert_id: str | None
    turn_id: str | None
    first_at: datetime
    last_at: datetime
    rounds: int


@dataclass(frozen=True)
class DeclaredPolicy:
    """A policy of the project, and its last word."""

    name: str
    asks_when: str
    action: str | None
    last: PolicyWord | None
    over: str | None
    """Why its last word, a hold, holds no more, or may not; None while it does, and where it is none."""


@dataclass(frozen=True)
class Policies:
    """The policies, and a page of what they decided."""

    model: str
    declared: Sequence[DeclaredPolicy]
    problem: str | None
    """Why the declarations cannot be read."""
    words: Sequence[PolicyWord]
    part: Part
    backtest: ShownBacktest | None
    """The latest one on record."""


@dataclass(frozen=True)
class PolicyNow:
    """A policy judged at this moment."""

    policy: str
    asks_when: str
    verdict: str | None
    rule: str | None
    reason: str | None
    cause: str | None
    rules: Mapping[str, str | None]
    """Rule → why it holds the turn, or None; empty where nothing asks for one."""
    untold: str | None
    lacking: Sequence[str]
    """What conditions that are no alerts still lack."""
    too_old: Sequence[str]
    unheard: Sequence[str]
    """Open alerts of which no condition names the kind."""


@dataclass(frozen=True)
class PoliciesNow:
    """All policies judged at this moment."""

    model: str
    at: datetime
    """When they were judged; nobody waits longer than a minute for a new judgement."""
    policies: Sequence[PolicyNow]


def policies(visit: Here, model: str, number: PageNumber = 1) -> Policies:
    """Return the policies of a project, and what they decided, the latest first."""
    shown = visit.project(model)
    declared: Sequence[Policy] = ()
    problem = None
    try:
        declared = load_policies(visit.installation.load(shown))
    except TidemillError as error:
        problem = str(error)
    order = "last_at DESC, id DESC"
    rows, part = read_part(visit.records, "policy_decisions", "model = ?", model, order=order, number=number)
    latest: dict[str, Row] = {}
    for each in declared:
        of = "model = ? AND policy = ?", model, each.name
        found = visit.records.select("policy_decisions", *of, order=order, limit=1)
        if found:
            latest[each.name] = found[0]
    known = [_declared(visit, each, latest.get(each.name)) for each in declared]
    past = latest_backtest(visit.records, model)
    return Policies(model, known, problem, [_word(row) for row in rows], part, past)


def _declared(visit: Here, policy: Policy, last: Row | None) -> DeclaredPolicy:
    word = None if last is None else _word(last)
    over = None if last is None else why_over(visit.records, last, visit.now)
    return DeclaredPolicy(policy.name, policy.asks_when, policy.action, word, over)


def _word(row: Row) -> PolicyWord:
    return PolicyWord(**{name: getattr(row, name) for name in PolicyWord.__dataclass_fields__})


def policies_now(visit: Here, model: str) -> PoliciesNow:
    """Judge the policies of a project now, without acting on it.

    Raises:
        BeingComputed: it takes seconds, in a process of its own; the judgement is kept for a minute.
    """
    project = visit.installation.load(visit.project(model))

    def work() -> dict[str, Any]:
        return act_apart(visit, project, "judge-policies", _PLACE_SECONDS) | {"at": visit.now}

    found = READINGS.read(f"what the policies of {model} say", ("policies", model), work, keep=_KEPT_SECONDS)
    return PoliciesNow(model, found["at"], [PolicyNow(**each) for each in found["policies"]])


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    path, needs = "/models/{model}/policies", ("read", "policy")
    add_page(app, path, policies, template="decisions/policies.html", needs=needs, title="Policies")
    now = f"{path}/now"
    add_page(app, now, policies_now, template="decisions/now.html", needs=needs, title="Policies now")
