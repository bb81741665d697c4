from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.tidemill.recorded import list_alerts
from tidemill.alerting.alert_actions import acknowledge, comment_on, mark_as_noise, resolve
from tidemill.alerting.alert_states import record_alerts
from tidemill.alerting.undeclared_alerts import resolve_outlived, resolve_undeclared
from tidemill.errors import AlertNotFound, MonitoringError, UsageError
from tidemill.ids import new_id
from tidemill.monitoring.findings import KINDS, NO_RUN, Finding, Findings
from tidemill.monitoring.monitor_config import Monitor
from tidemill.state import State, open_state
from tidemill.state.tables import Alert, AlertStep, MonitorRun

START = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()


def findings(*found: str, judged: tuple[str, ...] = KINDS) -> Findings:
    return Findings(tuple(Finding(kind, f"{kind} is bad") for kind in found), frozenset(judged), {})


def weekly(**settings: Any) -> Monitor:
    given = {"name": "weekly", "window": "14d", "every": "7d", "quality": {}, **settings}
    return Monitor.model_validate(given)


def run_monitor(
    state: State, what: Findings, day: float, version: str = "1", monitor: str = "weekly", **settings: Any
) -> None:
    at = START + timedelta(days=day)
    run = MonitorRun(
        id=new_id("mon"),
        monitor=monitor,
        model="delay",
        version=version,
        window_start=at - timedelta(days=14),
        window_end=at,
        rows=1000,
        labelled=0,
        verdict="ok",
        results={},
        report_path=None,
        at=at,
    )
    with state.transaction() as session:
        session.add(run)
        session.flush()
        record_alerts(session, run, what, weekly(**settings))


def test_an_alert_is_raised_once_and_seen_again(state: State):
    run_monitor(state, findings("data_drift"), day=0)
    run_monitor(state, findings("data_drift"), day=7)
    (alert,) = list_alerts(state, "delay")
    assert (alert.status, alert.kind, alert.severity) == ("firing", "data_drift", "warning")
    assert (alert.raised_at, alert.last_seen_at) == (START, START + timedelta(days=7))


def test_it_is_resolved_when_it_is_no_longer_found_and_raised_anew_when_it_is(state: State):
    run_monitor(state, findings("quality"), day=0)
    run_monitor(state, findings(), day=7)
    assert list_alerts(state) == []
    run_monitor(state, findings("quality"), day=14)
    newer, older = list_alerts(state, include_resolved=True)
    assert (older.status, older.resolved_at) == ("resolved", START + timedelta(days=7))
    assert (newer.status, newer.raised_at) == ("firing", START + timedelta(days=14))


def test_what_was_not_judged_is_not_resolved(state: State):
    run_monitor(state, findings("quality", "data_drift"), day=0)
    run_monitor(state, findings(judged=("data_drift",)), day=7)
    (alert,) = list_alerts(state)
    assert (alert.kind, alert.last_seen_at) == ("quality", START)


def test_alerts_about_a_version_that_no_longer_serves_are_resolved(state: State):
    run_monitor(state, findings("quality"), day=0, version="1")
    run_monitor(state, findings("quality", judged=("quality",)), day=7, version="2")
    (alert,) = list_alerts(state)
    assert alert.version == "2"


def test_a_run_about_the_past_raises_and_reopens_nothing(state: State):
    run_monitor(state, findings("quality"), day=0)
    run_monitor(state, findings(), day=7)
    for day in (3, 6):
        run_monitor(state, findings("quality", "data_drift"), day=day, reopen_within="60d")
    assert list_alerts(state) == []
    run_monitor(state, findings("data_drift"), day=6, monitor="daily")
    assert [each.monitor for each in list_alerts(state)] == ["daily"]


def test_another_monitor_keeps_its_own(state: State):
    run_monitor(state, findings("quality"), day=0)
    run_monitor(state, findings(), day=7, monitor="daily")
    assert len(list_alerts(state)) == 1


def test_a_look_at_the_past_changes_nothing_that_is_known_later(state: State):
    run_monitor(state, findings("quality"), day=14)
    run_monitor(state, findings(), day=7)
    run_monitor(state, findings("quality"), day=7)
    (alert,) = list_alerts(state, include_resolved=True)
    assert (alert.status, alert.last_seen_at) == ("firing", START + timedelta(days=14))


def test_an_acknowledged_alert_stays_so_while_it_is_seen_and_can_be_resolved(state: State):
    run_monitor(state, findings("quality"), day=0)
    (alert,) = list_alerts(state)
    acknowledged = acknowledge(state, alert.id, "ann", START + timedelta(days=1))
    assert (acknowledged.status, acknowledged.acknowledged_by) == ("acknowledged", "ann")
    assert acknowledge(state, alert.id, "bob", START + timedelta(days=2)).acknowledged_by == "ann"
    run_monitor(state, findings("quality"), day=7)
    (alert,) = list_alerts(state)
    assert (alert.status, alert.acknowledged_at) == ("acknowledged", START + timedelta(days=1))
    run_monitor(state, findings(), day=14)
    assert list_alerts(state) == []


