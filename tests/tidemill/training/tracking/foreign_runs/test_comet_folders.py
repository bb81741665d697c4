"""Experiments of Comet are read from what `cometx download` wrote."""

import json

import pytest

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.foreign_run import Point
from tidemill.training.tracking.foreign_runs.run_import import find_foreign_runs


@pytest.fixture
def experiment(tmp_path):
    folder = tmp_path / "ada/flights/0f1e2d"
    (folder / "metrics").mkdir(parents=True)
    (folder / "parameters.json").write_text(
        json.dumps([{"name": "lr", "valueMax": "0.1", "valueMin": "0.1", "valueCurrent": "0.1"}])
    )
    (folder / "others.jsonl").write_text(json.dumps({"name": "Name", "valueCurrent": "brave_owl"}) + "\n")
    (folder / "metrics_summary.jsonl").write_text(json.dumps({"name": "f1", "count": 0}) + "\n")
    lines = [
        {"metricName": "f1", "metricValue": "0.5", "timestamp": 1_700_000_000_000, "step": 1, "epoch": None},
        {"metricName": "f1", "metricValue": "0.7", "timestamp": 1_700_000_001_000, "step": 2, "epoch": None},
    ]
    (folder / "metrics/metric_00000.jsonl").write_text("\n".join(map(json.dumps, lines)))
    machine = {"metricName": "sys.cpu", "metricValue": "3", "timestamp": 1, "step": 1}
    (folder / "metrics/metric_00001.jsonl").write_text(json.dumps(machine) + "\n")
    return folder


def test_parameters_and_all_values_are_read(experiment, tmp_path):
    [found] = find_foreign_runs(tmp_path)
    assert (found.name, found.tool, found.source) == ("brave_owl", "comet", experiment)
    assert found.params == {"lr": "0.1"}
    assert found.points == [
        Point("f1", 0.5, 1, 1_700_000_000_000),
        Point("f1", 0.7, 2, 1_700_000_001_000),
    ]


def test_tags_times_and_commit_are_read_and_parameters_may_be_missing(experiment, tmp_path):
    (experiment / "parameters.json").unlink()
    about = {
        "experimentKey": "0f1e2d", "experimentName": "shy_elk", "tags": ["base", "night"],
        "startTimeMillis": 1_700_000_000_000, "endTimeMillis": 1_700_000_009_000, "userName": "ada",
    }  # fmt: skip
    (experiment / "metadata.json").write_text(json.dumps(about))
    (experiment / "others.jsonl").write_text("")
    (experiment / "run").mkdir()
    (experiment / "run/git_metadata.json").write_text('{"parent": "4f1d", "branch": null}')
    [found] = find_foreign_runs(tmp_path)
    assert (found.name, found.params, found.commit) == ("shy_elk", {}, "4f1d")
    assert (found.began, found.ended) == (1_700_000_000_000, 1_700_000_009_000)
    assert found.tags == {
        "tidemill_import.tags": "base, night", "tidemill_import.run": "0f1e2d", "mlflow.user": "ada",
    }  # fmt: skip


def test_one_file_of_metrics_is_read_too_and_a_broken_one_is_named(experiment, tmp_path):
    line = {"metricName": "loss", "metricValue": 2, "timestamp": 5, "step": None}
    (experiment / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    [found] = find_foreign_runs(tmp_path)
    assert found.points[0] == Point("loss", 2.0, 0, 5)
    (experiment / "metrics.jsonl").write_text('{"metricValue": 2}\n')
    with pytest.raises(DataError, match="0f1e2d cannot be read as an experiment of Comet: KeyError"):
        find_foreign_runs(tmp_path)
