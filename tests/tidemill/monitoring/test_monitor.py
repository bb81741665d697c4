import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from tidemill.errors import ConfigError, MonitoringError
from tidemill.monitoring.alerts import list_alerts
from tidemill.monitoring.monitor import evaluate, run_due
from tidemill.monitoring.monitor_config import load_monitors
from tidemill.prediction_log.prediction_log import LabelRecord, PredictionLog, PredictionRecord
from tidemill.project import Project, load_project
from tidemill.registry.versions.model_versions import CHAMPION
from tidemill.state import State, open_state
from tidemill.state.tables import MonitorRun
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_training
from tidemill.training.tracking.training_result import REFERENCE, TrainedModel

pytestmark = pytest.mark.engine

NOW = datetime(2013, 4, 15, tzinfo=UTC)
DAY = timedelta(days=1)
PARAMS = """
project: {name: flights, model: delay, training: "p:a", application: "p:b"}
dataset: {path: data/training_set.parquet, label: late}
features: {service: delay}
"""
MONITORS = """
monitors:
  - name: weekly
    window: 14d
    every: 7d
    min_rows: 300
    min_labelled: 300
    data_drift: {share: 0.5}
    prediction_drift: {}
    quality: {max_drop: 0.05}
"""


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: they take seconds."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "params.yaml").write_text(PARAMS)
    connect(load_project(folder))
    return folder / ".tidemill" / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_store: Path) -> Project:
    (tmp_path / ".tidemill").mkdir()
    with (
        closing(sqlite3.connect(empty_store)) as source,
        closing(sqlite3.connect(tmp_path / ".tidemill" / "mlflow.db")) as target,
    ):
        source.backup(target)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "monitors.yaml").write_text(MONITORS)
    return load_project(tmp_path)


@pytest.fixture
def state(project: Project):
    state = open_state(project.state_url)
    yield state
    state.close()


def draw(rows: int, seed: int, shift: float) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    wind, rain = random.normal(10 + shift, 4, rows), random.gamma(2 + shift, 1.0, rows)
    score = 1 / (1 + np.exp(-(random.normal(-1, 1.5, rows))))
    return pl.DataFrame({"wind": wind, "rain": rain, "score": score}).with_columns(
        late=pl.Series((random.random(rows) < score).astype(np.int64))
    )


def register(project: Project, holdout_roc_auc: float = 0.78) -> str:
    """Put a version into the registry as `tidemill run` would, and make it the champion."""
    client = connect(project)
    trained = TrainedModel("", "models:/m-0", {"holdout_roc_auc": holdout_roc_auc}, 1, 0, "toy", {})
    split = Split(*(Period(NOW - (90 - 20 * n) * DAY, NOW - (70 - 20 * n) * DAY) for n in range(3)))
    lineage = Lineage("c0ffee", {}, "delay", "77c2", split, NOW - 14 * DAY)
    run_id = client.create_run(experiment_id(client, project)).info.run_id
    tags = log_training(client, run_id, trained, lineage)
    log_table(client, run_id, draw(3000, 0, 0.0).select("wind", "rain", "late", "score"), REFERENCE)
    if not client.search_registered_models():
        client.create_registered_model(project.model)
    version = client.create_model_version(project.model, source=str(project.home), run_id=run_id, tags=tags)
    client.set_registered_model_alias(project.model, CHAMPION, version.version)
    return str(version.version)


def serve(
    project: Project,
    rows: pl.DataFrame,
    version: str = "1",
    end: datetime = NOW,
    labels_after: timedelta = 2 * DAY,
    test: bool = False,
) -> None:
    """Log ``rows`` as the predictions of the fortnight before ``end``, and their labels."""
    log = PredictionLog(project.predictions, project.model)
    predictions, labels = [], []
    for index, (wind, rain, score, late) in enumerate(
        rows.select("wind", "rain", "score", "late").iter_rows()
    ):
        at = end - 14 * DAY + 14 * DAY * (index / rows.height)
        name = f"p{version}-{end:%j}-{index}-{test}"
        features = {"wind": wind, "rain": rain}
        predictions.append(
            PredictionRecord(name, project.model, version, at, at, "r", {}, features, score, {}, test=test)
        )
        labels.append(LabelRecord(name, late, at + labels_after, at))
    log.append(predictions)
    log.append_labels(labels)
    log.close()


def run(project: Project, state: State, now: datetime = NOW) -> MonitorRun:
    (monitor,) = load_monitors(project)
    return evaluate(project, state, monitor, now)


def test_a_quiet_window(project: Project, state: State):
    register(project)
    serve(project, draw(1400, 1, 0.0))
    found = run(project, state)
    assert (found.verdict, found.version, found.rows) == ("ok", "1", 1400)
    assert found.labelled == 1201, "the labels of the last two days are not known yet"
    assert found.results["unjudged"] == {}
    assert found.results["data_drift"]["drifted"] == []
    assert found.results["quality"]["expected"] == 0.78
    assert len(found.results["quality"]["by_period"]) == 13
    assert list_alerts(state) == []