def test_nobody_acknowledges_what_is_not_there_or_over(state: State):
    with pytest.raises(AlertNotFound, match="no alert 'alert_x'") as caught:
        acknowledge(state, "alert_x", "ann", START)
    assert "tidemill alerts list" in caught.value.hint
    run_monitor(state, findings("quality"), day=0)
    (alert,) = list_alerts(state)
    run_monitor(state, findings(), day=7)
    with pytest.raises(MonitoringError, match="resolved at 2013-04-08"):
        acknowledge(state, alert.id, "ann", START)


def test_alerts_of_other_models_are_left_out(state: State):
    run_monitor(state, findings("quality"), day=0)
    assert list_alerts(state, "other") == []
    assert len(list_alerts(state, "delay")) == 1


def steps_of(state: State, alert: Alert) -> list[tuple[str, int, str, str | None]]:
    """Return the step, the day, the person and the comment of each step."""
    with state.transaction() as session:
        query = select(AlertStep).where(AlertStep.alert_id == alert.id).order_by(AlertStep.at, AlertStep.id)
        return [
            (each.step, (each.at - START).days, each.person, each.comment) for each in session.scalars(query)
        ]


def test_an_alert_fires_when_its_cause_persists(state: State):
    for day in (0, 7):
        run_monitor(state, findings("quality"), day, persistence=3)
        run_monitor(state, findings("quality"), day, persistence=3)  # the same window counts once
    (alert,) = list_alerts(state)
    assert (alert.status, alert.found_in, alert.fired_at) == ("pending", 2, None)
    with pytest.raises(MonitoringError, match="pending"):
        acknowledge(state, alert.id, "ann", START)
    run_monitor(state, findings("quality"), day=14, persistence=3)
    (alert,) = list_alerts(state)
    assert (alert.status, alert.fired_at) == ("firing", START + timedelta(days=14))
    by = "monitor:weekly"
    assert steps_of(state, alert) == [("pending", 0, by, None), ("firing", 14, by, None)]


def test_what_does_not_persist_never_fires_and_counts_anew(state: State):
    for day, found in enumerate([True, False, True, True]):
        run_monitor(state, findings(*["quality"] * found), 7 * day, persistence=3, reopen_within="60d")
    newer, older = list_alerts(state, include_resolved=True)
    assert (older.status, older.fired_at) == ("resolved", None)
    assert (newer.status, newer.found_in) == ("pending", 2)


def test_an_alert_that_flaps_is_reopened_and_wants_a_new_acknowledgement(state: State):
    run_monitor(state, findings("quality"), day=0, reopen_within="8d")
    (alert,) = list_alerts(state)
    acknowledge(state, alert.id, "ann", START + timedelta(days=1), "the feed is late")
    run_monitor(state, findings(), day=7, reopen_within="8d")
    run_monitor(state, findings("quality"), day=14, reopen_within="8d")
    (alert,) = list_alerts(state, include_resolved=True)
    assert (alert.status, alert.occurrence, alert.acknowledged_by) == ("firing", 2, None)
    assert (alert.resolved_at, alert.fired_at) == (None, START + timedelta(days=14))
    by = "monitor:weekly"
    assert steps_of(state, alert) == [
        ("firing", 0, by, None),
        ("acknowledged", 1, "ann", "the feed is late"),
        ("resolved", 7, by, None),
        ("reopened", 14, by, None),
    ]


def test_a_person_resolves_and_comments_and_the_cause_reopens(state: State):
    run_monitor(state, findings("quality"), day=0)
    (alert,) = list_alerts(state)
    comment_on(state, alert.id, "bob", START + timedelta(days=1), "a holiday?")
    resolve(state, alert.id, "ann", START + timedelta(days=2), "backfilled")
    assert list_alerts(state) == []
    with pytest.raises(MonitoringError, match="resolved at 2013-04-03"):
        resolve(state, alert.id, "ann", START)
    with pytest.raises(UsageError, match="empty"):
        comment_on(state, alert.id, "bob", START, " ")
    run_monitor(state, findings("quality"), day=7)
    (again,) = list_alerts(state)
    assert (again.id, again.status, again.occurrence) == (alert.id, "firing", 2)
    told = [(step, person, said) for step, _, person, said in steps_of(state, alert)][1:]
    assert told == [
        ("comment", "bob", "a holiday?"),
        ("resolved", "ann", "backfilled"),
        ("reopened", "monitor:weekly", None),
    ]


