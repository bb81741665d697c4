"""Training with the real engines: Ray Tune and MLflow."""

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import timedelta

import mlflow
import numpy as np
import polars as pl
import pytest

from tests.tidemill.training.small_project import FEATURES, Data, day
from tidemill.errors import ConfigError, TrainingError
from tidemill.training import tracking
from tidemill.training.lineage import Lineage
from tidemill.training.train import train
from tidemill.training.trained import HOLDOUT, REFERENCE

pytestmark = pytest.mark.engine


def run(project, as_of=None, turn="turn_1", data=None, **others):
    return train(
        project,
        data or Data(),
        as_of or day(100),
        turn,
        features=FEATURES,
        service="small_service",
        definition="77c2",
        **others,
    )


def runs_of(project, **tags):
    client = tracking.connect(project)
    experiment = tracking.experiment_id(client, project)
    return tracking.find_runs(client, experiment, {f"tidemill.{key}": value for key, value in tags.items()})


def test_a_training_leaves_a_whole_record(new_project, ray_of_the_session, capfd):
    project, told = new_project(spec="rough", trials=5), []

    trained = run(project, on_progress=lambda *seen: told.append(seen))

    assert trained.family in ("line", "trees")
    assert trained.metrics["holdout_roc_auc"] > 0.75
    assert (trained.trials, trained.failed_trials) == (5, 2)
    assert [seen[:2] for seen in told] == [(n, 5) for n in range(1, 6)]
    assert told[-1][2] == pytest.approx(trained.metrics["validation_roc_auc"])

    parent = tracking.connect(project).get_run(trained.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["family"] == trained.family
    assert {"roc_auc_2013-03", "roc_auc_2013-04"} <= parent.data.metrics.keys()
    lineage = Lineage.from_tags(parent.data.tags)
    assert (lineage.git_commit, lineage.data) == (Data().revision, Data().outputs)
    assert lineage.packages["scikit-learn"]
    assert lineage.split.holdout.end <= day(98) + timedelta(seconds=1)

    children = runs_of(project, role="trial")
    assert len(children) == 5
    ended = {child.info.run_name: child for child in children}
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {trained.run_id}
    for name, child in ended.items():
        family = name.partition("-")[0]
        assert child.data.params["family"] == family
        if family == "broken":
            assert child.info.status == "FAILED"
            assert "the moon is in the wrong house" in child.data.tags["tidemill.end"]
        elif family == "dying":
            assert child.info.status == "FAILED"
            assert child.data.tags["tidemill.end"]
        else:
            assert child.info.status in ("FINISHED", "KILLED")
            assert child.data.metrics["validation_roc_auc"] > 0.5

    assert "rial" not in capfd.readouterr().out  # Ray Tune's tables
    assert not list((project.home / "ray_results").iterdir())


def test_the_model_is_an_ordinary_mlflow_model(new_project, ray_of_the_session):
    project = new_project(trials=3)
    trained = run(project)
    client = tracking.connect(project)
    before = mlflow.get_tracking_uri()

    mlflow.set_tracking_uri(project.tracking_uri)
    try:
        model = mlflow.pyfunc.load_model(trained.model_uri)
        held = pl.read_parquet(client.download_artifacts(trained.run_id, HOLDOUT)).to_pandas()
        proba = model.predict(held[list(FEATURES)].astype(float))
        info = model.metadata.get_model_info()
        assert mlflow.search_runs(experiment_names=["small"]).shape[0] == 4
    finally:
        mlflow.set_tracking_uri(before)

    assert proba.shape == (len(held), 2)
    assert info.signature.inputs.input_names() == list(FEATURES)
    assert info.flavors["sklearn"]["serialization_format"] == "skops"
    assert info.saved_input_example_info
    reference = pl.read_parquet(client.download_artifacts(trained.run_id, REFERENCE))
    assert reference.columns == [*FEATURES, "late", "score"]
    assert reference["score"].is_between(0, 1).all()


def test_nothing_later_than_the_moment_of_training_matters(new_project, ray_of_the_session):
    project, as_of = new_project(trials=3), day(80)
    first = run(project, as_of)

    rows = pl.read_parquet(project.dataset_path)
    later = pl.col("label_known_at") > as_of
    rows.with_columns(
        pl.when(later).then(1 - pl.col("late")).otherwise(pl.col("late")).alias("late"),
        pl.when(later).then(1e6).otherwise(pl.col("wind")).alias("wind"),
    ).write_parquet(project.dataset_path)
    second = run(project, as_of, turn="turn_2")

    assert second.run_id != first.run_id
    assert second.metrics == pytest.approx(first.metrics)
    assert second.params == first.params


def test_a_finished_training_of_the_turn_is_not_made_again(new_project, ray_of_the_session):
    project = new_project(trials=3)
    first = run(project)
    assert run(project) == first
    assert run(project, data=replace(Data(), revision="other")).run_id != first.run_id


def test_when_all_trials_fail_the_first_error_is_told(new_project, ray_of_the_session):
    project = new_project(spec="hopeless", trials=2)
    with pytest.raises(TrainingError, match=r"all 2 trials failed.*the moon is in the wrong house"):
        run(project)
    parent, *others = runs_of(project, role="search")
    assert (parent.info.status, others) == ("FAILED", [])
    assert "the moon" in parent.data.tags["tidemill.end"]


def test_an_interrupted_training_is_marked_killed(new_project, ray_of_the_session):
    project = new_project(trials=6)

    def interrupt(done, total, best):
        signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(project, on_progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    found = runs_of(project, turn="turn_1")
    assert len(found) >= 2
    assert "RUNNING" not in {one.info.status for one in found}
    assert runs_of(project, role="search")[0].info.status == "KILLED"
    assert run(project).trials == 6


def test_runs_of_a_killed_training_are_marked_by_the_next(new_project, ray_of_the_session):
    project = new_project(trials=3)
    script = textwrap.dedent(
        """
        import os, signal, sys
        from tidemill.project import load_project
        from tidemill.training import tracking
        from tidemill.training.tracking import connect, experiment_id, parent_run
        project = load_project()
        client = connect(project)
        experiment = experiment_id(client, project)
        with parent_run(client, experiment, "half", {tracking.TURN: "turn_1"}) as run_id:
            client.create_run(experiment, tags={tracking.TURN: "turn_1", tracking.PARENT: run_id})
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project.root, check=False)
    assert done.returncode == -9
    assert [one.info.status for one in runs_of(project, turn="turn_1")] == ["RUNNING", "RUNNING"]

    trained = run(project)

    ended = {one.info.run_id: one for one in runs_of(project, turn="turn_1")}
    assert ended.pop(trained.run_id).info.status == "FINISHED"
    orphans = [one for one in ended.values() if "orphaned" in one.data.tags.get("tidemill.end", "")]
    assert [one.info.status for one in orphans] == ["KILLED", "KILLED"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop("wind"), "lacks the columns wind"),
        (lambda rows: rows.with_columns(pl.lit("strong").alias("wind")), "wind \\(String\\)"),
        (lambda rows: rows.filter(pl.col("event_timestamp") < day(20)), "too little labelled data"),
        (lambda rows: rows.with_columns(pl.lit(0).alias("late")), "not both labels"),
        (lambda rows: rows.clear(), "no row whose label is known"),
    ],
)
def test_bad_training_sets_are_named(new_project, change, message):
    project = new_project()
    change(pl.read_parquet(project.dataset_path)).write_parquet(project.dataset_path)
    with pytest.raises(TrainingError, match=message):
        run(project)
    assert runs_of(project, role="search") == []


def test_a_missing_or_broken_training_set_is_named(new_project):
    project = new_project()
    project.dataset_path.write_text("no parquet")
    with pytest.raises(TrainingError, match="cannot be read"):
        run(project)
    project.dataset_path.unlink()
    with pytest.raises(TrainingError, match="cannot be read") as caught:
        run(project)
    assert "dvc repro" in caught.value.hint


def test_a_spec_that_is_none_is_refused(new_project):
    with pytest.raises(ConfigError, match="is a int, not a TrainingSpec"):
        run(new_project(spec="not_a_spec"))


def test_tracking_costs_little(new_project, ray_of_the_session):
    project = new_project(trials=6)
    client = tracking.connect(project)
    experiment = tracking.experiment_id(client, project)
    start = time.perf_counter()
    for _ in range(5):
        run_id = client.create_run(experiment).info.run_id
        tracking.log_values(client, run_id, metrics={"a": 1.0, "b": float("nan")}, params={"c": 1})
        client.set_terminated(run_id)
    assert (time.perf_counter() - start) / 5 < 1.0
    assert np.isfinite(list(tracking.metrics_of(client.get_run(run_id)).values())).all()
