"""Rollouts: the list, and one rollout with the evidence of each step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from markupsafe import Markup

from tidemill.dashboard.charts.gain_intervals import gain_picture
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.decision_rows import own
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.visit import Here
from tidemill.rollouts.rollout_counts import Counted, counted
from tidemill.state import record_queries
from tidemill.state.record_reader import Records, Row

__all__ = ["ListedRollout", "OneRollout", "Rollouts", "add_to", "one_rollout", "rollouts"]

RUNNING = ("running", "promoting")


@dataclass(frozen=True)
class ListedRollout:
    """A rollout as a list shows it."""

    id: str
    version: str
    champion: str
    status: str
    step: int
    """Index of the step, from 0."""
    steps: int
    share: float
    """Of the keys, in the present or last step."""
    actor: str
    reason: str
    outcome: str | None
    at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Rollouts:
    """A page of the list of rollouts."""

    model: str
    rollouts: Sequence[ListedRollout]
    part: Part


@dataclass(frozen=True)
class Gain:
    """What the canary gained against the champion, with its 95 % interval."""

    name: str
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class RolloutStep:
    """A step of a rollout's plan, and its last check."""

    number: int
    share: float
    minutes: float | None
    requests: int | None
    state: str
    """``done``, ``running``, ``failed`` or ``none``: it was not reached."""
    at: str | None
    """When it was checked last, ISO 8601."""
    reason: str | None
    checks: Sequence[str]
    """One sentence a check, the failed ones first."""
    answered: int | None
    failed: int | None
    p99_ms: Sequence[float | None]
    """Of a call of the canary, and of the champion."""
    gains: Sequence[Gain]


@dataclass(frozen=True)
class OneRollout:
    """A rollout with its evidence."""

    model: str
    rollout: ListedRollout
    running: bool
    limits: Mapping[str, Any]
    """What it was allowed to lose."""
    steps: Sequence[RolloutStep]
    counts: Sequence[Counted]
    """Of both versions in all replicas, since it began and until the next one did."""
    decision_id: str | None

    @property
    def picture(self) -> Markup | None:
        """The gains of every step that was judged by answers."""
        gains = [
            (f"step {step.number}, {each.name}", each.gain, each.low, each.high)
            for step in self.steps
            for each in step.gains
            if each.name != "scores"
        ]
        if not gains:
            return None
        title = "gain of the canary by step with its 95 % interval; dashed: no gain"
        return Markup(gain_picture(gains, title))


def rollouts(visit: Here, model: str, number: PageNumber = 1) -> Rollouts:
    """Return the rollouts of a model, the latest first."""
    visit.project(model)
    order = "requested_at DESC, id DESC"
    rows, part = read_part(visit.records, "rollouts", "model = ?", model, order=order, number=number)
    return Rollouts(model, [_listed(row) for row in rows], part)


def _listed(row: Row) -> ListedRollout:
    steps = row.plan["steps"]
    return ListedRollout(
        row.id,
        row.version,
        row.champion,
        row.status,
        row.step,
        len(steps),
        steps[min(row.step, len(steps) - 1)]["share"],
        row.actor,
        row.reason,
        row.outcome,
        row.at,
        row.finished_at,
    )


def one_rollout(visit: Here, model: str, rollout_id: str) -> OneRollout:
    """Return a rollout with the evidence of each step."""
    visit.project(model)
    row = own(visit.records, "rollouts", model, rollout_id)
    checks = {check["step"]: check for check in row.checks or ()}
    steps = [_step(row, index, step, checks.get(index)) for index, step in enumerate(row.plan["steps"])]
    return OneRollout(
        model,
        _listed(row),
        row.status in RUNNING,
        {name: value for name, value in row.plan.items() if name != "steps"},
        steps,
        _counts(visit.records, row),
        row.decision_id,
    )


def _step(row: Row, index: int, plan: Mapping[str, Any], check: Mapping[str, Any] | None) -> RolloutStep:
    numbers: Mapping[str, Any] = (check or {}).get("numbers") or {}
    gains = [
        Gain(name, *numbers[name])
        for name in ("quality", "estimate", "scores")
        if numbers.get(name) is not None
    ]
    return RolloutStep(
        index + 1,
        plan["share"],
        plan.get("minutes"),
        plan.get("requests"),
        _state(row, index, check),
        check["at"] if check else None,
        check["reason"] if check else None,
        list(check["checks"]) if check else [],
        numbers.get("answered"),
        numbers.get("failed"),
        list(numbers.get("p99_ms") or ()),
        gains,
    )


def _state(row: Row, index: int, check: Mapping[str, Any] | None) -> str:
    if check is not None and check["action"] == "roll_back":
        return "failed"
    if index < row.step or row.status == "promoted":
        return "done" if check is not None or index < row.step else "none"
    if index == row.step:
        return "running" if row.status in RUNNING else "stopped"
    return "none"


def _counts(records: Records, row: Row) -> Sequence[Counted]:
    """Return what its two versions have answered from its begin on, until another rollout began."""
    own = row.version, row.champion
    rows = [one for one in record_queries.lane_counts(records, row.model) if one.version in own]
    later = record_queries.next_rollout(records, row)
    end = None if later is None else later.baseline.get("start", {})
    return counted(rows, row.baseline.get("start", {}), end)


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    path, needs = "/models/{model}/rollouts", ("read", "rollout")
    add_page(app, path, rollouts, template="decisions/rollouts.html", needs=needs, title="Rollouts")
    one = f"{path}/{{rollout_id}}"
    add_page(app, one, one_rollout, template="decisions/rollout.html", needs=needs, title="Rollout")