@pytest.mark.parametrize("mark", [resolve, mark_as_noise])
@pytest.mark.parametrize("day", [0, 7])
def test_what_is_resolved_while_a_run_goes_on_is_reopened_by_it(state: State, mark, day: int):
    run_monitor(state, findings("quality"), day=0)
    (alert,) = list_alerts(state)
    mark(state, alert.id, "ann", START + timedelta(days=7, minutes=1), "backfilled")
    run_monitor(state, findings("quality"), day=day)
    (again,) = list_alerts(state, include_resolved=True)
    assert (again.id, again.status, again.occurrence) == (alert.id, "firing", 2)
    assert steps_of(state, again)[-1][0] == "reopened", "after the person's step"
    mark_as_noise(state, alert.id, "ann", datetime.now(UTC), "and another")


def test_what_no_monitor_watches_any_more_is_resolved(state: State):
    run_monitor(state, findings("quality", "data_drift"), day=0)
    declared = weekly(data_drift={})
    assert resolve_undeclared(state, "delay", [declared, weekly(name="other")], START) == []
    later, now = START + timedelta(days=1), declared.model_copy(update={"quality": None})
    (quality,) = resolve_undeclared(state, "delay", [now], later)
    assert [each.kind for each in list_alerts(state)] == ["data_drift"]
    with state.transaction() as session:
        (step,) = session.scalars(select(AlertStep).where(AlertStep.step == "resolved"))
    assert (step.alert_id, step.comment) == (quality, "monitor weekly does not watch quality any more")
    assert len(resolve_undeclared(state, "delay", [weekly(name="other")], later)) == 1
    assert list_alerts(state) == []


def test_what_is_about_a_version_that_serves_no_more_waits_for_no_run(state: State):
    run_monitor(state, findings("quality", NO_RUN), day=0)
    later = START + timedelta(days=1)
    assert resolve_outlived(state, "delay", None, later) == []
    assert resolve_outlived(state, "delay", "1", later) == []
    (quality,) = resolve_outlived(state, "delay", "2", later)
    assert [each.kind for each in list_alerts(state)] == [NO_RUN]
    with state.transaction() as session:
        (step,) = session.scalars(select(AlertStep).where(AlertStep.step == "resolved"))
    assert (step.alert_id, step.at, step.comment) == (quality, later, "version 2 serves")
    run_monitor(state, findings("quality"), day=2)  # it serves again: a rollback
    assert [each.id for each in list_alerts(state) if each.kind == "quality"] == [quality]


def test_noise_is_a_step_with_a_reason_whether_the_alert_is_over_or_not(state: State):
    run_monitor(state, findings("quality"), day=0)
    (alert,) = list_alerts(state)
    with pytest.raises(UsageError, match="noise needs a reason"):
        mark_as_noise(state, alert.id, "ann", START, " ")
    mark_as_noise(state, alert.id, "ann", START + timedelta(days=1), "a holiday")
    assert list_alerts(state) == []
    with pytest.raises(MonitoringError, match="is marked as noise already"):
        mark_as_noise(state, alert.id, "bob", START + timedelta(days=2), "a holiday")
    run_monitor(state, findings("quality"), day=7)
    run_monitor(state, findings(), day=14)
    mark_as_noise(state, alert.id, "bob", START + timedelta(days=15), "and another")
    assert [(step, said) for step, _, _, said in steps_of(state, alert)][1:] == [
        ("noise", "a holiday"),
        ("reopened", None),
        ("resolved", None),
        ("noise", "and another"),
    ]


def test_what_was_recorded_before_the_clock_went_back_goes_on_from_now(state: State):
    ahead = (datetime.now(UTC) - START).days + 300
    run_monitor(state, findings("quality", "data_drift"), day=ahead)
    now = ahead - 300
    run_monitor(state, findings("quality"), day=now)
    (alert,) = list_alerts(state)
    at = START + timedelta(days=now)
    assert (alert.kind, alert.last_seen_at, alert.fired_at) == ("quality", at, at)
    (over,) = (each for each in list_alerts(state, include_resolved=True) if each.kind == "data_drift")
    assert abs(over.resolved_at - datetime.now(UTC)) < timedelta(days=2)


kinds = st.sets(st.sampled_from(KINDS))
runs = st.lists(st.tuples(kinds, kinds, st.sampled_from(["1", "2"])), max_size=12)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(history=runs)
def test_the_laws_of_alerts(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[set[str], set[str], str]]
):
    state = open_state(f"sqlite:///{tmp_path_factory.mktemp('laws') / 'state.db'}")  # in memory none is ready
    for day, (found, judged, version) in enumerate(history):
        before = {alert.kind for alert in list_alerts(state) if alert.version == version}
        found &= judged
        run_monitor(state, findings(*sorted(found), judged=tuple(judged)), day, version)
        now = list_alerts(state)
        assert len({(alert.version, alert.kind) for alert in now}) == len(now), "one of a kind"
        assert {alert.version for alert in now} <= {version}, "only about what serves"
        assert {alert.kind for alert in now} == found | (before - judged), "found, or not judged since"
    with state.transaction() as session:
        for alert in session.scalars(select(Alert)):
            assert alert.raised_at <= alert.last_seen_at
            assert (alert.resolved_at is not None) == (alert.status == "resolved")
    state.close()
