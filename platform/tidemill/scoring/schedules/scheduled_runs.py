"""Score the slots of schedules, each once, and record every run. A killed run is resumed."""

import argparse
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from tidemill.clock import SystemClock, utc
from tidemill.errors import TidemillError, UsageError
from tidemill.ids import new_id
from tidemill.plurals import counted
from tidemill.project import Project, load_project
from tidemill.scoring.schedules.schedule_rules import Schedule, find_schedule, load_schedules
from tidemill.scoring.schedules.slots import DueSlot, RecordedSlot, due
from tidemill.scoring.scoring_job import ScoreRequest
from tidemill.state import State, open_state
from tidemill.state.claims import HeldClaim, claimed, is_claimed
from tidemill.state.tables import BatchRun

__all__ = [
    "due_slots",
    "give_up_try",
    "next_due",
    "number_of_try",
    "request_of",
    "run_slot",
    "start_due",
]

Tell = Callable[[str, str, int | None, int | None], None]
_log = logging.getLogger(__name__)
_children: list["subprocess.Popen[bytes]"] = []  # child processes to reap when they have ended


def next_due(project: Project, state: State, schedule: Schedule, now: datetime) -> DueSlot | None:
    """Return the slot of a schedule that is due, or None."""
    with state.transaction() as session:
        rows = session.scalars(
            select(BatchRun).where(BatchRun.model == project.model, BatchRun.schedule == schedule.name)
        )
        past = {row.slot: RecordedSlot(row.status, row.tries, row.at) for row in rows}
    return due(schedule, past, utc(now))


def start_due(project: Project, state: State, now: datetime) -> list[str]:
    """Start a process for each schedule with a slot that is due, and return the schedules' names.

    This does not wait for them: the work may take hours, and its result is recorded. Errors in the
    schedules is logged; it must not keep monitors from running.
    """
    for child in [child for child in _children if child.poll() is not None]:
        _children.remove(child)
        if child.returncode:
            _log.error("a schedule's process ended with %d; its log is in %s", child.returncode, project.logs)
    started = []
    for schedule, found in due_slots(project, state, now):
        command = [
            *(
                sys.executable,
                "-m",
                "tidemill.scoring.schedules.scheduled_runs",
                "--project",
                str(project.root),
            ),
            *("--schedule", schedule.name, "--slot", found.slot.isoformat(), "--at", utc(now).isoformat()),
        ]
        project.logs.mkdir(parents=True, exist_ok=True)
        with (project.logs / f"score-{schedule.name}.log").open("ab") as log:
            _children.append(subprocess.Popen(command, cwd=project.root, stdout=log, stderr=log))
        started.append(schedule.name)
    return started


def due_slots(project: Project, state: State, now: datetime) -> list[tuple[Schedule, DueSlot]]:
    """Return the schedules with a due slot that no process is scoring; log what is wrong with them."""
    try:
        schedules = load_schedules(project)
        waiting = [(each, found) for each in schedules if (found := next_due(project, state, each, now))]
    except TidemillError as error:
        _log.error("schedules: %s", error)
        return []
    return [
        (each, found)
        for each, found in waiting
        if not is_claimed(state, _lock_path(project, each.name), project.model, _work(each.name))
    ]


def number_of_try(project: Project, state: State, schedule: Schedule, found: DueSlot) -> int:
    """Return the number of the try that is due or under way, from 1."""
    with state.transaction() as session:
        run = session.scalar(_of_slot(project, schedule, found))
    if run is None:
        return 1
    return run.tries if run.status == "running" else run.tries + 1


def give_up_try(
    project: Project, state: State, schedule: Schedule, found: DueSlot, now: datetime, error: str
) -> BatchRun:
    """Record that the try of a slot failed whose process is dead, also if it never began.

    Raises:
        UsageError: a process is scoring the schedule right now.
    """
    with _lock(project, state, schedule.name):
        with state.transaction() as session:
            run = session.scalar(_of_slot(project, schedule, found))
        if run is None or run.status != "running":
            run = _claim(project, state, schedule, found, now)
        return run if run.status == "done" else _record(state, run, status="failed", error=error)


def _of_slot(project: Project, schedule: Schedule, found: DueSlot) -> Select[BatchRun]:
    return select(BatchRun).where(
        BatchRun.model == project.model, BatchRun.schedule == schedule.name, BatchRun.slot == found.slot
    )


def run_slot(
    project: Project,
    state: State,
    schedule: Schedule,
    found: DueSlot,
    now: datetime,
    tell: Tell = lambda *_: None,
    *,
    restart: bool = False,
) -> BatchRun:
    """Score one slot of a schedule, unless that was done, and return its record.

    Args:
        project: whose schedule it is.
        state: the records.
        schedule: what is scored.
        found: the slot, and earlier ones that are given up.
        now: event time.
        tell: called with the progress.
        restart: whether leftovers of a killed or failed run are discarded.

    Raises:
        UsageError: another process is scoring this schedule right now.
        TidemillError: the scoring failed; the record says so, too.
    """
    with _lock(project, state, schedule.name):
        run = _claim(project, state, schedule, found, now)
        if run.status != "running":
            return run
        from tidemill.scoring.score import score  # engines take seconds to import: not for `list`

        try:
            request = request_of(schedule, found.slot, restart=restart)
            outcome = score(project, request, tell, folder=project.root)
        except TidemillError as error:
            hint = f" ({error.hint})" if error.hint else ""
            _record(state, run, status="failed", error=f"{error}{hint}")
            raise
        except Exception as error:
            _record(state, run, status="failed", error=f"{type(error).__name__}: {error}")
            raise
        manifest = outcome.manifest
        return _record(
            state,
            run,
            status="done",
            error=None,
            version=manifest["version"],
            rows=manifest["rows"],
            rejected=manifest["rejected"],
            output=outcome.output,
        )


