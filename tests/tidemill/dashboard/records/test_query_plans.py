"""Queries of pages that must not read a model's whole history, in databases without statistics."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from tidemill.dashboard.records.alert_rows import open_alerts
from tidemill.state import alert_queries, open_state, record_queries
from tidemill.state.record_reader import Records
from tidemill.state.tables import Alert, MonitorRun

NOW = datetime(2013, 7, 1, tzinfo=UTC)


class Explained(Records):
    """Records that keep how each query was answered."""

    plans = ()

    def _rows(self, query, values):
        with closing(sqlite3.connect(self.address)) as database:
            plan = database.execute(f"EXPLAIN QUERY PLAN {query}", [str(value) for value in values])
            self.plans = (*self.plans, " ".join(row[-1] for row in plan))
        return super()._rows(query, values)


def test_the_pages_of_alerts_and_versions_find_their_rows_by_an_index_of_their_own(tmp_path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    run = {"monitor": "weekly", "model": "m", "version": "3"}
    window = {"window_start": NOW, "window_end": NOW, "rows": 9, "labelled": 0, "verdict": "alert"}
    made = {"kind": "quality", "severity": "critical", "message": "worse", "details": {}, "raised_at": NOW}
    made |= {
        "monitor_run_id": "mon_1",
        "status": "firing",
        "last_seen_at": NOW,
        "found_in": 1,
        "occurrence": 1,
    }
    with state.transaction() as session:
        session.add(MonitorRun(id="mon_1", **run, **window, results={}, at=NOW))
        session.flush()
        session.add(Alert(id="alert_1", **run, **made))
    state.close()
    records = Explained(tmp_path / "state.db")
    [alert] = open_alerts(records, "m")
    alert_queries.alert_records(records, "m", "alert_1")
    alert_queries.times_fired(records, alert)
    record_queries.gate_decisions(records, "m", "3", "4")
    found = " ".join(records.plans)
    for index in (
        "ix_alerts_model_status_raised_at (model=? AND status=?)",
        "ix_alert_steps_step_at (step=?)",
        "ix_alert_steps_step_at (step=? AND at>?)",
        "ix_promotions_model_at_id (model=? AND at<?)",
        "ix_rollouts_model_at_id (model=? AND at<?)",
        "ix_turns_model_version_requested_at (model=? AND version=?)",
        "ix_gate_decisions_model_candidate (model=? AND candidate=?)",
    ):
        assert index in found, index
    assert "SCAN" not in found
