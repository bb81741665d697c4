from datetime import timedelta

import pytest

from tests.tidemill.dashboard.pages.conftest import INJECTED
from tidemill.state.tables import GateDecision, Promotion, Rollout, Turn


@pytest.fixture
def make_move(now):
    def make(number, **values):
        at = now - timedelta(days=10 - number)
        given = {
            "id": f"move_{number}",
            "model": "parcel-delay",
            "alias": "champion",
            "from_version": str(number - 1) if number > 1 else None,
            "to_version": str(number),
            "kind": "promotion",
            "status": "done",
            "actor": "ada",
            "reason": f"better {INJECTED}",
            "at": at,
            "requested_at": at,
        }
        return Promotion(**{**given, **values})

    return make


@pytest.fixture
def make_gate(now):
    def make(name="gate_1", **values):
        numbers = {
            "metric": "roc_auc",
            "floor": 0.6,
            "min_gain": 0.002,
            "min_rows": 1000,
            "rows": 12022,
            "candidate": {"roc_auc": 0.684, INJECTED: 0.1},
            "champion": {"roc_auc": 0.698},
            "gain": -0.014,
            "gain_interval": [-0.03, 0.003],
        }
        given = {
            "id": name,
            "model": "parcel-delay",
            "candidate": "3",
            "champion": "2",
            "mode": "enforce",
            "passed": False,
            "reasons": [f"roc_auc fell {INJECTED}", "enough rows"],
            "numbers": numbers,
            "decided_at": now,
        }
        return GateDecision(**{**given, **values})

    return make


@pytest.fixture
def make_turn(now):
    def make(name="turn_1", **values):
        given = {
            "id": name,
            "model": "parcel-delay",
            "trigger": "manual",
            "reason": f"new rows {INJECTED}",
            "actor": "ada",
            "promote": True,
            "overrides": {},
            "as_of": now,
            "status": "promoted",
            "step": "end",
            "version": "3",
            "seconds": {"data": 2.0, "train": 40.5},
            "cpu_seconds": 30.0,
            "requested_at": now,
        }
        return Turn(**{**given, **values})

    return make


@pytest.fixture
def make_rollout(now):
    def make(name="roll_1", **values):
        check = {
            "step": 0,
            "share": 0.01,
            "action": "advance",
            "reason": "all is well",
            "checks": [f"errors {INJECTED}"],
            "numbers": {"answered": 900, "failed": 1, "p99_ms": [4.0, 5.0], "quality": [0.01, -0.01, 0.03]},
            "at": now.isoformat(),
        }
        given = {
            "id": name,
            "model": "parcel-delay",
            "version": "3",
            "champion": "2",
            "plan": {
                "steps": [
                    {"share": 0.01, "minutes": 5, "requests": 200},
                    {"share": 1.0, "minutes": 5, "requests": 9},
                ],
                "max_errors": 0.01,
            },
            "status": "running",
            "step": 1,
            "baseline": {},
            "checks": [check],
            "actor": "ada",
            "reason": "by steps",
            "at": now,
            "stepped_at": now,
            "requested_at": now,
        }
        return Rollout(**{**given, **values})

    return make
