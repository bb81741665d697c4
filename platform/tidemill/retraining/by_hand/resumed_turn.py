"""Goes on with a turn whose search was cut off, and stops one that runs."""

from dataclasses import dataclass
from datetime import UTC, datetime

from tidemill.accounts import audit
from tidemill.data.repository.revisions import current, repository
from tidemill.data.versioning.pending_reproduction import PARAMS, is_committed
from tidemill.errors import RunNotFound, TrainingError, UsageError
from tidemill.project import Project
from tidemill.retraining.turns.turn import Listener, take_up, turn_lock
from tidemill.retraining.turns.turn_steps import STEPS
from tidemill.state import State
from tidemill.state.claims import is_claimed
from tidemill.state.tables import Turn
from tidemill.training.search.resumed_search import check_unchanged, declared
from tidemill.training.search.search_journal import JournalOfSearch, find_journals

__all__ = ["StoppedSearch", "resume_turn", "stop_search"]


@dataclass(frozen=True)
class StoppedSearch:
    """A search that was asked to stop."""

    run_id: str
    turn_id: str
    trials: int
    """How many of its trials had ended."""


def resume_turn(
    project: Project, state: State, run: str | None, actor: str, listen: Listener | None = None
) -> Turn:
    """Go on with a turn whose search was cut off, and make its remaining steps.

    Args:
        project: the project.
        state: its records.
        run: the search's run, or the first characters of its id; None: the latest that was cut off.
        actor: who asks for it.
        listen: called with the turn's progress.

    Raises:
        RunNotFound: no such search was cut off here.
        TurnInProgress: a turn is being made.
        TrainingError: data, code or settings are others than when the search began.
        TidemillError: a step failed.
    """
    with turn_lock(project, state) as claim:
        journal, turn = _cut_off(project, state, run)
        _check_unchanged(project, journal)
        with state.transaction() as session:
            claim.check(session)
            row = session.get_one(Turn, turn.id)
            row.status, row.step, row.error, row.finished_at = "running", STEPS[0].name, None, None
            details = {"resumed": journal.origin.run_id, "after": turn.error}
            reason = "its search was cut off"
            audit.append(session, audit.Act(actor, "start", "turn", turn.id, turn.model, reason, details))
            session.flush()
            session.refresh(row)
            session.expunge(row)
        return take_up(project, claim, row, listen)


def stop_search(
    project: Project, state: State, run: str | None, actor: str, *, finish: bool
) -> StoppedSearch:
    """Ask the process that makes a search to stop it.

    Args:
        project: the project.
        state: its records.
        run: the search's run, or the first characters of its id; None: the one that runs.
        actor: who asks for it.
        finish: whether the turn goes on with the best trial so far, instead of ending.

    Raises:
        RunNotFound: no such search runs here.
    """
    found = [(journal, turn) for journal, turn in _left(project, state, run) if turn.status == "running"]
    if not found:
        raise _not_found(run, "no search runs in this project", "`tidemill status` shows what runs")
    journal, turn = found[0]
    if not is_claimed(state, project.home / "turn.lock", project.model, "turn"):
        raise RunNotFound(
            f"no process makes the search of run {journal.origin.run_id[:8]} any more: it was killed",
            hint="nothing is left to stop; `tidemill run --resume` goes on with the search",
        )
    with state.transaction() as session:
        details = {"run": journal.origin.run_id, "finish": finish, "at": datetime.now(UTC).isoformat()}
        audit.append(session, audit.Act(actor, "stop", "turn", turn.id, turn.model, None, details))
        journal.ask_to_stop(finish=finish)
    ended = sum(trial.end is not None for trial in journal.trials.values())
    return StoppedSearch(journal.origin.run_id, turn.id, ended)


def _cut_off(project: Project, state: State, run: str | None) -> tuple[JournalOfSearch, Turn]:
    """Return the search to go on with; the lock is held, so none runs."""
    for journal, turn in _left(project, state, run):
        if turn.status in ("running", "failed"):
            return journal, turn
    raise _not_found(run, "no search of this project was cut off", "`tidemill run` begins one")


def _check_unchanged(project: Project, journal: JournalOfSearch) -> None:
    """Raise if the search may not be gone on with, before the step `data` commits what has changed."""
    code = {**journal.origin.made_from.get("code", {}), "commit": current(project).revision}
    check_unchanged(project, journal, {**declared(project), "code": code})
    if not is_committed(repository(project), PARAMS):
        raise TrainingError(
            f"the search of run {journal.origin.run_id[:8]} cannot be gone on with: "
            f"{PARAMS} has changes that no commit holds, and the turn would commit them",
            hint=f"undo them (`git diff {PARAMS}` shows them), or search anew: `tidemill run`",
        )


def _left(project: Project, state: State, run: str | None) -> list[tuple[JournalOfSearch, Turn]]:
    """Return the searches that have not ended, latest first, with their turns."""
    found = [one for one in find_journals(project.home) if one.origin.run_id.startswith(run or "")]
    if run is not None and len(found) > 1:
        raise UsageError(
            f"several runs begin with {run}: {', '.join(one.origin.run_id[:12] for one in found)}",
            hint="name more characters",
        )
    with state.transaction() as session:
        turns = {one.origin.run_id: session.get(Turn, one.origin.turn_id) for one in found}
        session.expunge_all()
    return [(one, turn) for one in found if (turn := turns[one.origin.run_id]) is not None]


def _not_found(run: str | None, otherwise: str, hint: str) -> RunNotFound:
    said = otherwise if run is None else f"{otherwise} that begins with {run}"
    return RunNotFound(said, hint=hint)
