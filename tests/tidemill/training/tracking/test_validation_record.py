"""What validation found in the data stands on the run of the training."""

import json
from pathlib import Path

import pytest

from tidemill.errors import TrainingError
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.validation_record import VALIDATION, log_validation

pytestmark = pytest.mark.engine

REPORT = {
    "flights": {
        "rows": 200,
        "accepted": 195,
        "rejected": 5,
        "failing": 5,
        "checks": [{"outcome": "rows fail"}],
    },
    "weather": {"rows": 10, "accepted": 10, "rejected": 0, "failing": 2, "checks": [{"outcome": "failed"}]},
    "empty": {"rows": 0, "accepted": 0, "rejected": 0, "broken": {}},  # of an earlier Tidemill
}


@pytest.fixture
def run(new_project):
    project = new_project()
    client = mlflow_tracking.connect(project)
    experiment = mlflow_tracking.experiment_id(client, project)
    return project, client, client.create_run(experiment).info.run_id


def test_the_report_and_its_numbers_are_on_the_run(run):
    project, client, run_id = run
    (project.root / "expectations.yaml").write_text("report: found/report.json")
    (project.root / "found").mkdir()
    (project.root / "found" / "report.json").write_text(json.dumps(REPORT))
    log_validation(client, run_id, project)
    metrics = client.get_run(run_id).data.metrics
    assert metrics["data.rejected_share.flights"] == 0.025
    assert metrics["data.failing_share.weather"] == 0.2
    assert metrics["data.failed_checks.weather"] == 1
    assert metrics["data.rejected_share.empty"] == 0
    assert metrics["data.rows.flights"] == 200
    assert json.loads(Path(client.download_artifacts(run_id, VALIDATION)).read_text()) == REPORT


def test_data_that_was_not_validated_leaves_nothing(run):
    project, client, run_id = run
    log_validation(client, run_id, project)
    assert client.get_run(run_id).data.metrics == {}


@pytest.mark.parametrize("text", ["{", "[1]", '{"flights": 3}', '{"flights": {"rows": "many"}}'])
def test_a_broken_report_is_named(run, text):
    project, client, run_id = run
    (project.root / "data").mkdir(exist_ok=True)
    (project.root / "data" / "validation.json").write_text(text)
    with pytest.raises(TrainingError, match=r"validation\.json cannot be read"):
        log_validation(client, run_id, project)
