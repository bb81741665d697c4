"""A small project with personal data wherever a project can have it: riders, who are late or not."""

import subprocess
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import polars as pl
import yaml

from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.versioning.add import add
from tidemill.data.versioning.data_versions import init_workspace, reproduce
from tidemill.features.feature_store import apply, materialise
from tidemill.prediction_log.prediction_log import LabelRecord, PredictionLog, PredictionRecord
from tidemill.prediction_log.writing.redaction import Redaction
from tidemill.project import load_project
from tidemill.serving.jobs import job_records
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.state.tables import Job
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_lineage, log_summary
from tidemill.training.tracking.training_result import HOLDOUT, TrainedModel

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
RIDERS = ("ada-lovelace", "grace-hopper", "alan-turing")
SUBJECT = "ada-lovelace"

PARAMS = {
    "project": {"name": "rides", "model": "rides", "training": "none:none", "application": "none:none"},
    "dataset": {"path": "data/training_set.parquet", "label": "late"},
    "features": {"service": "rides"},
}

PREPARE = """
    import sys
    from pathlib import Path

    import polars as pl

    from tidemill.data.personal.tombstones import without_erased
    from tidemill.project import load_project

    project = load_project(Path.cwd(), None)
    Path("data").mkdir(exist_ok=True)
    upstream = pl.read_csv(Path("..", "upstream.csv"), try_parse_dates=True)
    own = pl.read_csv("raw/rides.csv", try_parse_dates=True)
    rides = without_erased(pl.concat([upstream, own]), project)
    rides.write_parquet("data/rider_stats.parquet")
    labelled = rides.with_columns(late=pl.lit(1), label_known_at="event_timestamp")
    labelled.write_parquet("data/training_set.parquet")
"""

DVC = """
    stages:
      prepare:
        cmd: python prepare.py
        deps: [prepare.py, ../upstream.csv, raw/rides.csv, tombstones.yaml]
        outs: [data/rider_stats.parquet, data/training_set.parquet]
"""

STORE = """
    project: rides
    provider: local
    registry: ../.tidemill/registry.db
    online_store:
        type: {online}
        path: ../.tidemill/online.db
    offline_store:
        type: tidemill.features.offline.PolarsOfflineStore
    entity_key_serialization_version: 3
"""

DEFINITIONS = """
    from datetime import timedelta
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    rider = Entity(name="rider", join_keys=["rider"], value_type=ValueType.STRING, tags={"personal": "true"})
    city = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING)
    stats = FeatureView(
        name="stats",
        entities=[rider],
        ttl=timedelta(days=1),
        schema=[Field(name="rides", dtype=Float64)],
        source=FileSource(path="../data/rider_stats.parquet", timestamp_field="event_timestamp"),
    )
    habits = FeatureView(
        name="habits",
        entities=[rider, city],
        ttl=timedelta(days=1),
        schema=[
            Field(name="tips", dtype=Float64),
            Field(name="age", dtype=Float64, tags={"personal": "yes"}),
        ],
        source=FileSource(
            path="../data/habits.parquet", timestamp_field="event_timestamp", field_mapping={"who": "rider"}
        ),
    )
    rides = FeatureService(name="rides", features=[stats, habits])
"""


def make_project(root: Path, online: str = "tidemill.features.online.SqliteOnlineStore"):
    """Write, version, materialise and serve; every rider is everywhere."""
    (root / "raw").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "feature_repo").mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "tombstones.yaml").write_text("key: null\nerased: []\n")
    (root / "prepare.py").write_text(textwrap.dedent(PREPARE))
    (root / "feature_repo" / "feature_store.yaml").write_text(textwrap.dedent(STORE.format(online=online)))
    (root / "feature_repo" / "ride_views.py").write_text(textwrap.dedent(DEFINITIONS))
    (root / ".gitignore").write_text("/.tidemill/\n/data/\n__pycache__/\n")
    rows = pl.DataFrame(
        {"rider": RIDERS, "event_timestamp": [NOON] * 3, "rides": [1.0, 2.0, 3.0]},
        schema_overrides={"event_timestamp": pl.Datetime("us", "UTC")},
    )
    rows.write_csv(root.parent / "upstream.csv")
    rows.select(
        who="rider", city=pl.lit("york"), tips="rides", age=pl.lit(36.0), event_timestamp="event_timestamp"
    ).write_parquet(root / "data" / "habits.parquet")
    init_workspace(root, root / ".tidemill" / "remote")
    project = load_project(root, Settings(privacy_key=None))
    rows.write_csv(root / "raw" / "rides.csv")
    add(project, "raw/rides.csv")
    (root / "dvc.yaml").write_text(textwrap.dedent(DVC))
    reproduce(project, {}, "First data")
    apply(project)
    materialise(project, NOON + timedelta(hours=1))
    return project


