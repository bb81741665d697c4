"""``tidemill features``, on a small project with real stores."""

import json

import pytest
from typer.testing import CliRunner

from tests.tidemill.features.conftest import hours, make
from tidemill.cli.main import app
from tidemill.features.feature_store import apply

pytestmark = pytest.mark.engine


@pytest.fixture
def tidemill(tmp_path):
    project = make(tmp_path / "project")
    apply(project)

    def run(*arguments):
        done = CliRunner().invoke(
            app, ["features", *arguments, "-p", str(project.root)], env={"COLUMNS": "200"}
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_status_before_and_after_materialisation(tidemill):
    assert "lateness: the source has rows up to 2013-01-01 00:00: tidemill feat" in tidemill("status")
    empty = json.loads(tidemill("status", "--json", "--at", hours(3).isoformat()))
    assert [view["state"] for view in empty["views"]] == ["empty", "empty"]

    filled = json.loads(tidemill("materialise", "--at", hours(3).isoformat(), "--json"))
    rows = {"weather": 2, "lateness": 2}
    assert filled == {"until": "2013-01-01T03:00:00+00:00", "rows": rows, "requested": []}
    assert tidemill("materialise", "--at", hours(3).isoformat()).startswith("online up to 2013-01-01 03:00\n")

    views = json.loads(tidemill("status", "--json", "--at", hours(4.5).isoformat()))["views"]
    weather = next(view for view in views if view["view"] == "weather")
    assert weather == {
        "view": "weather",
        "state": "fresh",
        "keys": 2,
        "newest": "2013-01-01T02:00:00+00:00",
        "age_seconds": 9000.0,
        "ttl_seconds": 10800.0,
        "expired": 0.5,
        "source_newest": "2013-01-01T02:00:00+00:00",
    }

    shown = tidemill("status", "--at", hours(30).isoformat())
    assert "stale" in shown
    assert "1 d 4 h" in shown
    assert "weather: 100.0% of the keys have expired" in shown
    assert "the source has rows" not in shown
