"""``tidemill data``: what people and machines get to see of data versions."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.tidemill.data.conftest import FLIGHTS, FLIGHTS_LATER, put, write_project
from tidemill.cli.main import app
from tidemill.data.repository.git import git
from tidemill.data.versioning.add import add
from tidemill.data.versioning.data_versions import init_workspace
from tidemill.project import load_project
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_result import TrainedModel

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("told") / "tiny"
    write_project(root)
    init_workspace(root, root.parent / "remote")
    project = load_project(root)
    for flights, message in ((FLIGHTS, "Flights"), (FLIGHTS_LATER, "More flights")):
        put(root / "data/flights.parquet", flights)
        add(project, "data/flights.parquet", message)
    return root


def run(root: Path, *arguments: object) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, arguments), "--project", str(root)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def facts(root: Path, *arguments: object) -> Any:
    return json.loads(run(root, *arguments, "--json"))


def test_the_log_shows_versions_and_opens_no_store_that_is_not_there(told: Path):
    said = run(told, "log")
    assert "More flights" in said
    assert "~" in said
    newest, oldest = facts(told, "log")["versions"]
    assert (newest["message"], newest["changed"]) == ("More flights", ["data/flights.parquet"])
    assert (oldest["added"], oldest["models"]) == (["data/flights.parquet"], [])
    assert len(facts(told, "log", "--limit", 1)["versions"]) == 1
    assert not (told / ".tidemill/mlflow.db").exists()


def test_a_project_without_a_version_has_an_empty_log(told: Path, tmp_path: Path):
    shutil.copytree(told, tmp_path / "new")
    git(tmp_path / "new", "checkout", "--quiet", "HEAD~2")
    assert "no version yet" in run(tmp_path / "new", "log")
    assert facts(tmp_path / "new", "log")["versions"] == []


def test_the_log_asks_mlflow_what_was_trained(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
    from tidemill.training.tracking.training_record import log_lineage, log_summary

    root = tmp_path / "tiny"
    shutil.copytree(told, root)
    project = load_project(root)
    day = [datetime(2013, 5, n, tzinfo=UTC) for n in range(1, 5)]
    split = Split(*(Period(start, start + timedelta(days=1)) for start in day[:3]))
    lineage = Lineage(git(root, "rev-parse", "HEAD~1").strip(), {}, "tiny", "77c2", split, day[3])
    client = connect(project)
    client.create_registered_model("tiny")
    run = client.create_run(experiment_id(client, project)).info.run_id
    tags = log_lineage(client, run, lineage) | log_summary(
        client, run, TrainedModel(run, "models:/m-1", {}, 1, 0, "trees", {})
    )
    client.create_model_version("tiny", source=str(tmp_path), run_id=run, tags=tags)
    client.create_model_version("tiny", source=str(tmp_path))  # came from elsewhere
    log = facts(root, "log")
    assert [one["models"] for one in log["versions"]] == [[], ["tiny/1"]]
    assert log["models_unknown"] is None

    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no data base")
    monkeypatch.setenv("TIDEMILL_TRACKING_URI", f"sqlite:///{broken}")
    log = facts(root, "log")  # what is known is told all the same
    assert len(log["versions"]) == 2
    assert "MLflow's store cannot be opened" in log["models_unknown"]


def test_a_version_is_shown(told: Path):
    assert "data/flights.parquet" in run(told, "show")
    for arguments in (["HEAD~1", "data/flights.parquet"], ["HEAD~1"]):
        (shown,) = facts(told, "show", *arguments)["outputs"]
        assert (shown["rows"], shown["schema"]["delay"]) == (3, "Float64")
    (flights,) = facts(told, "show", "data/flights.parquet")["outputs"]  # the version may be left out
    assert [column["nulls"] for column in flights["stats"]["columns"]] == [0, 0, 0, 0]
    assert "B6" in run(told, "show", "data/flights.parquet")


def test_versions_are_compared(told: Path):
    (change,) = facts(told, "diff", "--key", "flight")["changes"]
    assert [change["table"][name] for name in ("added", "removed", "changed")] == [2, 1, 1]
    said = run(told, "diff", "HEAD~1", "data/flights.parquet")
    assert "+ gate" in said
    assert "→ 4" in said
    same = facts(told, "diff", "HEAD", "HEAD")
    assert (same["changes"], same["unchanged"]) == ([], 1)


def test_a_version_is_checked_out_and_what_is_wrong_ends_with_a_code(told: Path, tmp_path: Path):
    done = facts(told, "checkout", "HEAD~1", "data/flights.parquet", "--to", tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out/data/flights.parquet", memory_map=False).equals(FLIGHTS)
    assert sum(done["links"].values()) == done["files"] == 1
    command = [
        sys.executable,
        "-m",
        "tidemill.cli.main",
        "data",
        "checkout",
        "v9",
        "--to",
        str(tmp_path / "x"),
    ]
    failed = subprocess.run([*command, "--json", "--project", str(told)], capture_output=True, text=True)
    assert failed.returncode == 2
    assert json.loads(failed.stderr) == {
        "error": "VersionNotFound",
        "message": f"{told} has no version 'v9'",
        "hint": "see `tidemill data log`",
    }


def test_data_and_labels_are_added(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "tiny"
    shutil.copytree(told, root)
    shutil.copytree(told.parent / "remote", tmp_path / "remote")
    put(root / "data/new/airports.csv", pl.DataFrame({"faa": ["JFK"]}))
    monkeypatch.chdir(root / "data/new")
    assert facts(root, "add", "airports.csv", "-m", "Airports")["path"] == "data/new/airports.csv"
    assert "has not changed" in run(root, "add", "data/new/airports.csv")  # relative to the project, too
    (tmp_path / "votes.csv").write_text("flight,label,labelled_at\n1,late,2013-05-01\n4,on time,2013-05-02\n")
    labels = [
        "labels",
        "import",
        tmp_path / "votes.csv",
        "--key",
        "flight",
        "--against",
        "data/flights.parquet",
    ]
    done = facts(root, *labels)
    assert (done["path"], done["labels"], done["changed"]) == ("data/labels/labels.parquet", 2, True)
    assert "has not changed" in run(root, *labels)
    assert git(root, "log", "-1", "--format=%s").strip() == "Labels labels: 2 from votes.csv"
