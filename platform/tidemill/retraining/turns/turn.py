"""Makes one turn of the loop, step by step: data, train, register, gate, promote.

A step's result and the name of the next step are recorded in one transaction before that begins, and a step
that is run again has the same result. So a turn that was killed anywhere goes on with the step on its record,
and never promotes twice.
"""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from tidemill.errors import RetrainingError, TidemillError, TurnInProgress
from tidemill.lineage.openlineage.reporting import TurnReport
from tidemill.project import Project
from tidemill.retraining.cancelling.cancel_watch import interrupted_when_cancelled, refuse_cancelled
from tidemill.retraining.recipes import unknown_part
from tidemill.retraining.turns.turn_begin import TurnRequest, check_request, record_begin
from tidemill.retraining.turns.turn_end import question_again
from tidemill.retraining.turns.turn_steps import STEPS, TRAIN, Step, StepContext, StepResult
from tidemill.state import State
from tidemill.state.claims import EXPIRES_AFTER, HeldClaim, claimed
from tidemill.state.tables import Turn

__all__ = [
    "Listener",
    "TurnEvent",
    "make_turn",
    "record_failure",
    "resume_turns",
    "take_up",
    "turn_lock",
]


@dataclass(frozen=True)
class TurnEvent:
    """One line of a turn's progress."""

    turn_id: str
    step: str
    message: str
    done: int | None = None
    total: int | None = None


Listener = Callable[[TurnEvent], None]


def make_turn(project: Project, state: State, request: TurnRequest, listen: Listener | None = None) -> Turn:
    """Make one turn of the loop, from data to decision.

    Returns:
        the record of the turn; ``status`` is ``promoted``, ``rollout`` (one of its version has begun),
        ``asked`` (a person is to decide), ``refused``, ``registered``, or ``unchanged``: a policy asked for
        it, and an earlier turn read the same data.

    Raises:
        TurnInProgress: another process makes a turn right now, or has made one since this one was decided.
        UsageError: the request sets a parameter that a turn sets itself; nothing was begun.
        ConfigError: a parameter is wrong, or the search cannot be made; likewise, unless a policy asks.
        RetrainingError: a turn that a newer version of Tidemill began waits for that version.
        TurnCancelled: a person cancelled it (`tidemill.retraining.cancelling`).
        TidemillError: a step failed; the record says which, with status ``failed``.
    """
    from tidemill.retraining.candidates.champion_basis import check_search  # Ray takes seconds

    asked = check_request(project, request.params)
    if request.policy is None:  # else a failed turn goes on record, so that the policy waits
        check_search(asked, request.recipe.recorded)
    with turn_lock(project, state) as claim:
        left = _finish_left_behind(project, claim, listen)
        if held := [each for each in left if each.status == "running"]:
            raise RetrainingError(f"{held[0].error}", hint="upgrade Tidemill, then try again")
        return _run(project, claim, record_begin(project, state, request), listen)


def resume_turns(project: Project, state: State, listen: Listener | None = None) -> list[Turn]:
    """Finish the turns that killed processes left behind, and return them.

    Raises:
        TurnInProgress: another process is making a turn right now.
    """
    with turn_lock(project, state) as claim:
        return _finish_left_behind(project, claim, listen)


@contextmanager
def turn_lock(project: Project, state: State) -> Iterator[HeldClaim]:
    """Let one process at a time make turns of a model, on whichever machine it runs.

    Raises:
        TurnInProgress: another process makes one, or was killed on another machine a moment ago.
    """

    def busy(holder: str) -> TurnInProgress:
        return TurnInProgress(
            f"another process is making a turn of the loop for {project.model}: {holder}",
            hint="wait for it to end; `tidemill status` shows how far it is, and one that was killed on "
            f"another machine is taken up after {EXPIRES_AFTER.total_seconds():.0f} s",
        )

    with claimed(state, project.home / "turn.lock", project.model, "turn", busy) as claim:
        yield claim


def _finish_left_behind(project: Project, claim: HeldClaim, listen: Listener | None) -> list[Turn]:
    """Finish the turns on record as running; they must be claimed, so no living process makes them."""
    with claim.state.transaction() as session:
        turns = list(
            session.scalars(select(Turn).where(Turn.model == project.model, Turn.status == "running"))
        )
    for turn in turns:
        if (unknown := unknown_part(turn.action, turn.recipe)) is not None:
            _hold(claim.state, turn, unknown, listen)
            continue
        if turn.step == TRAIN:  # its data may have changed since: restore them first
            _record(claim, turn, StepResult({"step": STEPS[0].name}))
        _tell(listen, turn, turn.step, f"taking up {turn.id}, which was left at step {turn.step}")
        try:
            _run(project, claim, turn, listen)
        except TurnInProgress:  # another process has taken it over
            raise
        except TidemillError as error:  # the turn's record has the error; the next turns must still run
            _tell(listen, turn, turn.step, f"{turn.id} failed: {error}")
    return turns


