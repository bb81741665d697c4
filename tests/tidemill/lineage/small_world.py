"""A project to go round the loop for real: DVC, Feast, Ray Tune, MLflow, a promotion, predictions."""

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.tidemill.serving.small_project import APPLICATION, DEFINITIONS, PARAMS, STORE
from tidemill.clock import SystemClock
from tidemill.data.repository.dvc_command import ignore_line, run_dvc
from tidemill.data.repository.git import git
from tidemill.data.repository.repository_setup import init_workspace
from tidemill.features.feature_store import apply
from tidemill.ids import new_id
from tidemill.prediction_log.prediction_log import LabelRecord, PredictionLog
from tidemill.project import Project, load_project
from tidemill.retraining.turns.turn import make_turn
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.serving.inference.predictor import Predictor
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.serving.runtime.replica.version_loading import load_model
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.state.tables import Alert, MonitorRun, Turn

NOON = datetime(2013, 5, 1, 12, tzinfo=UTC)
"""The turn's moment."""

DVC = """\
stages:
  observe:
    desc: The weather at the depots
    cmd: python -m pipelines.observe
    deps: [pipelines/observe.py]
    params: [data]
    outs: [data/weather.parquet]
  training_set:
    cmd: python -m pipelines.training_set
    deps: [pipelines/training_set.py, feature_repo/parcel_views.py, data/weather.parquet]
    outs: [data/training_set.parquet]
"""

OBSERVE = """
from datetime import UTC, datetime, timedelta
import polars as pl
hours = [datetime(2013, 3, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(24 * 65)]
frames = [
    pl.DataFrame({"depot": depot, "event_timestamp": hours, "wind": wind, "rain": 0.5})
    for depot, wind in (("north", 1.0), ("south", 9.0))
]
pl.concat(frames).write_parquet("data/weather.parquet")
"""

TRAINING_SET = """
from datetime import timedelta
import polars as pl
rows = pl.read_parquet("data/weather.parquet").gather_every(7).with_row_index("n")
rows.select(
    "depot", "event_timestamp", "wind", "rain",
    ((pl.col("wind") > 5) ^ (pl.col("n") % 5 == 0)).cast(pl.Int64).alias("late"),
    (pl.col("event_timestamp") + timedelta(days=1)).alias("label_known_at"),
).write_parquet("data/training_set.parquet")
"""

MODEL = """
from sklearn.ensemble import HistGradientBoostingClassifier
from tidemill.training.model_spec import Family, TrainingSpec


def fit(params, features, labels):
    yield HistGradientBoostingClassifier(max_iter=5).fit(features, labels)


spec = TrainingSpec((Family("trees", {}, fit, rounds=1),))
"""


def write_project(root: Path, settings: Settings | None = None) -> Project:
    """Write a project with two stages and one `dvc add`ed file, in a workspace, its features applied."""
    params = {
        **PARAMS,
        "project": {**PARAMS["project"], "training": "parcels_model:spec"},
        "data": {"last_month": "2013-04", "as_of": None},
        "split": {"validation_days": 7, "holdout_days": 7},
        "train": {"trials": 1},
        "gate": {"min_rows": 20},
    }
    files = {
        "params.yaml": yaml.safe_dump(params),
        "dvc.yaml": DVC,
        ".gitignore": ".tidemill/\n__pycache__/\n",
        "parcels_app.py": APPLICATION,
        "parcels_model.py": MODEL,
        "pipelines/__init__.py": "",
        "pipelines/observe.py": OBSERVE,
        "pipelines/training_set.py": TRAINING_SET,
        "feature_repo/feature_store.yaml": STORE,
        "feature_repo/parcel_views.py": DEFINITIONS,
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(content))
    init_workspace(root, root.parent / "remote")
    (root / "data").mkdir(exist_ok=True)
    (root / "data" / "depots.csv").write_text("depot,city\nnorth,Oslo\nsouth,Bari\n")
    assert run_dvc(root, "add", "data/depots.csv", on_line=ignore_line, patience=60).code == 0
    git(root, "add", "--", "data/depots.csv.dvc", "data/.gitignore")
    git(root, "commit", "--quiet", "--message", "Add the depots")
    project = load_project(root, settings)
    apply(project)
    return project


def turn_once(project: Project, as_of: datetime = NOON) -> Turn:
    """Make a turn of the loop, promotion included."""
    state = open_state(project.state_url)
    try:
        return make_turn(project, state, TurnRequest(as_of, reason="the first model", actor="ada"))
    finally:
        state.close()


def predict(project: Project, version: str, depot: str, hours: int = 1, test: bool = False) -> str:
    """Let a replica answer one request, ``hours`` after the turn's moment; return the prediction's id."""
    application = project.load(project.config.project.application)
    log = PredictionLog(project.predictions, project.model)
    loaded = load_model(project, application, version, datetime.now(UTC))
    predictor = Predictor(
        application, project.model, lambda: ServingVersions(loaded), log, "replica-1", SystemClock()
    )
    parcel = application.request(depot=depot, weight=2.5)
    answer = predictor.predict([parcel], NOON + timedelta(hours=hours), test)
    log.close()
    return answer.predictions[0].prediction_id


def label(project: Project, prediction: str, value: int, days: int) -> None:
    """Say what came true of a prediction, as known ``days`` after the turn's moment."""
    log = PredictionLog(project.predictions, project.model)
    log.append_labels([LabelRecord(prediction, value, NOON + timedelta(days=days), datetime.now(UTC))])
    log.close()


def watch(project: Project, version: str) -> str:
    """Put a monitor's run and its alert on record; return the alert's id."""
    state, day = open_state(project.state_url), NOON + timedelta(days=7)
    of = {"monitor": "weekly", "model": project.model, "version": version}
    run = MonitorRun(
        id=new_id("run"), **of, window_start=NOON, window_end=day, rows=3, labelled=1, verdict="alert",
        results={}, report_path="reports/weekly.html", at=day,
    )  # fmt: skip
    alert = Alert(
        id=new_id("alert"), **of, kind="quality", severity="warning", message="AUC fell", details={},
        monitor_run_id=run.id, status="firing", raised_at=day, last_seen_at=day,
    )  # fmt: skip
    with state.transaction() as session:
        session.add(run)
        session.flush()
        session.add(alert)
    state.close()
    return alert.id
