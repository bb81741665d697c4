from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tidemill.alerting.test_alert_states import START, findings, run_monitor, weekly
from tests.tidemill.recorded import list_alerts
from tidemill.alerting.missed_runs import raise_missed
from tidemill.state import State, open_state
from tidemill.state.tables import MonitorRun, Promotion

DAY = timedelta(days=1)


@pytest.fixture
def state(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    with state.transaction() as session:
        session.add(
            Promotion(
                id="prom_1", model="delay", alias="champion", from_version=None, to_version="1",
                kind="promotion", status="done", actor="ann", reason="", at=START, requested_at=START,
            )
        )  # fmt: skip
    yield state
    state.close()


def missed(state: State, day: float, **settings: object) -> list[str]:
    project = SimpleNamespace(model="delay")
    return raise_missed(project, state, [weekly(**settings)], START + day * DAY)


def test_a_monitor_that_does_not_run_raises_one_alert_whatever_its_persistence(state: State):
    assert [missed(state, day, persistence=3) for day in (-1, 0, 14, 15, 16)] == [[], [], [], ["weekly"], []]
    (alert,) = list_alerts(state)
    assert (alert.kind, alert.status, alert.version) == ("no_run", "firing", "1")
    assert alert.message == "monitor weekly has not run since 2013-04-01 00:00 UTC"


def test_a_run_counts_from_its_own_moment_and_a_failure_is_none(state: State):
    run_monitor(state, findings(), day=7)
    with state.transaction() as session:
        failed = MonitorRun(
            id="mon_failed", monitor="weekly", model="delay", version="1", window_start=START, rows=0,
            window_end=START, labelled=0, verdict="failed", results={"error": "the log is away"},
            at=START + 14 * DAY,
        )  # fmt: skip
        session.add(failed)
    assert missed(state, 21) == []
    assert missed(state, 22) == ["weekly"]
    (alert,) = list_alerts(state)
    assert alert.message.endswith("has not run since 2013-04-08 00:00 UTC; it failed: the log is away")


def test_a_late_run_resolves_it_though_its_moment_is_earlier(state: State):
    missed(state, 16)
    run_monitor(state, findings(), day=1)
    assert len(list_alerts(state)) == 1, "a look at the past is no run"
    run_monitor(state, findings("quality"), day=14)
    (quality,) = list_alerts(state)
    assert quality.kind == "quality"
    (over,) = [each for each in list_alerts(state, include_resolved=True) if each.kind == "no_run"]
    assert (over.status, over.resolved_at) == ("resolved", START + 16 * DAY)
    assert missed(state, 17) == []


def test_one_that_was_raised_before_the_clock_went_back_is_resolved_by_the_next_run(state: State):
    far_ahead = (datetime.now(UTC) - START) // DAY + 400
    missed(state, far_ahead)
    run_monitor(state, findings(), day=7)
    assert list_alerts(state) == []