def test_what_was_found_is_recorded_reported_and_alarming(project: Project, state: State):
    register(project, holdout_roc_auc=0.95)
    serve(project, draw(1400, 1, 2.0).with_columns(score=pl.col("score") / 2))
    found = run(project, state)
    assert found.verdict == "alert"
    assert sorted(found.results["data_drift"]["drifted"]) == ["rain", "wind"]
    alerts = {alert.kind: alert for alert in list_alerts(state, "delay")}
    assert set(alerts) == {"data_drift", "prediction_drift", "quality"}
    assert {alert.monitor_run_id for alert in alerts.values()} == {found.id}
    assert "2 of 2 features have drifted" in alerts["data_drift"].message
    with state.transaction() as session:
        recorded = session.scalars(select(MonitorRun)).one()
        assert recorded.results == found.results
    report = project.root / recorded.report_path
    assert report.is_relative_to(project.reports)
    assert "delay version 1" in report.read_text(encoding="utf-8")
    facts = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    assert facts["verdict"] == "alert"
    assert facts["data_drift"] == found.results["data_drift"]


def test_too_few_rows_judge_nothing_and_resolve_nothing(project: Project, state: State):
    register(project, holdout_roc_auc=0.95)
    serve(project, draw(1400, 1, 0.0))
    assert run(project, state).verdict == "alert"
    later = run(project, state, NOW + 13 * DAY)
    assert (later.verdict, later.report_path) == ("too_few", None)
    assert [alert.kind for alert in list_alerts(state)] == ["quality"]


def test_test_traffic_is_not_looked_at(project: Project, state: State):
    register(project)
    serve(project, draw(1000, 1, 5.0), test=True)
    assert run(project, state).rows == 0


def test_labels_that_became_known_later_do_not_count(project: Project, state: State):
    register(project, holdout_roc_auc=0.95)
    serve(project, draw(1400, 1, 0.0), labels_after=20 * DAY)
    found = run(project, state)
    assert (found.verdict, found.labelled) == ("ok", 0)
    assert found.results["unjudged"] == {"quality": "0 labels, 300 are needed"}


def test_another_versions_scores_say_nothing_about_this_one(project: Project, state: State):
    register(project)
    serve(project, draw(1400, 1, 2.0).with_columns(score=pl.lit(0.99)), version="1")
    register(project)
    serve(project, draw(100, 2, 2.0), version="2")
    found = run(project, state)
    assert found.version == "2"
    assert found.results["rows_by_version"] == {"1": 1400, "2": 100}
    assert set(found.results["unjudged"]) == {"prediction_drift", "quality"}
    assert [alert.kind for alert in list_alerts(state)] == ["data_drift"], (
        "what is asked is looked at in all rows"
    )
    serve(project, draw(400, 3, 2.0), version="2", end=NOW - DAY)
    again = run(project, state)
    assert again.results["unjudged"] == {}
    assert not again.results["prediction_drift"]["drifted"]


def test_without_a_champion_there_is_nothing_to_watch(project: Project, state: State):
    with pytest.raises(MonitoringError, match="delay has no champion") as caught:
        run(project, state)
    assert "tidemill run --promote" in caught.value.hint
    assert run_due(project, state, NOW) == []


def test_monitors_run_when_they_are_due_for_the_moment_they_were_due(project: Project, state: State):
    register(project)
    serve(project, draw(1400, 1, 0.0))
    assert run_due(project, state, NOW + timedelta(hours=9))[0].window_end == NOW
    assert run_due(project, state, NOW + 6 * DAY) == []
    (late,) = run_due(project, state, NOW + 16 * DAY)
    assert late.at == NOW + 14 * DAY
    assert run_due(project, state, NOW + 16 * DAY) == []


def test_a_monitor_that_fails_stays_due_and_does_not_stop_the_others(project: Project, state: State):
    weekly = MONITORS.partition("- ")[2]
    more = f"{MONITORS}  - {weekly.replace('weekly', 'broken')}"
    (project.root / "monitoring" / "monitors.yaml").write_text(more)
    register(project)
    serve(project, draw(1400, 1, 0.0))
    project.reports.mkdir(parents=True)
    (project.reports / "broken").write_text("a file where a folder belongs")
    for _attempt in range(2):
        with pytest.raises(MonitoringError, match="the report cannot be written"):
            run_due(project, state, NOW)
    with state.transaction() as session:
        assert [each.monitor for each in session.scalars(select(MonitorRun))] == ["weekly"]


def test_a_wrong_declaration_is_an_error(project: Project, state: State):
    (project.root / "monitoring" / "monitors.yaml").write_text("monitors: 3")
    with pytest.raises(ConfigError, match="monitors"):
        run_due(project, state, NOW)
