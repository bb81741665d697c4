"""What auditors are given of a version."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from tests.tidemill.registry.test_promotion import with_gate
from tidemill.cli.main import app
from tidemill.dashboard.version_dossier import read_dossier
from tidemill.errors import ModelNotFound
from tidemill.registry.promotion import promote
from tidemill.state.record_reader import Records
from tidemill.state.tables import MonitorRun
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine

NOW = datetime(2013, 6, 1, tzinfo=UTC)


def test_all_that_is_on_record_about_a_version_is_exported_and_nothing_of_others(registered, state, tmp_path):
    project = with_gate(registered, min_gain=-1.0)
    promote(project, state, "1", "ada", "the first", NOW)
    promote(project, state, "2", "bob", "better", NOW)
    of = {"model": "small-model", "window_start": NOW, "window_end": NOW, "rows": 9, "labelled": 9, "at": NOW}
    results = {"staleness": {"days": 7}, "examples": {"quality": ["prediction-of-somebody"]}}
    with state.transaction() as session:
        for version in ("1", "2"):
            session.add(
                MonitorRun(
                    id=f"run_{version}", monitor="m", version=version, verdict="ok", results=results,
                    report_path=None, **of,
                )
            )  # fmt: skip
    file = tmp_path / "one.json"
    done = CliRunner().invoke(
        app, ["models", "export-record", "1", "--output", str(file), "-p", str(project.root)]
    )
    assert done.exit_code == 0, done.exception
    made = json.loads(file.read_text())
    assert (made["model"], made["version"], made["card"]["version"]) == ("small-model", "1", "1")
    assert "No certificate" in made["is_not"][0]
    [decision] = made["gate_decisions"]
    assert (decision["passed"], decision["numbers"]["metric"]) == (True, "roc_auc")
    assert [(one["from_version"], one["to_version"], one["actor"]) for one in made["moves"]] == [
        (None, "1", "ada"),
        ("1", "2", "bob"),
    ]
    [entry] = made["audit"]["entries"]
    assert (entry["actor"], entry["action"], entry["reason"]) == ("ada", "promote", "the first")
    assert made["audit"]["head"]["intact"]
    assert made["audit"]["head"]["seq"] > entry["seq"]
    [run] = made["monitoring"]
    assert (run["id"], run["results"]) == ("run_1", {"staleness": {"days": 7}})
    assert "prediction-of-somebody" not in file.read_text()
    assert made["truncated"] == []
    assert made["card_missing"] is None

    connect(project).delete_model_version(project.model, "1")
    records = Records(project.state_url)
    kept = read_dossier(project, records, "1", NOW)
    with pytest.raises(ModelNotFound):
        read_dossier(project, records, "9", NOW)
    assert kept["card"] is None
    assert "has this version no more" in kept["card_missing"]
    assert [one["id"] for one in kept["gate_decisions"]] == [decision["id"]]
    assert kept["audit"]["entries"][0]["reason"] == "the first"
