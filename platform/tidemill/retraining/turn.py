"""One turn of the loop, step by step: data, train, register, gate, promote.

Each step's result is recorded before the next begins, and each step gives the same result when it is
made again. So a turn that was killed anywhere is taken up where it stood, and never promotes twice.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from filelock import FileLock, Timeout
from sqlalchemy import select

from tidemill.clock import utc
from tidemill.data.versioning.params_file import set_values
from tidemill.errors import RetrainingError, TidemillError, TurnInProgress, UsageError
from tidemill.ids import new_id
from tidemill.lineage.openlineage.reporting import TurnReport
from tidemill.project import Project
from tidemill.project.moments import declared_moment
from tidemill.project.project import check_params
from tidemill.retraining.turn_steps import STEPS, Advance, StepContext
from tidemill.state import State
from tidemill.state.tables import Turn

__all__ = ["TurnEvent", "TurnRequest", "declared_moment", "make_turn", "resume_turns", "turn_lock"]


@dataclass(frozen=True)
class TurnRequest:
    """What is asked of a turn."""

    as_of: datetime
    """Nothing known later than this moment may enter."""
    reason: str
    actor: str
    trigger: str = "manual"
    promote: bool = True
    policy: str | None = None
    alert_id: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """Values of params.yaml that this turn sets, by dotted name."""


@dataclass(frozen=True)
class TurnEvent:
    """Progress of a turn, for whoever shows it."""

    turn_id: str
    step: str
    message: str
    done: int | None = None
    total: int | None = None


Listener = Callable[[TurnEvent], None]


def make_turn(project: Project, state: State, request: TurnRequest, listen: Listener | None = None) -> Turn:
    """Make one turn of the loop, from data to decision.

    Returns:
        the record of the turn; ``status`` is ``promoted``, ``refused`` or ``registered``.

    Raises:
        TurnInProgress: another process makes a turn for this project right now.
        UsageError: the request sets what cannot be set; nothing was begun.
        TidemillError: a step failed; the record says which, with status ``failed``.
    """
    _check(project, request.params)
    with turn_lock(project):
        _finish_left_behind(project, state, listen)
        turn = Turn(
            id=new_id("turn"),
            model=project.model,
            trigger=request.trigger,
            policy=request.policy,
            reason=request.reason,
            alert_id=request.alert_id,
            actor=request.actor,
            promote=request.promote,
            overrides=dict(request.params),
            as_of=utc(request.as_of),
            status="running",
            step=STEPS[0].name,
            seconds={},
            requested_at=datetime.now(UTC),
        )
        with state.transaction() as session:
            session.add(turn)
        return _advance_to_end(project, state, turn, listen)


def resume_turns(project: Project, state: State, listen: Listener | None = None) -> list[Turn]:
    """Finish the turns that a killed process left half made.

    Raises:
        TurnInProgress: they are not left behind: another process is making them.
    """
    with turn_lock(project):
        return _finish_left_behind(project, state, listen)


def _check(project: Project, params: Mapping[str, Any]) -> None:
    """Refuse values that ``params.yaml`` must not have, before anything is begun."""
    dataset, path = project.config.dataset, project.root / "params.yaml"
    if own := {dataset.as_of, dataset.last_month} & set(params):
        raise UsageError(
            f"{sorted(own)[0]} is set by the turn itself: nothing later than its moment may enter",
            hint="say what is known with --as-of",
        )
    check_params(path, yaml.safe_load(set_values(path.read_text(), params)))


@contextmanager
def turn_lock(project: Project) -> Iterator[None]:
    """Hold the project's turn: the kernel gives it back when the holder dies, however it dies.

    Raises:
        TurnInProgress: another process holds it.
    """
    path = project.home / "turn.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout as error:
        raise TurnInProgress(
            f"another process is making a turn of the loop for {project.root}",
            hint="wait for it to end; `tidemill status` shows how far it is",
        ) from error


def _finish_left_behind(project: Project, state: State, listen: Listener | None) -> list[Turn]:
    """Take up the turns of a process that was killed: the caller holds the lock, so nobody makes them."""
    with state.transaction() as session:
        turns = list(
            session.scalars(select(Turn).where(Turn.model == project.model, Turn.status == "running"))
        )
    for turn in turns:
        _tell(listen, turn, turn.step, f"taking up {turn.id}, which was left at step {turn.step}")
        try:
            _advance_to_end(project, state, turn, listen)
        except TidemillError as error:  # it is on the turn's record; what comes next must not suffer from it
            _tell(listen, turn, turn.step, f"{turn.id} failed: {error}")
    return turns


def _advance_to_end(project: Project, state: State, turn: Turn, listen: Listener | None) -> Turn:
    with TurnReport(project, turn) as report:
        return _make_steps(project, state, turn, listen, report)


def _make_steps(
    project: Project, state: State, turn: Turn, listen: Listener | None, report: TurnReport
) -> Turn:
    names = [step.name for step in STEPS]
    for step in STEPS[names.index(turn.step) :]:
        if turn.status != "running":
            break
        _tell(listen, turn, step.name, step.title)
        report.begin(step.name)
        began = time.perf_counter()
        try:
            advance = step.make(StepContext(project, state, turn, _relay(listen, turn, step.name)))
        except (KeyboardInterrupt, SystemExit):
            if step is not STEPS[-1]:  # a promotion that has begun is finished by the next process
                _record(state, turn, Advance(status="failed", error="interrupted"), None)
            raise
        except TidemillError as error:
            _record(state, turn, Advance(status="failed", error=str(error)), None)
            raise
        except Exception as error:
            _record(state, turn, Advance(status="failed", error=f"{type(error).__name__}: {error}"), None)
            raise RetrainingError(
                f"turn {turn.id} failed in step {step.name}: {type(error).__name__}: {error}",
                hint="nothing was promoted; the next turn starts afresh",
            ) from error
        following = next(iter(names[names.index(step.name) + 1 :]), "end")
        _record(state, turn, advance, following, (step.name, time.perf_counter() - began))
        report.complete(step.name)
        _tell(listen, turn, step.name, advance.message)
    return turn


def _record(
    state: State,
    turn: Turn,
    advance: Advance,
    following: str | None,
    spent: tuple[str, float] | None = None,
) -> None:
    """Write what a step brought, in one transaction, and into the turn at hand."""
    values: dict[str, Any] = dict(advance.columns)
    if following is not None:
        values["step"] = following
    if spent is not None:
        values["seconds"] = {**turn.seconds, spent[0]: round(spent[1], 3)}
    if advance.status is not None:
        values |= {"status": advance.status, "finished_at": datetime.now(UTC), "error": advance.error}
    with state.transaction() as session:
        row = session.get_one(Turn, turn.id)
        for name, value in values.items():
            setattr(row, name, value)
            setattr(turn, name, value)


def _tell(listen: Listener | None, turn: Turn, step: str, message: str) -> None:
    if listen is not None and message:
        listen(TurnEvent(turn.id, step, message))


def _relay(listen: Listener | None, turn: Turn, step: str) -> Callable[[str, int | None, int | None], None]:
    def tell(message: str, done: int | None = None, total: int | None = None) -> None:
        if listen is not None:
            listen(TurnEvent(turn.id, step, message, done, total))

    return tell
