"""The queries of the pages that watch, beside very many records."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.identification import OpenIdentification
from tidemill.dashboard.records import watch_records
from tidemill.state import record_queries

MODEL = "parcel-delay"
DAY = datetime(2013, 4, 1, tzinfo=UTC)
RUNS, MOVES = 2_000, 5_000
COLUMNS = [
    {"name": f"f{place}", "value": 0.2, "threshold": 0.1, "drifted": True, "broken": None, "impact": 0.1}
    for place in range(20)
]
RESULTS = json.dumps(
    {
        "data_drift": {"share": 0.5, "threshold": 0.3, "drifted": [], "columns": COLUMNS},
        "rows_by_version": {"1": 900},
    }
)


@pytest.fixture
def full(installation):
    """An installation with very many monitor runs and promotions."""
    installation.state.close()
    path = installation.records.path
    made = [(f"{DAY + timedelta(hours=place):%Y-%m-%d %H:%M:%S.%f}", place) for place in range(RUNS)]
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO monitor_runs VALUES (?, ?, ?, '1', ?, ?, 900, 800, ?, ?, NULL, ?)",
            [
                (f"mon_{place:08d}", ("daily", "hourly")[place % 2], MODEL, at, at, "alert", RESULTS, at)
                for at, place in made
            ],
        )
        connection.executemany(
            "INSERT INTO promotions (id, model, alias, to_version, kind, status, actor, reason, at,"
            " requested_at) VALUES (?, ?, 'champion', '1', 'promotion', 'done', 'a', 'b', ?, ?)",
            [(f"move_{place:08d}", MODEL, made[0][0], made[0][0]) for place in range(MOVES)],
        )
    return installation


def test_pages_show_what_is_newest_of_many_records(full):
    """How long they take, `benchmarks.dashboard_pages` measures."""
    app = make_app(full, OpenIdentification(), local_only=True)
    with TestClient(app, base_url="http://localhost") as browser:
        last = browser.get(f"/api/v1/models/{MODEL}").json()["windows"][0]["id"]
        paths = ["", "?page=10", "?from=2014-01-01&to=2014-01-02", f"/windows/{last}", "/features/f3"]
        for path in ("/", *(f"/models/{MODEL}{path}" for path in paths)):
            assert browser.get(path).status_code == 200
    assert last == f"mon_{RUNS - 1:08d}"
    runs = record_queries.last_monitor_runs(full.records, MODEL)
    assert [(run.monitor, run.id) for run in runs] == [
        ("daily", f"mon_{RUNS - 2:08d}"),
        ("hourly", f"mon_{RUNS - 1:08d}"),
    ]
    earlier = record_queries.last_monitor_runs(full.records, MODEL, runs[0].at - timedelta(seconds=1))
    assert [run.id for run in earlier] == [f"mon_{RUNS - 4:08d}", f"mon_{RUNS - 3:08d}"]
    assert watch_records.monitor_names(full.records, "another") == []
