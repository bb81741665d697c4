"""Turns of the loop: the list, and one turn with its steps and its log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from tidemill.dashboard.acting import LOG
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.decision_rows import own
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import TidemillError
from tidemill.state.record_queries import rollouts_of
from tidemill.state.record_reader import Row
from tidemill.training.tracking.killed_runs import TurnsAtRest

__all__ = ["ListedTurn", "OneTurn", "Turns", "add_to", "one_turn", "turns", "turns_at_rest"]

_LOGS = ("controller.log", LOG)
_READ = 2_000_000
"""Bytes at a log's end in which a turn's lines are sought."""
_LINES = 400


@dataclass(frozen=True)
class ListedTurn:
    """A turn as a list shows it."""

    id: str
    status: str
    step: str
    trigger: str
    policy: str | None
    actor: str
    reason: str
    version: str | None
    as_of: datetime
    requested_at: datetime
    finished_at: datetime | None
    seconds: float
    """Of all its steps."""
    cpu_seconds: float | None
    gpu_seconds: float | None
    """Time for which Ray gave it GPUs; None where that is not on record."""
    rollout: str | None
    """How the rollout that it began is, or ended; None if it began none."""


@dataclass(frozen=True)
class Turns:
    """A page of the list of turns."""

    model: str
    turns: Sequence[ListedTurn]
    part: Part
    running: bool
    killed: bool
    """The process of the one that runs was killed."""


@dataclass(frozen=True)
class Step:
    """A step of a turn."""

    name: str
    state: str
    """``done``, or the turn's own state where the turn is, or ended, in it."""
    seconds: float | None


@dataclass(frozen=True)
class OneTurn:
    """A turn with its steps."""

    model: str
    turn: ListedTurn
    steps: Sequence[Step]
    error: str | None
    data_revision: str | None
    run_id: str | None
    decision_id: str | None
    alert_id: str | None
    action: str | None
    overrides: Mapping[str, Any]
    recipe: Mapping[str, Any]
    windows: Sequence[Mapping[str, Any]]
    question: Mapping[str, Any]
    """Until when it waits for an answer, what happens then, and who answered what."""
    rollouts: Sequence[str]
    log: Sequence[str]
    no_log: str | None
    """Why there is no log; None if there is one."""
    killed: bool
    """It is on record as running, but its process was killed."""


def turns_at_rest(visit: Visit, model: str) -> Callable[[Row | None], bool]:
    """Return what says of a turn that is read afterwards whether its process was killed."""
    try:
        rest = TurnsAtRest(visit.installation.load(visit.project(model)))
    except TidemillError:
        return lambda row: False
    return lambda row: row is not None and row.status == "running" and row.error is None and rest.lasted()


def turns(visit: Here, model: str, number: PageNumber = 1) -> Turns:
    """Return the turns of a model, the latest first."""
    was_killed = turns_at_rest(visit, model)
    order = "requested_at DESC, id DESC"
    rows, part = read_part(visit.records, "turns", "model = ?", model, order=order, number=number)
    running = visit.records.select("turns", "model = ? AND status = 'running'", model, limit=1)
    rollouts = rollouts_of(visit.records, rows)
    listed = [_listed(row, rollouts.get(row.id)) for row in rows]
    return Turns(model, listed, part, bool(running), any(map(was_killed, running)))


def _listed(row: Row, rollout: Row | None) -> ListedTurn:
    own_names = [name for name in ListedTurn.__dataclass_fields__ if name not in ("seconds", "rollout")]
    values = {name: getattr(row, name) for name in own_names}
    seconds = sum((row.seconds or {}).values())
    return ListedTurn(**values, seconds=seconds, rollout=rollout.status if rollout else None)


def one_turn(visit: Here, model: str, turn_id: str) -> OneTurn:
    """Return a turn with its steps and its log."""
    was_killed = turns_at_rest(visit, model)
    row = own(visit.records, "turns", model, turn_id)
    log, no_log = _log(visit, model, turn_id)
    rollout = rollouts_of(visit.records, [row]).get(row.id)
    return OneTurn(
        model,
        _listed(row, rollout),
        _steps(row),
        row.error,
        row.data_revision,
        row.run_id,
        row.decision_id,
        row.alert_id,
        row.action,
        row.overrides or {},
        row.recipe or {},
        row.windows or (),
        row.question or {},
        [rollout.id] if rollout else [],
        log,
        no_log,
        was_killed(row),
    )


def _steps(row: Row) -> Sequence[Step]:
    """Return the steps that were made, in order, and the one in which the turn is or ended early."""
    found = [Step(name, "done", float(seconds)) for name, seconds in (row.seconds or {}).items()]
    if row.step != "end" and row.step not in (row.seconds or {}):
        found.append(Step(row.step, row.status, None))
    return found


def _log(visit: Visit, model: str, turn_id: str) -> tuple[Sequence[str], str | None]:
    """Return the lines about a turn at the ends of the logs; or none, and why."""
    try:
        folder = visit.installation.load(visit.project(model)).logs
    except TidemillError as error:
        return (), str(error)
    lines = [line for name in _LOGS for line in _end_of(folder / name) if turn_id in line]
    if not lines:
        return (), "no log of this machine names this turn: it was made by hand on a terminal, or long ago"
    return [line.replace(f"{turn_id} ", "") for line in lines[-_LINES:]], None


def _end_of(path: Path) -> Sequence[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _READ))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:  # not every project has both
        return ()


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    path, needs = "/models/{model}/turns", ("read", "turn")
    add_page(app, path, turns, template="decisions/turns.html", needs=needs, title="Turns of the loop")
    one = f"{path}/{{turn_id}}"
    add_page(app, one, one_turn, template="decisions/turn.html", needs=needs, title="Turn of the loop")
