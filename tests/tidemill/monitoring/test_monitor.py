import json
import math
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

import tidemill.monitoring.monitor
import tidemill.monitoring.windows.window_rows
from tests.tidemill.recorded import list_alerts
from tidemill.alerting.alert_states import record_alerts
from tidemill.cli.main import app
from tidemill.errors import ConfigError, MonitoringError
from tidemill.files.locks import locked
from tidemill.kubernetes import monitors_job
from tidemill.monitoring.figure_history import figure_of
from tidemill.monitoring.kinds.kind_table import TABLE
from tidemill.monitoring.monitor import evaluate
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.monitoring.monitoring_round import run_due
from tidemill.monitoring.run_explanation import explain_run
from tidemill.prediction_log.log_records import LABEL_COLUMNS, PREDICTION_COLUMNS
from tidemill.prediction_log.prediction_log import (
    LabelRecord,
    PredictionLog,
    PredictionRecord,
    features_of,
    read_labelled,
    read_predictions,
)
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import Folder
from tidemill.prediction_log.upkeep.compaction import compact
from tidemill.project import Project, load_project
from tidemill.registry.versions.model_versions import CHAMPION, champion
from tidemill.serving.observability import request_counts
from tidemill.serving.observability.metrics_sharing import SharedMetrics
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.state import State, open_state
from tidemill.state.claims import claimed
from tidemill.state.tables import Claim, MonitorRun
from tidemill.tasks.binary import Binary
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.reference_rows import ReferenceRows
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_lineage, log_summary
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
    health: {}
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


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is judged: a report takes seconds."""
    monkeypatch.setattr(tidemill.monitoring.monitor, "report_window", lambda *_: None)


def draw(rows: int, seed: int, shift: float) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    wind, rain = random.normal(10 + shift, 4, rows), random.gamma(2 + shift, 1.0, rows)
    score = 1 / (1 + np.exp(-(random.normal(-1, 1.5, rows))))
    return pl.DataFrame({"wind": wind, "rain": rain, "score": score}).with_columns(
        late=pl.Series((random.random(rows) < score).astype(np.int64))
    )


def register(project: Project, holdout_roc_auc: float = 0.78, reads: tuple[str, ...] = ()) -> str:
    """Put a version into the registry as `tidemill run` would, and make it the champion."""
    client = connect(project)
    metrics = {"holdout_roc_auc": holdout_roc_auc}
    trained = TrainedModel("", "models:/m-0", metrics, 1, 0, "toy", {}, features=reads)
    split = Split(*(Period(NOW - (90 - 20 * n) * DAY, NOW - (70 - 20 * n) * DAY) for n in range(3)))
    lineage = Lineage("c0ffee", {}, "delay", "77c2", split, NOW - 14 * DAY)
    run_id = client.create_run(experiment_id(client, project)).info.run_id
    tags = log_lineage(client, run_id, lineage) | log_summary(client, run_id, trained)
    rows = draw(3000, 0, 0.0)
    features, labels = rows.select("wind", "rain"), rows["late"]
    reference = ReferenceRows(features, labels, rows["score"], held_out=features, held_out_labels=labels)
    log_table(client, run_id, reference.table(), REFERENCE)
    if not client.search_registered_models():
        client.create_registered_model(project.model)
    version = client.create_model_version(project.model, source=str(project.home), run_id=run_id, tags=tags)
    client.set_registered_model_alias(project.model, CHAMPION, version.version)
    return str(version.version)


def put_reference(project: Project, reference: ReferenceRows) -> None:
    """Give the champion another reference."""
    put_table(project, reference.table())


def put_table(project: Project, table: pl.DataFrame) -> None:
    serving = champion(project)
    log_table(connect(project), serving.run_id, table, REFERENCE)


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
    return evaluate(project, state, monitor, now, record_alerts)


def assert_same_by_sketches(
    found: MonitorRun, project: Project, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict from sketches is that from rows; of rows only the columns that drifted are read."""
    compact(project.predictions, project.model, Folder(project.predictions), Sizes(sketched=1).all_of_it())
    drifted = found.results["data_drift"]["drifted"]
    looked = {"milliseconds", "flags", *(f"feature.{name}" for name in drifted)}
    if found.results["prediction_drift"]["drifted"]:
        looked |= {"score", "answer"}

    def read(*where, columns):
        assert set(columns) - {"prediction_id", "version"} <= looked
        return read_predictions(*where, columns=columns)

    with monkeypatch.context() as patch:
        patch.setattr(tidemill.monitoring.windows.window_rows, "read_predictions", read)
        patch.setattr(tidemill.monitoring.monitor, "read_predictions", read)
        patch.setattr(tidemill.monitoring.monitor, "report_window", lambda *_: None)
        again = run(project, state)
    assert (again.verdict, again.rows, again.labelled) == (found.verdict, found.rows, found.labelled)
    sides = [json.loads(json.dumps(each.results)) for each in (found, again)]
    for side in sides:
        for column in (*side["data_drift"]["columns"], side["prediction_drift"]):
            if not column["drifted"]:  # blocks of numbers stand for the numbers
                column["value"] = pytest.approx(column["value"], abs=0.01)
                column["current_mean"] = pytest.approx(column["current_mean"])
    assert sides[1] == sides[0]


