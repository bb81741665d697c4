"""Outputs of batch scoring: those in the project are rewritten, those elsewhere are named."""

import json
import shutil
from datetime import UTC, datetime

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.tidemill.serving.small_project import add_version, crown, make_project
from tidemill.cli.main import app
from tidemill.clock import SystemClock
from tidemill.data.repository.git import git
from tidemill.privacy.erasure import erasing
from tidemill.project import load_project
from tidemill.scoring.schedules.schedule_rules import find_schedule
from tidemill.scoring.schedules.scheduled_runs import next_due, run_slot
from tidemill.scoring.score import score
from tidemill.scoring.scoring_job import ScoreRequest
from tidemill.settings import Settings
from tidemill.state import open_state

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SLOT = datetime(2013, 4, 1, tzinfo=UTC)
ROWS = "depot,wind,rain\nnorth,1.0,0.5\nsouth,9.0,2.0\nnorth,much,0.0\nsouth,very,0.0\n"
SCHEDULES = """
schedules:
  - {name: nightly, input: rows.csv, output: "OUT/{slot:%Y-%m-%d}", every: 1d, workers: 0, max_rejected: 2}
"""


@pytest.fixture
def project(tmp_path):
    project = make_project(tmp_path / "project", Settings(privacy_key=None))
    crown(project, add_version(project, 0.2))
    root = project.root
    (root / "tombstones.yaml").write_text("key: null\nerased: []\n")
    (root / ".gitignore").write_text("/.tidemill/\n/data/\n/rows.csv\n__pycache__/\n")
    git(root, "init", "-q")
    git(root, "config", "user.email", "a@example.org")
    git(root, "config", "user.name", "a")
    git(root, "add", ".")
    git(root, "commit", "-qm", "A project")
    (root / "rows.csv").write_text(ROWS)
    return load_project(root, Settings(privacy_key=None))


def run(project, output):
    request = ScoreRequest(("rows.csv",), output, keep=("*",), decide=False, max_rejected=2, workers=0)
    return score(project, request, folder=project.root)


def by_schedule(project, folder):
    (project.root / "monitoring").mkdir()
    (project.root / "monitoring" / "schedules.yaml").write_text(SCHEDULES.replace("OUT", str(folder)))
    state, schedule = open_state(project.state_url), find_schedule(project, "nightly")
    done = run_slot(project, state, schedule, next_due(project, state, schedule, SLOT), SLOT)
    state.close()
    return done.output


def test_outputs_in_the_project_are_rewritten_and_others_named(project, tmp_path):
    root, schedule_folder = project.root, tmp_path / "elsewhere"
    run(project, "scores.csv")
    run(project, "scores")
    [part] = (root / "scores").glob("part-*")
    output = by_schedule(project, schedule_folder)
    dry = erasing.preview(project, {"depot": "north"}, lambda *_: None).found
    assert list(dry["elsewhere"]) == [{"schedule": "nightly", "output": output, "rows": 4}]
    assert {place["name"]: place["rows"] for place in dry["places"] if place["kind"] == "loose"} == {
        "rows.csv": 2,
        "scores.csv": 1,
        "scores.csv.rejects.ndjson": 1,
        "scores/_rejects.ndjson": 1,
        str(part.relative_to(root)): 1,
    }
    [done] = erasing.erase(
        project, {"depot": "north"}, actor="ann", reason="", history=False, clock=SystemClock(),
        tell=lambda *_: None,
    )  # fmt: skip
    assert done.status == "done", done.steps
    assert pl.read_csv(root / "scores.csv")["depot"].to_list() == ["south"]
    assert pl.read_parquet(part)["depot"].to_list() == ["south"]
    for rejects in (root / "scores.csv.rejects.ndjson", root / "scores" / "_rejects.ndjson"):
        assert [json.loads(line)["row"] for line in rejects.read_text().splitlines()] == [4]
    assert "north" in "".join(path.read_text("latin-1") for path in schedule_folder.rglob("_rejects.ndjson"))
    shown = CliRunner().invoke(
        app, ["data", "erase", "--entity", "depot=north", "--dry-run", "--project", str(root)]
    )
    assert f"not searched: 1 output of schedule nightly outside the project, the latest {output}" in (
        shown.stdout
    )
    shutil.rmtree(schedule_folder)
    assert erasing.preview(project, {"depot": "north"}, lambda *_: None).found["elsewhere"] == ()
