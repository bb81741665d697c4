"""Promote a version, and roll back to an earlier one: what will happen, and the act itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, Field, StringConstraints

from tidemill.dashboard.page import Done, add_act, add_page
from tidemill.dashboard.pages.decisions.begun_acts import do_act
from tidemill.dashboard.records.decision_rows import (
    Champion,
    ListedDecision,
    champion_of,
    last_moves,
    listed_decision,
)
from tidemill.dashboard.records.registry_reading import why_away
from tidemill.dashboard.templating import moment
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import DecisionOutdated, TidemillError
from tidemill.registry.history.serving_history import past_champions, previous_champion
from tidemill.registry.history.stage_history import earlier_versions
from tidemill.registry.versions.registry_reader import read_alias_names
from tidemill.state import record_queries

__all__ = ["Promotion", "RollBack", "add_to", "promotion", "roll_back"]

_MOVES = 200
"""Of the champion's last moves, those that a rollback can go back through."""
_TURNS = 20
VERSION = Field(min_length=1, max_length=100)
REASON = StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)


@dataclass(frozen=True)
class Promotion:
    """What a promotion would do."""

    model: str
    version: str
    """The one that is asked for; empty: none was chosen."""
    champion: Champion | None
    versions: Sequence[str]
    """Those that the last turns registered and that do not serve, the latest first."""
    decision: ListedDecision | None
    """The gate's last one about the version."""
    gate: str
    """Its mode: ``enforce``, ``dry_run`` or ``off``."""
    stage: str
    """Where it is to get: a stage before production; empty: it is to be the champion."""
    stages: Sequence[str]
    """Those that the project declares."""
    rollout: str | None
    """The version that is being rolled out: that ends with a promotion of another one."""
    problem: str | None
    """Why it cannot be done here."""
    away: str | None
    """Why the version cannot be promoted: it was ``deleted``, or is ``archived``."""


@dataclass(frozen=True)
class RollBack:
    """What a rollback would do."""

    model: str
    to: str | None
    """The version that serves then; None: there is none to go back to."""
    champion: Champion | None
    versions: Sequence[str]
    """Those that have served and can be gone back to, the last one first."""
    stage: str
    """The stage before production that goes back; empty: the champion does."""
    there: str | None
    """The version in that stage."""
    rollout: str | None
    problem: str | None


class MoveForm(BaseModel):
    """A move of the champion that is asked for."""

    version: Annotated[str, VERSION]
    reason: Annotated[str, REASON]
    champion: Annotated[
        str, Field(max_length=100, description="Version that served when it was asked for.")
    ] = ""


class PromoteForm(MoveForm):
    """A promotion that is asked for."""

    stage: Annotated[
        str, Field(max_length=40, description="A stage before production; empty: to be the champion.")
    ] = ""


class RollBackForm(MoveForm):
    """A rollback that is asked for; ``version`` is the one to go back to, of a stage the one taken back."""

    stage: Annotated[
        str, Field(max_length=40, description="A stage before production; empty: the champion goes back.")
    ] = ""


Version = Annotated[str, Query(max_length=100, description="The version; empty: it is asked for.")]
Stage = Annotated[
    str, Query(max_length=40, description="A stage before production; empty: it is about the champion.")
]


def promotion(visit: Here, model: str, version: Version = "", stage: Stage = "") -> Promotion:
    """Return what a promotion of a version would do."""
    records, champion = visit.records, champion_of(visit.records, model)
    gates, problem = _gates(visit, model)
    order = "requested_at DESC, id DESC"
    turns = records.select("turns", "model = ?", model, order=order, limit=_TURNS)
    serving = champion.version if champion else None
    known = dict.fromkeys(turn.version for turn in turns if turn.version and turn.version != serving)
    away = why_away(visit.installation, visit.project(model), [*known, version])
    of = "model = ? AND candidate = ?", model, version
    found = records.select("gate_decisions", *of, order="decided_at DESC, id DESC", limit=1)
    return Promotion(
        model,
        version,
        champion,
        [one for one in known if one not in away],
        listed_decision(found[0]) if found else None,
        gates.get(stage, "enforce"),
        stage,
        [name for name in gates if name],
        _rolling(visit, model),
        problem,
        away.get(version),
    )