def request_of(schedule: Schedule, slot: datetime, *, restart: bool = False) -> ScoreRequest:
    """Return a schedule's score request for a slot."""
    return ScoreRequest(
        inputs=tuple(schedule.filled(text, slot) for text in schedule.input),
        output=schedule.filled(schedule.output, slot),
        version=schedule.model_version,
        features=schedule.features,
        at_column=schedule.at_column,
        default_at=slot,
        keep=schedule.keep,
        rename=dict(schedule.rename),
        decide=schedule.decide,
        format=schedule.format,
        log=schedule.log,
        max_rejected=schedule.max_rejected,
        existing="restart" if restart else "resume",
        overwrite=schedule.overwrite,
        workers=schedule.workers,
    )


def _claim(project: Project, state: State, schedule: Schedule, found: DueSlot, now: datetime) -> BatchRun:
    """Record that a slot is being scored; a slot that is done stays so."""
    with state.transaction() as session:
        run = session.scalar(_of_slot(project, schedule, found))
        if run is not None and run.status == "done":
            return run
        if run is None:
            run = _new(project, schedule, found.slot, now)
            session.add(run)
        _give_up_the_dead(session, run)
        if found.skipped:
            given_up = _new(project, schedule, found.skipped[-1], now)
            given_up.status, given_up.finished_at = "skipped", datetime.now(UTC)
            given_up.error = (
                f"{counted(len(found.skipped), 'slot')} missed, from {found.skipped[0].isoformat()} on"
            )
            session.add(given_up)
        run.status, run.tries, run.at = "running", run.tries + 1, utc(now)
        run.finished_at = None
    return run


def _give_up_the_dead(session: Session, run: BatchRun) -> None:
    """End other slots recorded as running: as we hold the schedule, their processes are dead."""
    query = select(BatchRun).where(
        BatchRun.model == run.model,
        BatchRun.schedule == run.schedule,
        BatchRun.slot != run.slot,
        BatchRun.status == "running",
    )
    for dead in session.scalars(query):
        dead.status, dead.finished_at = "failed", datetime.now(UTC)
        dead.error = (
            f"its process was killed at each of {dead.tries} tries; the log of the schedule says more"
        )


def _new(project: Project, schedule: Schedule, slot: datetime, now: datetime) -> BatchRun:
    return BatchRun(
        id=new_id("batch"),
        model=project.model,
        schedule=schedule.name,
        slot=slot,
        status="running",
        tries=0,
        at=utc(now),
        requested_at=datetime.now(UTC),
    )


def _record(state: State, run: BatchRun, **values: Any) -> BatchRun:
    with state.transaction() as session:
        row = session.get_one(BatchRun, run.id)
        for name, value in {**values, "finished_at": datetime.now(UTC)}.items():
            setattr(row, name, value)
    return row


@contextmanager
def _lock(project: Project, state: State, name: str) -> Iterator[HeldClaim]:
    """Let one process at a time score a schedule, on whichever machine it runs.

    Raises:
        UsageError: another process does.
    """

    def busy(holder: str) -> UsageError:
        return UsageError(
            f"another process is scoring schedule {name!r} right now: {holder}",
            hint="`tidemill score schedule list` shows its slots",
        )

    with claimed(state, _lock_path(project, name), project.model, _work(name), busy) as claim:
        yield claim


def _work(name: str) -> str:
    return f"schedule:{name}"


def _lock_path(project: Project, name: str) -> Path:
    return project.home / "scoring" / f"{name}.schedule.lock"


def main(arguments: list[str]) -> int:
    """Score one slot: a process that the controller starts."""
    parser = argparse.ArgumentParser(prog="tidemill-score", description=main.__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--schedule", required=True)
    parser.add_argument("--slot", type=datetime.fromisoformat, required=True)
    parser.add_argument("--at", type=datetime.fromisoformat, default=None)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    project = load_project(options.project)
    state, now = open_state(project.state_url), options.at or SystemClock().now()
    schedule = find_schedule(project, options.schedule)
    try:
        found = next_due(project, state, schedule, now)
        if found is None or found.slot != utc(options.slot):
            _log.info("slot %s of %s is not due any more", options.slot.isoformat(), schedule.name)
            return 0
        run = run_slot(project, state, schedule, found, now)
    except TidemillError as error:
        _log.error("%s: %s", schedule.name, error)
        return 1
    finally:
        state.close()
    _log.info("%s %s: %s rows, %s", schedule.name, run.slot.isoformat(), run.rows, run.output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
