from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tests.tidemill.recorded import list_alerts
from tidemill.alerting.alert_actions import acknowledge, resolve
from tidemill.state import open_state
from tidemill.state.external_alerts import ExternalAlert, record_external
from tidemill.state.tables import AlertStep

START = datetime(2013, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DISK = ExternalAlert(
    "alertmanager", "DiskFull", "f1", True, "critical", "the disk is full", {"alertname": "DiskFull"}, START
)


@pytest.fixture
def state():
    state = open_state("sqlite://")
    yield state
    state.close()


def tell(state, hours: float, *alerts: ExternalAlert) -> str:
    """Return what became of the alerts."""
    done = record_external(state, "delay", alerts, START + hours * HOUR)
    return ",".join(f"{name} {count}" for name, count in done.items() if count)


def over(alert: ExternalAlert = DISK, hours: float = 3) -> ExternalAlert:
    return replace(alert, firing=False, ends_at=START + hours * HOUR)


def test_an_alert_fires_once_is_seen_again_and_ends_when_it_is_told(state):
    assert tell(state, 0, DISK) == "raised 1"
    assert tell(state, 1, DISK, DISK) == "seen 2"
    (alert,) = list_alerts(state, "delay")
    assert (alert.kind, alert.monitor, alert.severity) == ("external", "alertmanager/DiskFull", "critical")
    assert (alert.details["labels"], alert.version) == ({"alertname": "DiskFull"}, "none")
    acknowledge(state, alert.id, "ann", START + HOUR)
    assert tell(state, 3, over()) == "resolved 1"
    assert list_alerts(state) == []
    with state.transaction() as session:
        steps = session.scalars(select(AlertStep).order_by(AlertStep.at)).all()
    assert [(each.step, each.person) for each in steps] == [
        ("firing", "alertmanager"), ("acknowledged", "ann"), ("resolved", "alertmanager"),
    ]  # fmt: skip


def test_what_is_told_late_or_twice_changes_nothing(state):
    assert tell(state, 0, over()) == "unchanged 1", "its beginning was never told"
    tell(state, 0, DISK)
    tell(state, 3, over())
    assert tell(state, 4, DISK, over()) == "unchanged 2"
    again = replace(DISK, starts_at=START + 5 * HOUR)
    assert tell(state, 5, again) == "raised 1"
    tell(state, 6, over(again, 6))
    assert tell(state, 7, DISK) == "unchanged 1", "the first one, once more"
    assert len(list_alerts(state, include_resolved=True)) == 2


def test_the_end_of_an_earlier_time_does_not_end_the_present_one(state):
    tell(state, 0, DISK)
    tell(state, 3, over())
    again = replace(DISK, starts_at=START + 5 * HOUR)
    assert tell(state, 5, again) == "raised 1"
    assert tell(state, 6, over()) == "unchanged 1"
    assert tell(state, 7, again) == "seen 1"
    once_more = replace(DISK, starts_at=START + 8 * HOUR)  # the end of the second time was never told
    assert tell(state, 8, once_more) == "seen 1"
    assert tell(state, 9, over(again, 7)) == "unchanged 1"
    assert tell(state, 10, over(once_more, 9)) == "resolved 1"


def test_an_alert_whose_start_turns_out_to_be_earlier_ends_all_the_same(state):
    tell(state, 2, replace(DISK, starts_at=START + 2 * HOUR))
    assert tell(state, 3, DISK) == "unchanged 1", "a second Prometheus had seen it two hours earlier"
    assert tell(state, 4, over(DISK, 4)) == "resolved 1"
    assert tell(state, 5, DISK, over(DISK, 4)) == "unchanged 2"


def test_one_that_a_person_has_resolved_and_that_still_fires_is_reopened(state):
    tell(state, 0, DISK)
    (alert,) = list_alerts(state)
    resolve(state, alert.id, "ann", START + HOUR)
    assert tell(state, 2, DISK) == "reopened 1"
    (alert,) = list_alerts(state)
    assert (alert.status, alert.occurrence) == ("firing", 2)


def test_fingerprints_tell_alerts_of_one_name_apart(state):
    other = replace(DISK, fingerprint="f2", labels={"alertname": "DiskFull", "version": "7"})
    assert tell(state, 0, DISK, other) == "raised 2"
    assert {alert.version for alert in list_alerts(state)} == {"none", "7"}
    assert tell(state, 1, over(other)) == "resolved 1"
    assert [alert.details["fingerprint"] for alert in list_alerts(state)] == ["f1"]