def test_a_feature_that_the_version_does_not_read_alarms_nobody(
    project: Project, state: State, no_report: None
):
    register(project, reads=("wind",))
    serve(project, draw(600, 1, 0.0).with_columns(rain=pl.when(pl.int_range(600) < 20).then("rain")))
    found = run(project, state)
    assert [column["name"] for column in found.results["data_drift"]["columns"]] == ["wind"]
    assert "feature_drift" not in {finding["kind"] for finding in found.results["findings"]}


def test_a_quiet_window(project: Project, state: State, monkeypatch: pytest.MonkeyPatch):
    register(project)
    serve(project, draw(1400, 1, 0.0))
    found = run(project, state)
    assert (found.verdict, found.version, found.rows) == ("ok", "1", 1400)
    assert found.labelled == 1201, "the labels of the last two days are not known yet"
    assert found.results["unjudged"] == {}
    assert found.results["data_drift"]["drifted"] == []
    assert found.results["quality"]["expected"] == 0.78
    assert list_alerts(state) == []
    assert found.report_path is None, "a report is made when something is alarming"
    assert_same_by_sketches(found, project, state, monkeypatch)
    (monitor,) = load_monitors(project)
    always = Monitor.model_validate({**monitor.model_dump(), "report": "always"})
    asked = evaluate(project, state, always, NOW, record_alerts)
    assert (project.root / asked.report_path).is_file()
    declared = {**monitor.model_dump(), "window": {"rows": 400}, "against": "previous"}
    latest = evaluate(project, state, Monitor.model_validate(declared), NOW, record_alerts)
    assert (latest.verdict, latest.rows, latest.window_start) == ("ok", 400, NOW - 4 * DAY)
    assert latest.results["against"]["window"][0] == (NOW - 8 * DAY).isoformat()
    assert latest.results["unjudged"] == {"quality": "201 labels, 300 are needed"}


def test_what_was_found_is_recorded_reported_and_alarming(
    project: Project, state: State, monkeypatch: pytest.MonkeyPatch
):
    register(project, holdout_roc_auc=0.95)
    serve(project, draw(1400, 1, 2.0).with_columns(score=pl.col("score") / 2))
    found = run(project, state)
    assert found.verdict == "alert"
    assert sorted(found.results["data_drift"]["drifted"]) == ["rain", "wind"]
    alerts = {alert.kind: alert for alert in list_alerts(state, "delay")}
    assert set(alerts) == {"data_drift", "feature_drift", "prediction_drift", "quality"}
    assert {alert.monitor_run_id for alert in alerts.values()} == {found.id}
    assert "2 of 2 features have drifted" in alerts["data_drift"].message
    examples = found.results["examples"]
    assert set(examples) == set(alerts)
    far = read_predictions(project.predictions, project.model, NOW - 14 * DAY, NOW)
    worst = found.results["data_drift"]["columns"][0]
    distance = (pl.col(f"feature.{worst['name']}") - worst["reference_mean"]).abs()
    assert examples["data_drift"] == far.sort(distance, descending=True)["prediction_id"].head(5).to_list()
    with state.transaction() as session:
        recorded = session.scalars(select(MonitorRun)).one()
        assert recorded.results == found.results
    report = project.root / recorded.report_path
    assert report.is_relative_to(project.reports)
    assert "delay version 1" in report.read_text(encoding="utf-8")
    facts = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    assert facts["verdict"] == "alert"
    assert facts["data_drift"] == found.results["data_drift"]
    assert_same_by_sketches(found, project, state, monkeypatch)