def roll_back(visit: Here, model: str, version: Version = "", stage: Stage = "") -> RollBack:
    """Return what a rollback would do."""
    shown = visit.project(model)
    champion = champion_of(visit.records, model)
    if stage:
        return _stage_back(visit, model, stage, champion)
    serving = champion.version if champion else None
    moves = [(row.kind, row.to_version) for row in last_moves(visit.records, model, _MOVES)]
    others = [one for one in dict.fromkeys(reversed(past_champions(moves))) if one != serving]
    served = dict.fromkeys([*others, *(one for _, one in reversed(moves) if one != serving)])
    away = why_away(visit.installation, shown, [*served, version])
    left = [one for one in served if one not in away]
    to = version or previous_champion(moves, serving)
    rolling, problem = _rolling(visit, model), _gates(visit, model)[1]
    if to in away:
        verb = "was" if away[to] == "deleted" else "is"
        problem = problem if left else f"version {to} {verb} {away[to]}"
        to = next(iter(left), None)
    return RollBack(model, to, champion, left, "", None, rolling, problem)


def _stage_back(visit: Visit, model: str, stage: str, champion: Champion | None) -> RollBack:
    """Return what it would do to take the version in a stage back."""
    there, to, problem = None, None, None
    try:
        project = visit.installation.load(visit.project(model))
        if stage in (one.name for one in project.config.stages):
            there = read_alias_names(project).get(stage)
        else:
            problem = f"params.yaml declares no stage {stage}"
    except TidemillError as error:
        problem = f"{error}{f': {error.hint}' if error.hint else ''}"
    if there is not None:
        moves = record_queries.stage_moves(visit.records, model)
        done = [one for one in moves if (one.stage, one.status) == (stage, "done")]
        earlier = earlier_versions(done, there)
        away = why_away(visit.installation, visit.project(model), earlier)
        to = next((one for one in earlier if one not in away), None)
    return RollBack(model, to, champion, [], stage, there, None, problem)


def _gates(visit: Visit, model: str) -> tuple[dict[str, str], str | None]:
    """Return the mode of a project's gate, under no name, and of its stages; or why it cannot be read."""
    try:
        config = visit.installation.load(visit.project(model)).config
    except TidemillError as error:
        return {}, f"{error}{f': {error.hint}' if error.hint else ''}"
    return {"": config.gate_mode, **{one.name: one.mode for one in config.stages}}, None


def _rolling(visit: Visit, model: str) -> str | None:
    last = record_queries.last_rollout(visit.records, model)
    return last.version if last is not None and last.status in ("running", "promoting") else None


def promote_version(visit: Here, request: Request, model: str, form: PromoteForm) -> Done:
    """Make a version the champion, or put it into a stage, if the gates agree."""
    project = visit.installation.load(visit.project(model))
    _refuse_late(visit, model, form.champion)
    asked = {"version": form.version, "champion": form.champion}
    asked |= {"stage": form.stage} if form.stage else {}
    return do_act(visit, request, project, "promote", form.reason, **asked)


def roll_back_champion(visit: Here, request: Request, model: str, form: RollBackForm) -> Done:
    """Make an earlier champion the champion again, without asking the gate."""
    project = visit.installation.load(visit.project(model))
    if not form.stage:
        _refuse_late(visit, model, form.champion)
    asked = {"version": form.version, "champion": form.champion}
    asked |= {"stage": form.stage} if form.stage else {}
    return do_act(visit, request, project, "roll-back", form.reason, **asked)


def _refuse_late(visit: Visit, model: str, seen: str) -> None:
    """Refuse a move if another person moved the champion since the page was shown, and say who."""
    serving = champion_of(visit.records, model)
    if serving is not None and serving.version != seen:
        raise DecisionOutdated(
            f"{serving.actor} was first: version {serving.version} serves since {moment(serving.since)} UTC "
            f"({serving.reason}), not version {seen or 'none'} as when you were asked",
            hint="look at the decisions once more, and decide again",
        )


def add_to(app: FastAPI) -> None:
    """Add the pages and acts."""
    for name, page, act, form, needs, title in (
        ("promote", promotion, promote_version, PromoteForm, ("promote", "version"), "Promote a version"),
        ("roll-back", roll_back, roll_back_champion, RollBackForm, ("roll-back", "version"), "Roll back"),
    ):
        path = f"/models/{{model}}/{name}"
        add_page(app, path, page, template=f"decisions/{name}.html", needs=needs, title=title)
        add_act(app, path, act, form, needs=needs, title=title)