def _hold(state: State, turn: Turn, unknown: str, listen: Listener | None) -> None:
    """Leave a turn as it is, for a process of the version of Tidemill that wrote it, and say so."""
    said = f"{turn.id} is held at step {turn.step}: this version of Tidemill does not know its {unknown}"
    said += ", which a newer version wrote, and goes on with"
    with state.transaction() as session:
        session.get_one(Turn, turn.id).error = turn.error = said
    _tell(listen, turn, turn.step, said)


def take_up(project: Project, claim: HeldClaim, turn: Turn, listen: Listener | None) -> Turn:
    """Make the steps of a turn whose record is open again; its search must go on where it was cut off."""
    return _run(project, claim, turn, listen, must_resume=True)


def _run(
    project: Project, claim: HeldClaim, turn: Turn, listen: Listener | None, *, must_resume: bool = False
) -> Turn:
    with TurnReport(project, turn) as report, interrupted_when_cancelled(claim.state, turn):
        while turn.status == "running":
            step = next(step for step in STEPS if step.name == turn.step)
            _tell(listen, turn, step.name, step.title)
            report.begin(step.name)
            began = time.perf_counter()
            tell = _relay(listen, turn, step.name)
            result = _run_step(step, StepContext(project, claim.state, turn, tell, must_resume), claim)
            _record(claim, turn, result, step, time.perf_counter() - began)
            report.complete(step.name)
            _tell(listen, turn, step.name, result.message)
    return turn


def _run_step(step: Step, context: StepContext, claim: HeldClaim) -> StepResult:
    """Run one step; if it fails, end the turn with that on record."""
    turn, before = context.turn, _cpu_seconds()

    def fail(error: str) -> None:
        record_failure(claim, turn, error, _cpu_seconds() - before)

    try:
        result = step.run(context)
        return replace(result, cpu_seconds=result.cpu_seconds + _cpu_seconds() - before)
    except (KeyboardInterrupt, SystemExit):
        if step is not STEPS[-1]:  # a promotion that has begun is finished by the next process
            fail("interrupted")
        raise
    except TidemillError as error:
        fail(str(error))
        raise
    except Exception as error:
        fail(f"{type(error).__name__}: {error}")
        raise RetrainingError(
            f"turn {turn.id} failed in step {step.name}: {type(error).__name__}: {error}",
            hint="nothing was promoted; the next turn begins with its data",
        ) from error


def _cpu_seconds() -> float:
    """Return the CPU time so far of this process, and of those it started that have ended.

    Workers of Ray are not among them: Ray's own processes start those.

    >>> before = _cpu_seconds()
    >>> sum(range(100_000)) > 0 and _cpu_seconds() >= before
    True
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def record_failure(claim: HeldClaim, turn: Turn, error: str, spent: float = 0.0) -> None:
    """End a turn that failed, with what was wrong and the CPU seconds that were ``spent``."""
    again = question_again(turn)
    status = "failed" if again is None else "asked"
    _record(claim, turn, StepResult(again or {}, status=status, error=error, cpu_seconds=spent))


def _record(
    claim: HeldClaim, turn: Turn, result: StepResult, step: Step | None = None, seconds: float = 0.0
) -> None:
    """Write a result in one transaction to the record, and to ``turn``.

    Args:
        claim: that of the turn, which must still hold.
        turn: the turn in memory.
        result: the result of a step, or the failure of the turn.
        step: the finished step; None after a failure, which keeps the turn's step.
        seconds: duration of the step.
    """
    values: dict[str, Any] = dict(result.columns)
    if step is not None:
        values["step"] = result.back_to or _after(step)
        values["seconds"] = {**turn.seconds, step.name: round(seconds, 3)}
    values["cpu_seconds"] = round((turn.cpu_seconds or 0.0) + result.cpu_seconds, 3)
    values["gpu_seconds"] = round((turn.gpu_seconds or 0.0) + result.gpu_seconds, 3)
    if result.status is not None:
        values |= {"status": result.status, "finished_at": datetime.now(UTC), "error": result.error}
    with claim.state.transaction() as session:
        claim.check(session)
        row = session.get_one(Turn, turn.id)
        turn.status, turn.error = row.status, row.error
        refuse_cancelled(row)
        for name, value in values.items():
            setattr(row, name, value)
    for name, value in values.items():
        setattr(turn, name, value)


def _after(step: Step) -> str:
    """Return the name of the step that follows; ``end`` after the last."""
    names = [one.name for one in STEPS]
    return next(iter(names[names.index(step.name) + 1 :]), "end")


def _tell(listen: Listener | None, turn: Turn, step: str, message: str) -> None:
    if listen is not None and message:
        listen(TurnEvent(turn.id, step, message))


def _relay(listen: Listener | None, turn: Turn, step: str) -> Callable[[str, int | None, int | None], None]:
    def tell(message: str, done: int | None = None, total: int | None = None) -> None:
        if listen is not None:
            listen(TurnEvent(turn.id, step, message, done, total))

    return tell
