from datetime import timedelta

import pytest

from tests.tidemill.dashboard.pages.conftest import INJECTED
from tidemill.state.tables import Alert, AlertStep, MonitorRun, Notification, Silence


@pytest.fixture
def make_run(now):
    def make(name="run_1", model="parcel-delay", **values):
        given = {
            "id": name,
            "model": model,
            "monitor": "weekly",
            "version": "3",
            "window_start": now - timedelta(days=8),
            "window_end": now - timedelta(days=1),
            "rows": 900,
            "labelled": 100,
            "verdict": "alert",
            "at": now,
            "results": {
                "unjudged": {"quality": "12 labels, 500 are needed"},
                "histograms": {INJECTED: {"bins": ["<b>", "c"], "before": [0.5, 0.5], "now": [0.1, 0.9]}},
                "data_drift": {
                    "share": 0.5,
                    "threshold": 0.3,
                    "drifted": [INJECTED],
                    "columns": [
                        {
                            "name": INJECTED,
                            "value": 0.4,
                            "threshold": 0.1,
                            "drifted": True,
                            "broken": None,
                            "note": None,
                        }
                    ],
                },
                "findings": [{"kind": "data_drift", "message": "wind moved"}],
            },
        }
        return MonitorRun(**{**given, **values})

    return make


@pytest.fixture
def make_alert(now):
    def make(name="alert_1", model="parcel-delay", **values):
        given = {
            "id": name,
            "model": model,
            "monitor": "weekly",
            "version": "3",
            "kind": "data_drift",
            "severity": "warning",
            "message": f"wind moved {INJECTED}",
            "details": {},
            "monitor_run_id": "run_1",
            "status": "firing",
            "raised_at": now - timedelta(hours=5),
            "fired_at": now - timedelta(hours=5),
            "last_seen_at": now,
        }
        return Alert(**{**given, **values})

    return make


@pytest.fixture
def alert(add, make_run, make_alert):
    """An alert that fires."""
    return add(make_run(), make_alert())


@pytest.fixture
def step(now):
    def step(alert_id, what, person, at=None, comment=None):
        return AlertStep(
            id=f"step_{what}_{alert_id}",
            alert_id=alert_id,
            step=what,
            at=at or now,
            person=person,
            comment=comment,
        )

    return step


@pytest.fixture
def make_message(now):
    def make(name, alert_id="alert_1", **values):
        given = {
            "id": name,
            "alert_id": alert_id,
            "model": "parcel-delay",
            "occurrence": 1,
            "receiver": "pager",
            "step": "firing",
            "group_key": "",
            "status": "withheld",
            "reason": f"silenced {INJECTED}",
            "at": now,
            "attempts": 0,
            "next_at": now,
        }
        return Notification(**{**given, **values})

    return make


@pytest.fixture
def make_silence(now):
    def make(name="silence_1", model="parcel-delay", **values):
        given = {
            "id": name,
            "model": model,
            "matchers": {"kind": "data_*"},
            "author": "ada",
            "reason": f"moving {INJECTED}",
            "starts_at": now - timedelta(hours=1),
            "ends_at": now + timedelta(hours=1),
        }
        return Silence(**{**given, **values})

    return make
