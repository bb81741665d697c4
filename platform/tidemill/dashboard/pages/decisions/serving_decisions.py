"""Who served when, what the gate decided, and each of its decisions with its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from markupsafe import Markup

from tidemill.actor_words import told
from tidemill.dashboard.charts.gain_intervals import gain_picture
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.pages.decisions.begun_acts import Link, acts_under_way
from tidemill.dashboard.pages.decisions.turn_pages import turns_at_rest
from tidemill.dashboard.records.decision_rows import (
    Champion,
    ListedDecision,
    Move,
    champion_of,
    decision_page,
    listed_decision,
    move_page,
    near,
    own,
)
from tidemill.dashboard.records.list_part import Part
from tidemill.dashboard.records.registry_reading import why_away
from tidemill.dashboard.visit import Here
from tidemill.tasks.natural_metric import metric_of, natural_values

__all__ = ["Decisions", "OneDecision", "add_to", "decisions", "one_decision"]

Shown = Annotated[
    Literal["served", "gate", "refused"],
    Query(alias="list", description="Moves of the champion, all of the gate's decisions, or its refusals."),
]


@dataclass(frozen=True)
class Waiting:
    """A version that waits for a person's answer."""

    turn_id: str
    version: str | None
    reason: str
    until: str | None
    """When its default is taken, ISO 8601."""
    default: str | None


@dataclass(frozen=True)
class Decisions:
    """A page of one of the lists, and what is under way."""

    model: str
    shown: str
    champion: Champion | None
    moves: Sequence[Move]
    gate: Sequence[ListedDecision]
    part: Part
    waiting: Sequence[Waiting]
    rollout: str | None
    """Id of the rollout that is under way."""
    turn: str | None
    """Id of the turn that is being made."""
    turn_killed: bool
    """Its process was killed."""
    acts: Sequence[Link]
    """What somebody asked for by a form and is being done."""


@dataclass(frozen=True)
class Metric:
    """A metric of both versions on the same rows."""

    name: str
    candidate: float | None
    champion: float | None


@dataclass(frozen=True)
class Gate:
    """One of the project's gates: the section ``gate``, or an entry of ``gates``."""

    name: str
    check: str
    mode: str
    passed: bool
    said: str
    numbers: Mapping[str, Any]

    @property
    def flat(self) -> Mapping[str, Any]:
        """The numbers, by the names of all levels."""
        return dict(_flat("", self.numbers))


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name} · {key}" if name else str(key), inner)
    else:
        yield name, value


@dataclass(frozen=True)
class OneDecision:
    """A decision of the gate with its numbers."""

    model: str
    decision: ListedDecision
    reasons: Sequence[str]
    """One sentence a check, those that failed first."""
    metrics: Sequence[Metric]
    needed: Mapping[str, float | None]
    """What the project asked for: ``min_gain``, ``floor``, ``min_rows``."""
    turns: Sequence[str]
    moves: Sequence[str]
    """Version and reason of the moves that it led to."""
    at: datetime
    gates: Sequence[Gate] = ()
    """Each with all that it measured; none where the project declares no ``gates``."""
    away: str | None = None
    """Why the gate cannot be asked again: the version was ``deleted``, or is ``archived``."""

    @property
    def picture(self) -> Markup | None:
        """The gain with its interval."""
        one = self.decision
        if one.gain is None or one.low is None or one.high is None:
            return None
        title = f"gain in {one.metric} with its 90 % interval; dashed: no gain, and the gain that is needed"
        gains = [(str(one.metric), one.gain, one.low, one.high)]
        return Markup(gain_picture(gains, title, self.needed["min_gain"]))


def decisions(visit: Here, model: str, shown: Shown = "served", number: PageNumber = 1) -> Decisions:
    """Return who served when, or what the gate decided, the latest first."""
    records, was_killed = visit.records, turns_at_rest(visit, model)
    moves: Sequence[Move] = ()
    gate: Sequence[ListedDecision] = ()
    if shown == "served":
        moves, part = move_page(records, model, number)
    else:
        gate, part = decision_page(records, model, number, refused=shown == "refused")
    latest = f"SELECT id FROM turns WHERE model = ? ORDER BY requested_at DESC, id DESC LIMIT {_TURNS}"  # noqa: S608
    asked = records.select("turns", f"id IN ({latest}) AND status = 'asked'", model, order="as_of")
    running = records.select("turns", "model = ? AND status = 'running'", model, limit=1)
    rolling = records.select("rollouts", "model = ? AND status IN ('running', 'promoting')", model, limit=1)
    return Decisions(
        model,
        shown,
        champion_of(records, model),
        moves,
        gate,
        part,
        [_waiting(row) for row in asked],
        rolling[0].id if rolling else None,
        running[0].id if running else None,
        any(map(was_killed, running)),
        acts_under_way(visit, model),
    )


_TURNS = 1000


def _waiting(turn: Any) -> Waiting:
    question = turn.question or {}
    return Waiting(turn.id, turn.version, turn.reason, question.get("until"), question.get("default"))


def one_decision(visit: Here, model: str, decision_id: str) -> OneDecision:
    """Return a decision of the gate."""
    project = visit.project(model)
    row = own(visit.records, "gate_decisions", model, decision_id)
    numbers: Mapping[str, Any] = row.numbers
    mine, theirs = (natural_values(numbers.get(name) or {}) for name in ("candidate", "champion"))
    return OneDecision(
        model,
        listed_decision(row),
        list(row.reasons),
        [Metric(name, mine.get(name), theirs.get(name)) for name in sorted({**mine, **theirs})],
        {
            "min_gain": numbers.get("min_gain"),
            "floor": metric_of(str(numbers.get("metric"))).shown(numbers.get("floor")),
            "min_rows": numbers.get("min_rows"),
        },
        [each.id for each in near(visit.records, "turns", model, decision_id)],
        [
            f"{each.kind} of version {each.to_version} by {told(each.actor, each.reason)}"
            for each in near(visit.records, "promotions", model, decision_id)
        ],
        row.decided_at,
        [
            Gate(*(each.get(name) for name in ("name", "check", "mode", "passed", "said", "numbers")))
            for each in numbers.get("gates") or ()
        ],
        why_away(visit.installation, project, [row.candidate]).get(row.candidate),
    )


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    path, folder = "/models/{model}/decisions", "decisions"
    needs = "read", "version"
    add_page(app, path, decisions, template=f"{folder}/list.html", needs=needs, title="Decisions")
    one = f"{path}/{{decision_id}}"
    add_page(app, one, one_decision, template=f"{folder}/one.html", needs=needs, title="Decision of the gate")
