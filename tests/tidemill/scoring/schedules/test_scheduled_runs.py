from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import select

from tidemill.clock import ReplayClock
from tidemill.errors import DataError, UsageError
from tidemill.project import Project
from tidemill.retraining.controller import Controller
from tidemill.scoring.schedules import scheduled_runs
from tidemill.scoring.schedules.schedule_rules import find_schedule
from tidemill.scoring.schedules.scheduled_runs import next_due, run_slot, start_due
from tidemill.scoring.schedules.slots import DEATHS
from tidemill.state import open_state
from tidemill.state.tables import BatchRun

pytestmark = pytest.mark.engine

SLOT = datetime(2013, 4, 1, 4, tzinfo=UTC)
FILE = """
schedules:
  - name: nightly
    input: data/{slot:%Y-%m-%d}.parquet
    output: scores/{slot:%Y-%m-%d}
    every: 1d
    at: "04:00"
    missed: all
    workers: 0
    tries: 2
"""


@pytest.fixture
def nightly(parcels: Project):
    (parcels.root / "monitoring").mkdir()
    (parcels.root / "monitoring" / "schedules.yaml").write_text(FILE)
    state = open_state(parcels.state_url)
    yield parcels, state, find_schedule(parcels, "nightly")
    state.close()


def write(project: Project, day: int) -> None:
    frame = pl.DataFrame({"id": [1, 2], "wind": [0.5, 1.0], "rain": [0.0, 1.0]})
    frame.write_parquet(project.root / "data" / f"2013-04-0{day}.parquet")


def records(state) -> dict[datetime, BatchRun]:
    with state.transaction() as session:
        return {run.slot: run for run in session.scalars(select(BatchRun).order_by(BatchRun.slot))}


def test_a_slot_is_scored_once_and_a_failed_one_is_tried_again(nightly):
    project, state, schedule = nightly
    found = next_due(project, state, schedule, SLOT)
    with pytest.raises(DataError, match=r"2013-04-01\.parquet"):
        run_slot(project, state, schedule, found, SLOT)
    failed = records(state)[SLOT]
    assert (failed.status, failed.tries) == ("failed", 1)
    assert "there is nothing at" in failed.error
    assert next_due(project, state, schedule, SLOT) is None
    write(project, 1)
    later = SLOT + timedelta(minutes=10)
    run = run_slot(project, state, schedule, next_due(project, state, schedule, later), later)
    assert (run.status, run.tries, run.version, run.rows, run.error) == ("done", 2, "1", 2, None)
    part = next((project.root / "scores" / "2013-04-01").glob("part-*"))
    scored_at = part.stat().st_mtime_ns
    assert next_due(project, state, schedule, later) is None
    again = run_slot(project, state, schedule, found, later)  # whoever asks for it again
    assert (again.id, part.stat().st_mtime_ns) == (run.id, scored_at)
    with state.transaction() as session:  # killed after the output was there, before it was on record
        session.get_one(BatchRun, run.id).status = "running"
    run_slot(project, state, schedule, next_due(project, state, schedule, later), later)
    assert (records(state)[SLOT].status, part.stat().st_mtime_ns) == ("done", scored_at)


def test_a_slot_that_kills_its_process_does_not_keep_the_next_ones_from_their_turn(nightly):
    project, state, schedule = nightly
    dead = scheduled_runs._new(project, schedule, SLOT, SLOT)
    dead.tries = schedule.tries + DEATHS
    with state.transaction() as session:
        session.add(dead)
    write(project, 2)
    later = SLOT + timedelta(days=1)
    run_slot(project, state, schedule, next_due(project, state, schedule, later), later)
    found = records(state)
    assert (found[SLOT].status, found[later].status) == ("failed", "done")
    assert "was killed at each of 12 tries" in found[SLOT].error


def test_the_controller_starts_what_is_due_and_waits_for_nothing(nightly):
    project, state, schedule = nightly
    write(project, 1)
    with scheduled_runs._lock(project, state, "nightly"):
        assert start_due(project, state, SLOT) == []
        with pytest.raises(UsageError, match="right now"):
            run_slot(project, state, schedule, next_due(project, state, schedule, SLOT), SLOT)
    Controller(project, state, ReplayClock(SLOT)).tick()
    (child,) = scheduled_runs._children
    assert child.wait(120) == 0, (project.logs / "score-nightly.log").read_text()
    assert records(state)[SLOT].status == "done"
    assert (project.root / "scores" / "2013-04-01" / "_SUCCESS").exists()
    assert start_due(project, state, SLOT + timedelta(hours=1)) == []
    assert scheduled_runs._children == []
    (project.root / "monitoring" / "schedules.yaml").write_text("schedules: 5")
    assert start_due(project, state, SLOT + timedelta(days=1)) == []