def serve_and_train(project) -> None:
    """Fill the prediction log (once with names in the clear, as an old log has them), logs, MLflow."""
    redaction = Redaction(frozenset({"rider"}), Pseudonymiser(load_key(project)))
    for clear in (True, False):
        log = PredictionLog(project.predictions, project.model)
        for number, rider in enumerate(RIDERS):
            log.append([prediction(f"pred_{clear}_{number}", rider, None if clear else redaction)])
            log.append_labels([LabelRecord(f"pred_{clear}_{number}", 1, NOON, NOON)])
        log.close()
    submit_jobs(project)
    project.logs.mkdir(parents=True)
    (project.logs / "serve.log").write_text(f"ERROR no features of {SUBJECT}: expired\n")
    client = connect(project)
    run = client.create_run(experiment_id(client, project)).info.run_id
    held = {"event_timestamp": [NOON, NOON], "rides": [1.0, 2.0], "late": [1, 1]}
    log_table(client, run, pl.DataFrame(held), HOLDOUT)
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]["prepare"]["outs"]
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project.root, capture_output=True, text=True, check=True
    ).stdout.strip()
    days = [NOON - timedelta(days=number) for number in range(4, 0, -1)]
    split = Split(Period(days[0], days[1]), Period(days[1], days[2]), Period(days[2], days[3]))
    lineage = Lineage(head, {out["path"]: out["md5"] for out in lock}, "rides", "0", split, NOON)
    trained = TrainedModel(run, "models:/m", {}, 1, 0, "trees", {}, features=("rides",))
    tags = log_lineage(client, run, lineage) | log_summary(client, run, trained)
    client.create_registered_model(project.model)
    client.create_model_version(project.model, source=f"runs:/{run}/m", run_id=run, tags=tags)


def submit_jobs(project) -> None:
    """Submit slow predictions: some name the subject by what is asked or answered, others do not."""
    state = open_state(project.state_url)
    for name, status, instances, answers in (
        ("job_1", "done", None, [answer("pred_9", SUBJECT)]),
        (
            "job_2",
            "done",
            None,
            [answer("pred_8", None), answer("pred_False_0", None)],
        ),  # the log knows whose
        ("job_3", "queued", [{"rider": SUBJECT, "city": "york"}], ()),
        ("job_4", "running", [{"rider": "alan-turing"}, {"note": f"as for {SUBJECT}"}], [answer("p", None)]),
        ("job_5", "done", None, [answer("pred_7", "grace-hopper")]),
        ("job_6", "queued", [{"rider": "grace-hopper"}], ()),
    ):
        files = JobFiles(jobs_folder(project) / name)
        files.create(map(orjson.dumps, instances or ({},)))
        if answers:
            files.write_chunk(0, answers)
        if status == "done":
            files.drop_input()
        job_records.submit(state, job(name, status))
    state.close()


def job(name: str, status: str) -> Job:
    return Job(
        id=name, model="rides", caller="", key=f"for {SUBJECT}" if name == "job_3" else None, digest=name,
        status=status, version=None, at=NOON, test=False, rows=2, rows_done=0, attempts=0, worker=None,
        error=None, cancel_requested=False, requested_at=NOON, due_at=NOON, published_at=None,
        started_at=None, finished_at=None, erased_at=None,
    )  # fmt: skip


def answer(name: str, rider: str | None) -> dict[str, object]:
    return {"prediction_id": name, "probability": 0.5, "decision": {"tell": rider}, "flags": []}


def prediction(name: str, rider: str, redaction: Redaction | None) -> PredictionRecord:
    values = {"rider": rider, "city": "york"}
    hidden = redaction.values(values) if redaction else values
    return PredictionRecord(
        name, "rides", "1", NOON, NOON, "r1", hidden, {"rides": 1.0}, 0.5, {}, keys=hidden
    )