OTHER_KINDS = """
monitors:
  - name: weekly
    window: 14d
    every: 7d
    min_rows: 300
    min_labelled: 300
    concept_drift: {}
    calibration: {}
    fairness: {by: [rain], max_rate_gap: 0.2}
    data_quality: {}
    staleness: {}
    kpi: {function: "own_figures:hits", ceiling: 0.5, max_drop: 0.1}
    health: {}
"""


@pytest.mark.usefixtures("no_report")
def test_every_other_kind_judges_the_log_says_its_figure_and_what_it_found(project: Project, state: State):
    (project.root / "monitoring" / "monitors.yaml").write_text(OTHER_KINDS)
    (project.root / "own_figures.py").write_text(
        "def hits(decisions, labels, features):\n    return [float(label) for label in labels]\n"
    )
    (project.root / "expectations.yaml").write_text(
        "datasets: {weather: {source: data/w.parquet, columns: {wind: {type: float64, min: -20, max: 40}}}}"
    )
    register(project)
    serve(project, draw(1400, 1, 0.0), end=NOW - 14 * DAY)
    serve(project, draw(1400, 5, 0.0))
    found = run(project, state)
    assert (found.results["findings"], found.results["unjudged"]) == ([], {})
    storm = pl.when(pl.int_range(pl.len()) % 20 == 0).then(pl.lit(50.0)).otherwise("wind")
    turned = draw(1400, 3, 0.0).with_columns(late=1 - pl.col("late"), wind=storm)
    serve(project, turned, end=NOW + 14 * DAY)
    later = run(project, state, NOW + 14 * DAY)
    assert {each.kind for each in list_alerts(state)} == {
        *("concept_drift", "calibration", "data_quality", "kpi"),
    }
    assert all(
        figure_of(kind, later.results) for kind in TABLE if later.results.get(kind) and kind != "staleness"
    )
    assert later.results["concept_drift"]["since"] < (NOW + DAY).isoformat()
    shown = CliRunner().invoke(
        app, ["monitor", "explain", "--project", str(project.root)], env={"COLUMNS": "200"}
    )
    for said in (
        "concept drift: alert: errors are",
        "data quality: alert: 1 of 2 rules is broken by requests",
        "fairness: largest gap",
        "health: p99 0 ms of 250; fallbacks 0.0% of 1.0%",
        "kpi: alert: hits is 0.6",
        "staleness: no row had expired values, alert at 5.0%",
    ):
        assert said in shown.stdout, shown.stdout


@pytest.mark.usefixtures("no_report")
def test_too_few_rows_judge_nothing_and_resolve_nothing(project: Project, state: State):
    register(project, holdout_roc_auc=0.95)
    serve(project, draw(1400, 1, 0.0))
    assert run(project, state).verdict == "alert"
    later = run(project, state, NOW + 13 * DAY)
    assert (later.verdict, later.report_path) == ("too_few", None)
    assert [alert.kind for alert in list_alerts(state)] == ["quality"]


@pytest.mark.usefixtures("no_report")
def test_requests_that_replicas_refused_are_counted_since_the_last_run(
    project: Project, state: State, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(request_counts, "SILENCE", math.inf)  # however slow the machine is
    register(project)
    serve(project, draw(1400, 1, 0.0))
    metrics = Metrics(list, "r1", SharedMetrics(project.home, "r1"))

    def requests(answered: int, refused: int) -> None:
        for _ in range(answered):
            metrics.answered("http", "champion", "1", 1, 0.001)
        for _ in range(refused):
            metrics.failed("http", "malformed")
        metrics.stop()
        metrics.start()

    try:
        requests(1000, 10)
        assert run(project, state).verdict == "ok"
        requests(500, 120)
        found = run(project, state, NOW + DAY)
        assert found.results["health"]["requests"] == {"requests": 620, "refused": {"malformed": 120}}
        (alert,) = list_alerts(state)
        said = "19.4% of 620 requests got no predictions (alert at 5.0%): malformed 120"
        assert (alert.kind, alert.message) == ("health", said)
        requests(400, 0)
        assert run(project, state, NOW + 2 * DAY).verdict == "ok"
        assert list_alerts(state) == []
        requests(0, 300)
        refused = run(project, state, NOW + 30 * DAY)
        assert (refused.rows, refused.verdict) == (0, "alert"), "none is in the log where all are refused"
        (again,) = list_alerts(state)
        said = "100.0% of 300 requests got no predictions (alert at 5.0%): malformed 300"
        assert again.message == said
        told = explain_run(refused.verdict, refused.rows, refused.results)
        assert told == {"health": f"alert: {said}"}
    finally:
        metrics.stop()
    assert run(project, state, NOW + 31 * DAY).verdict == "too_few"
    ended = Metrics(list, "r2", SharedMetrics(project.home, "r2"))
    ended.start()
    for _ in range(300):
        ended.failed("http", "malformed")
    ended.stop()
    assert run(project, state, NOW + 32 * DAY).verdict == "alert", "what it counted stays"
    assert run(project, state, NOW + 33 * DAY).verdict == "too_few"


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


@pytest.mark.usefixtures("no_report")
def test_quality_is_estimated_before_labels_are_known_and_checked_by_them_later(
    project: Project, state: State
):
    monitors = project.root / "monitoring" / "monitors.yaml"
    monitors.write_text(MONITORS.replace("quality:", "estimated_quality:"))
    register(project)
    rows = draw(9000, 1, 0.0).filter(pl.col("score").is_between(0.2, 0.35))
    serve(project, rows, labels_after=20 * DAY)
    found = run(project, state)
    estimated = found.results["estimated_quality"]
    assert estimated["check"] is None, "no label is known"
    assert estimated["low"] < estimated["value"] < estimated["high"] < 0.7
    (alert,) = (alert for alert in list_alerts(state) if alert.kind == "estimated_quality")
    assert "roc_auc will be about 0.5" in alert.message
    assert "on the hold-out it was 0.7800" in alert.message
    serve(project, draw(1400, 2, 0.0).with_columns(late=pl.lit(1) - pl.col("late")), end=NOW + 14 * DAY)
    later = run(project, state, NOW + 14 * DAY)
    assert "labels depend on the rows in another way" in later.results["unjudged"]["estimated_quality"]
    assert not later.results["estimated_quality"]["check"]["holds"]
    assert "estimated_quality" in {alert.kind for alert in list_alerts(state)}, (
        "an alert stays while nothing is judged"
    )


@pytest.mark.usefixtures("no_report")
def test_another_versions_scores_say_nothing_about_this_one(project: Project, state: State):
    register(project)
    serve(project, draw(1400, 1, 2.0).with_columns(score=pl.lit(0.99)), version="1")
    register(project)
    serve(project, draw(100, 2, 2.0), version="2")
    found = run(project, state)
    assert found.version == "2"
    assert found.results["rows_by_version"] == {"1": 1400, "2": 100}
    assert set(found.results["unjudged"]) == {"prediction_drift", "quality"}
    assert found.results["warnings"] == [
        "1,400 of 1,500 predictions are by other versions; answers and labels are judged by those of 2 alone"
    ]
    assert {alert.kind for alert in list_alerts(state)} == {"data_drift", "feature_drift"}, (
        "what is asked is looked at in all rows"
    )
    serve(project, draw(400, 3, 2.0), version="2", end=NOW - DAY)
    again = run(project, state)
    assert (again.results["unjudged"], again.results.get("warnings")) == ({}, None)
    assert not again.results["prediction_drift"]["drifted"]


def test_what_is_not_there_is_named_and_stops_nothing(project: Project, state: State):
    monitors = project.root / "monitoring" / "monitors.yaml"
    monitors.write_text(
        MONITORS.replace("{share: 0.5}", "{share: 0.5, exclude: [gone], thresholds: {left: 1}}")
    )
    register(project)
    serve(project, draw(1400, 1, 0.0))
    log = PredictionLog(project.predictions, project.model)
    log.append_labels([LabelRecord("of-nobody", 1, NOW - DAY, NOW - DAY)])
    log.close()
    found = run(project, state)
    assert (found.verdict, found.labelled) == ("ok", 1201), "a label of no prediction counts nowhere"
    for named, feature in zip(found.results["warnings"], ("left", "gone"), strict=True):
        assert f"names '{feature}', not a feature of the version (it has: wind, rain)" in named.replace(
            "(it has: rain, wind)", "(it has: wind, rain)"
        )
    empty = run(project, state, NOW + 40 * DAY)
    assert (empty.verdict, empty.rows) == ("too_few", 0)
    said = explain_run(empty.verdict, empty.rows, empty.results)
    assert said == {"run": "nothing was judged: 0 predictions in the window, 300 are needed"}


def test_without_a_champion_there_is_nothing_to_watch(project: Project, state: State):
    with pytest.raises(MonitoringError, match="delay has no champion") as caught:
        run(project, state)
    assert "tidemill run --promote" in caught.value.hint
    assert run_due(project, state, NOW, record_alerts) == []


def test_monitors_run_when_they_are_due_for_the_moment_they_were_due(project: Project, state: State):
    register(project)
    serve(project, draw(1400, 1, 0.0))
    assert run_due(project, state, NOW + timedelta(hours=9), record_alerts)[0].window_end == NOW
    assert run_due(project, state, NOW + 6 * DAY, record_alerts) == []
    (late,) = run_due(project, state, NOW + 16 * DAY, record_alerts)
    assert late.at == NOW + 14 * DAY
    assert run_due(project, state, NOW + 16 * DAY, record_alerts) == []


def test_a_job_of_a_cluster_runs_those_that_are_due_once(project: Project, state: State):
    register(project)
    for _ in range(2):
        assert monitors_job.main(["--project", str(project.root)]) == 0
    with state.transaction() as session:
        [run] = session.scalars(select(MonitorRun)).all()
    assert (run.monitor, run.verdict) == ("weekly", "too_few")
    (project.root / "monitoring" / "monitors.yaml").write_text("monitors: 3")
    assert monitors_job.main(["--project", str(project.root)]) == 1


def test_what_another_process_evaluates_is_left_to_it(
    project: Project, state: State, monkeypatch: pytest.MonkeyPatch
):
    register(project)
    serve(project, draw(1400, 1, 0.0))
    with locked(project.home / "monitors.lock"):
        assert run_due(project, state, NOW, record_alerts) == []
    elsewhere = project.home / "elsewhere.lock"
    with claimed(state, elsewhere, project.model, "monitors", MonitoringError):  # on another machine
        assert run_due(project, state, NOW, record_alerts) == []

    def taken_over(*given, **named):  # while this one reads
        with state.transaction() as session:
            session.get_one(Claim, (project.model, "monitors")).id = "claim_of_another"
        return read_labelled(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(tidemill.monitoring.monitor, "read_labelled", taken_over)
        assert run_due(project, state, NOW, record_alerts) == []
    with state.transaction() as session:
        assert session.scalars(select(MonitorRun)).all() == []
        session.delete(session.get_one(Claim, (project.model, "monitors")))
    assert len(run_due(project, state, NOW, record_alerts)) == 1


def test_a_monitor_that_fails_is_on_record_stays_due_and_does_not_stop_the_others(
    project: Project, state: State
):
    weekly = MONITORS.partition("- ")[2]
    (project.root / "monitoring" / "monitors.yaml").write_text(
        "monitors:\n  - " + weekly.replace("weekly", "long").replace("14d", "100d") + "  - " + weekly
    )
    register(project)
    serve(project, draw(1400, 1, 0.0))
    broken = project.predictions / project.model / "predictions" / "date=2013-02-01" / "manifest-x.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("no manifest")
    for _attempt in range(2):
        failed = run_due(project, state, NOW, record_alerts)[0]
        assert (failed.monitor, failed.verdict) == ("long", "failed")
        assert "is not a manifest of the prediction log" in failed.results["error"]
        assert "backup" in failed.results["hint"]
    with state.transaction() as session:
        recorded = {each.monitor: each.verdict for each in session.scalars(select(MonitorRun))}
    assert recorded == {"long": "failed", "weekly": "ok"}, "one record a monitor and moment"
    broken.unlink()
    (mended,) = run_due(project, state, NOW, record_alerts)
    assert (mended.monitor, mended.verdict) == ("long", "ok")
    with state.transaction() as session:
        assert not session.scalars(select(MonitorRun).where(MonitorRun.verdict == "failed")).all()


def test_an_error_that_nobody_expected_is_on_record_too(
    project: Project, state: State, monkeypatch: pytest.MonkeyPatch
):
    register(project)
    serve(project, draw(1400, 1, 0.0))
    monkeypatch.setattr(tidemill.monitoring.monitor, "gather", lambda *_: 1 / 0)
    (failed,) = run_due(project, state, NOW, record_alerts)
    assert failed.results["error"] == "ZeroDivisionError: division by zero"


def test_an_alarm_does_not_wait_for_its_report_which_cannot_be_written(
    project: Project, state: State, monkeypatch: pytest.MonkeyPatch
):
    register(project, holdout_roc_auc=0.95)
    serve(project, draw(1400, 1, 0.0))
    project.reports.mkdir(parents=True)
    (project.reports / "weekly").write_text("a file where a folder belongs")
    before, report = [], tidemill.monitoring.monitor.report_window

    def watched(*given: Any) -> None:
        before.extend(alert.kind for alert in list_alerts(state))
        report(*given)

    monkeypatch.setattr(tidemill.monitoring.monitor, "report_window", watched)
    found = run(project, state)
    assert before == ["quality"]
    assert (found.verdict, found.report_path) == ("alert", None)
    assert "the report cannot be written" in found.results["report_error"]
    assert [alert.kind for alert in list_alerts(state)] == ["quality"]


RESERVED = (
    *PREDICTION_COLUMNS,
    *LABEL_COLUMNS,
    *("features", "feature", "date", "lane", "late", "label_at", "probability", "model_version"),
    *("target", "prediction", "index", "event_timestamp", "feature.score", "^score$", "_labelled_id", "wind"),
)

ROWS = 500


@pytest.mark.parametrize("store", ["lines", "parts"])
def test_a_feature_may_have_any_name_of_ours(
    project: Project, state: State, store: str, monkeypatch: pytest.MonkeyPatch
):
    if store == "lines":  # one report of so many columns is enough: it takes seconds
        monkeypatch.setattr(tidemill.monitoring.monitor, "report_window", lambda *_: None)
    version = register(project, holdout_roc_auc=0.95)
    names = list(dict.fromkeys(RESERVED))
    random = np.random.default_rng(3)
    before = pl.DataFrame({name: random.normal(10 * n, 4, ROWS) for n, name in enumerate(names)})
    rows = draw(ROWS, 0, 0.0)
    put_reference(project, ReferenceRows(before, rows["late"], rows["score"]))
    log = PredictionLog(project.predictions, project.model)
    now = before.with_columns((pl.col("wind") + 12.0), pl.Series("score", [0.5] * ROWS))
    predictions, labels = [], []
    for index, features in enumerate(now.iter_rows(named=True)):
        at, name = NOW - DAY - timedelta(minutes=index), f"p{index}"
        score, late = rows["score"][index], int(rows["late"][index])
        predictions.append(PredictionRecord(name, "delay", version, at, at, "r", {}, features, score, {}))
        labels.append(LabelRecord(name, late, at + timedelta(hours=1), at))
    log.append(predictions)
    log.append_labels(labels)
    log.close()
    if store == "parts":
        compact(project.predictions, "delay", Folder(project.predictions), Sizes(sketched=1).all_of_it())
    read = features_of(read_predictions(project.predictions, "delay", NOW - 2 * DAY, NOW))
    assert read[names].sort("wind").equals(now.sort("wind"))
    found = run(project, state)
    assert found.results["unjudged"] == {}
    assert (found.rows, found.labelled) == (ROWS, ROWS)
    columns = {column["name"]: column for column in found.results["data_drift"]["columns"]}
    assert columns.keys() == set(names)
    assert sorted(found.results["data_drift"]["broken"]) == ["score", "wind"]
    assert columns["score"]["broken"] == "constant: 0.5 in every row"
    assert found.results["prediction_drift"]["value"] == pytest.approx(0.0, abs=0.01)  # by blocks, of parts
    assert found.results["quality"]["value"] == pytest.approx(
        Binary("roc_auc").evaluate(rows["late"], rows["score"].to_numpy())["roc_auc"]
    )
    if store == "parts":
        report = (project.root / found.report_path).read_text(encoding="utf-8")
        assert "cannot be drawn" not in report


def test_a_reference_of_an_earlier_release_is_read(project: Project, state: State):
    register(project)
    put_table(project, draw(3000, 0, 0.0).select("wind", "rain", "late", "score"))
    serve(project, draw(1400, 1, 0.0))
    found = run(project, state)
    assert found.verdict == "ok"
    assert sorted(column["name"] for column in found.results["data_drift"]["columns"]) == ["rain", "wind"]


def test_a_wrong_declaration_is_an_error(project: Project, state: State):
    (project.root / "monitoring" / "monitors.yaml").write_text("monitors: 3")
    with pytest.raises(ConfigError, match="monitors"):
        run_due(project, state, NOW, record_alerts)


def test_the_command_runs_all_monitors_names_the_one_that_failed_and_exits_with_1(
    project: Project, state: State
):
    weekly = MONITORS.partition("- ")[2].replace("data_drift: {share: 0.5}", "data_drift: {exclude: [month]}")
    long = weekly.replace("weekly", "long").replace("14d", "100d")
    (project.root / "monitoring" / "monitors.yaml").write_text(f"monitors:\n  - {long}  - {weekly}")
    register(project)
    serve(project, draw(1400, 1, 0.0))
    broken = project.predictions / project.model / "predictions" / "date=2013-02-01" / "manifest-x.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("no manifest")
    command = ["monitor", "run", "--project", str(project.root), "--as-of", "2013-04-15", "--report"]
    ran = CliRunner().invoke(app, [*command, "--json"])
    failed, fine = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert (failed["monitor"], failed["verdict"]) == ("long", "failed")
    assert (fine["monitor"], fine["verdict"]) == ("weekly", "ok")
    assert (project.root / fine["report"]).is_file()
    assert "data_drift.exclude names 'month', not a feature" in fine["results"]["warnings"][0]
    shown = CliRunner().invoke(app, command[:-1], terminal_width=200)  # a report takes seconds
    assert "1 of 2 monitors failed: long: " in str(shown.exception) + shown.stderr
    listed = CliRunner().invoke(app, ["monitor", "list", "--project", str(project.root)])
    assert "is not a manifest" in listed.stdout.replace("\n", " ")


def test_a_window_that_is_empty_by_now_names_the_moment_that_has_rows(project: Project, state: State):
    register(project)
    command = ["monitor", "run", "weekly", "--project", str(project.root), "--report"]
    bare = CliRunner().invoke(app, command)
    assert "weekly: no prediction in the window that ends now" in bare.stderr
    assert "the log has none at all" in " ".join(bare.stderr.split())
    serve(project, draw(400, 1, 0.0))
    told = " ".join(CliRunner().invoke(app, command).stderr.split())
    assert "the last one is of 2013-04-14 23:09" in told
    as_of = told.partition("--as-of ")[2].split()[0].rstrip(";")
    ran = CliRunner().invoke(app, [*command[:-1], "--as-of", as_of, "--json"])  # a report takes seconds
    (looked,) = json.loads(ran.stdout)
    assert (looked["rows"], looked["verdict"]) == (400, "ok")
    assert "no prediction" not in ran.stderr


@pytest.mark.usefixtures("no_report")
def test_thresholds_are_measured_on_the_logs_own_past(project: Project, state: State):
    """Weeks that are each a little apart alarm by the defaults, not by the thresholds they ask for."""
    register(project)
    for place, shift in enumerate((0.6, -0.6, 0.6, -0.6)):
        serve(project, draw(700, place, shift), end=NOW - 14 * DAY * place)
    (project.root / "monitoring" / "monitors.yaml").write_text(MONITORS.replace("share: 0.5", "share: 0.4"))
    assert run(project, state).verdict == "alert"
    asked = ["monitor", "calibrate", "weekly", "--project", str(project.root), "--as-of", NOW.isoformat()]
    shown = CliRunner().invoke(app, [*asked, "--with-alerts", "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert (found["windows"], found["draws"], found["left_out"]) == (7, 60, 0)
    thresholds = found["thresholds"]["data_drift"]["thresholds"]
    assert set(thresholds) == {"wind", "rain"}
    assert 0.15 < thresholds["wind"] < 0.4
    (monitor,) = load_monitors(project)
    drift = {**monitor.data_drift.model_dump(), "thresholds": thresholds}
    raised = Monitor.model_validate({**monitor.model_dump(), "data_drift": drift})
    again = evaluate(project, state, raised, NOW, record_alerts)
    assert again.results["data_drift"]["drifted"] == []
    (project.root / "monitoring" / "monitors.yaml").write_text(MONITORS.replace("share: 0.5", "share: 0.4"))
    without = CliRunner().invoke(app, [*asked, "--json"])
    assert json.loads(without.stdout)["left_out"] == 700
