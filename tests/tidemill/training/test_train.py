"""Training with the real engines: Ray Tune and MLflow."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import mlflow
import polars as pl
import pytest
import ray
from polars.testing import assert_frame_equal

from tests.tidemill.training.small_project import FEATURES, Data, day
from tests.warm_commands import command
from tidemill.errors import ConfigError, TrainingError
from tidemill.training.candidate_windows import parse_window
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.search.resumed_search import begin_for, first_of
from tidemill.training.search.search_plan import Basis, SearchPlan
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.run_files import read_file
from tidemill.training.tracking.training_record import open_documents, read_lineage
from tidemill.training.tracking.training_result import HOLDOUT, REFERENCE
from tidemill.training.train import train
from tidemill.training.training_rows import read_labelled

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
    client = mlflow_tracking.connect(project)
    experiment = mlflow_tracking.experiment_id(client, project)
    return mlflow_tracking.find_runs(
        client, experiment, {f"tidemill.{key}": value for key, value in tags.items()}
    )


@pytest.fixture(scope="module")
def searched(module_project, ray_of_the_session):
    """One search for several tests: 5 trials, two of which fail, one of them by SIGKILL."""
    told = []
    report = module_project.root / "data" / "validation.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text('{"flights": {"rows": 200, "rejected": 5}}')
    trained = run(module_project, on_progress=told.append, personal={FEATURES[0]})
    return module_project, trained, told


def test_a_training_leaves_a_whole_record(searched):
    project, trained, told = searched

    assert trained.family in ("line", "trees")
    assert trained.metrics["holdout_roc_auc"] > 0.75
    assert (trained.trials, trained.failed_trials) == (5, 2)
    ended = dict.fromkeys((seen.done, seen.total) for seen in told if seen.done)  # others tell of rounds
    assert list(ended) == [(n, 5) for n in range(1, 6)]
    assert told[-2].seconds_left > 0
    assert told[-1].best == pytest.approx(trained.metrics["validation_roc_auc"])

    client = mlflow_tracking.connect(project)
    parent = client.get_run(trained.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["family"] == trained.family
    value, *ends = (parent.data.metrics[f"holdout_roc_auc{end}"] for end in ("", "_low", "_high"))
    assert value - 0.1 < ends[0] < value < ends[1] < value + 0.1
    assert {"roc_auc_2013-03", "roc_auc_2013-04"} <= parent.data.metrics.keys()
    assert parent.data.metrics["data.rejected_share.flights"] == 0.025
    lineage = read_lineage(parent.data.tags, open_documents(client, trained.run_id, parent.data.tags))
    assert (lineage.git_commit, lineage.data) == (Data().revision, Data().outputs)
    assert lineage.packages["scikit-learn"]
    assert lineage.split.holdout.end <= day(98) + timedelta(seconds=1)
    assert not list((project.home / "ray_results").iterdir())


def test_every_trial_is_on_record_however_it_ended(searched):
    project, trained, _ = searched
    children = {child.info.run_name: child for child in runs_of(project, role="trial")}

    assert len(children) == 5
    assert {child.data.tags["mlflow.parentRunId"] for child in children.values()} == {trained.run_id}
    for name, child in children.items():
        family, end = name.partition("-")[0], child.data.tags["tidemill.end"]
        assert child.data.params["family"] == family
        if family == "broken":
            assert (child.info.status, end) == ("FAILED", "ValueError: the moon is in the wrong house")
        elif family == "dying":
            assert child.info.status == "FAILED"
            assert "its process died" in end
        else:
            assert (child.info.status, end) in (("FINISHED", "all rounds"), ("KILLED", "stopped early"))
            assert child.data.metrics["validation_roc_auc"] > 0.5


def test_the_model_is_an_ordinary_mlflow_model(searched):
    project, trained, _ = searched
    client = mlflow_tracking.connect(project)
    before = mlflow.get_tracking_uri()

    mlflow.set_tracking_uri(project.tracking_uri)
    try:
        model = mlflow.pyfunc.load_model(trained.model_uri)
        held = pl.read_parquet(client.download_artifacts(trained.run_id, HOLDOUT)).to_pandas()
        proba = model.predict(held[list(FEATURES)].astype(float))
        info = model.metadata.get_model_info()
        folder = mlflow.artifacts.download_artifacts(trained.model_uri)
        assert mlflow.search_runs(experiment_names=["small"]).shape[0] == 6
    finally:
        mlflow.set_tracking_uri(before)

    assert proba.shape == (len(held), 2)
    assert info.signature.inputs.input_names() == list(FEATURES)
    assert info.flavors["sklearn"]["serialization_format"] == "skops"
    example = model.metadata.load_input_example(folder)
    assert example[FEATURES[0]].nunique() == 1  # a mean: it is personal
    rows = pl.read_parquet(project.dataset_path).select(FEATURES[1:]).rows()
    shared = {*example[list(FEATURES[1:])].itertuples(index=False, name=None)} & {*rows}
    assert len(shared) < 3  # of five: two rows may have the same hour
    reference = pl.read_parquet(client.download_artifacts(trained.run_id, REFERENCE))
    assert reference.columns == ["held_out", *(f"feature.{name}" for name in FEATURES), "label", "score"]
    assert reference["held_out"].to_list() == reference["score"].is_between(0, 1).fill_null(False).to_list()
    assert reference["held_out"].any()


def test_a_finished_training_of_the_turn_is_not_made_again(searched):
    project, trained, _ = searched
    assert run(project) == trained


def test_a_recipe_keeps_the_parameters_and_chooses_the_window(new_project):
    project = new_project(refit=True)
    basis = Basis("line", {"c": 0.5}, rounds=2)
    windows = tuple(map(parse_window, ("all", {"last": "30d"}, {"season": "365d"})))
    trained = run(project, plan=SearchPlan("same", windows, basis))
    assert (trained.family, trained.params, trained.rounds) == ("line", {"c": 0.5}, 2)
    assert (trained.trials, trained.window) == (0, "all")
    assert [each["left_out"] is None for each in trained.windows] == [True, True, False]
    assert trained.windows[1]["low"] <= trained.windows[1]["gain"] <= trained.windows[1]["high"]
    assert "validation_roc_auc" not in trained.metrics
    (found,) = runs_of(project, turn="turn_1")
    assert found.data.params["chosen_window"] == "all"
    rows = read_split(project, FEATURES, day(100))
    assert trained.refitted_on == rows.known.height > rows.fit.height + rows.holdout.height
    assert run(project, plan=SearchPlan("same", windows, basis)) == trained  # it was read back


def test_nothing_later_than_the_moment_of_training_is_read(new_project):
    project, as_of = new_project(), day(80)
    before = read_split(project, FEATURES, as_of)

    rows = pl.read_parquet(project.dataset_path)
    later = pl.col("label_known_at") > as_of
    rows.with_columns(
        pl.when(later).then(1 - pl.col("late")).otherwise(pl.col("late")).alias("late"),
        pl.when(later).then(1e6).otherwise(pl.col("wind")).alias("wind"),
    ).write_parquet(project.dataset_path)
    after = read_split(project, FEATURES, as_of)

    assert after.split == before.split
    for name in ("train", "validation", "fit", "holdout"):
        assert_frame_equal(getattr(after, name), getattr(before, name))
    assert before.fit["label_known_at"].max() <= before.split.holdout.start
    assert before.train["label_known_at"].max() <= before.split.validation.start
    assert before.holdout["label_known_at"].max() <= as_of


def test_only_the_latest_rows_are_trained_on_if_that_is_asked(new_project):
    project = new_project(max_rows=1000)
    rows = read_split(project, FEATURES, day(100))
    assert (rows.train.height, rows.fit.height) == (1000, 1000)
    assert rows.fit["event_timestamp"].max() > rows.train["event_timestamp"].max()


def test_when_all_trials_fail_the_first_error_is_told(new_project, ray_of_the_session):
    project = new_project(spec="hopeless", trials=2)
    said = (
        r"^all 2 trials failed; the first, family 'broken' with parameters {}: ValueError: the moon .* house$"
    )
    with pytest.raises(TrainingError, match=said) as caught:
        run(project)
    trial = re.search("MLflow run ([0-9a-f]{32})", caught.value.hint)[1]
    client = mlflow_tracking.connect(project)
    assert "in fit_broken" in read_file(client, trial, "error.txt").decode()
    parent, *others = runs_of(project, role="search")
    assert (parent.info.status, others) == ("FAILED", [])
    assert "the moon" in parent.data.tags["tidemill.end"]
    assert "all 2 trials failed" in read_file(client, parent.info.run_id, "error.txt").decode()


@pytest.fixture
def ctrl_c():
    """Let SIGINT be Ctrl-C, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_training_is_marked_killed(new_project, ray_of_the_session, ctrl_c, caplog):
    project = new_project(trials=3, resources={"gpus": 0.5, "accelerator": "A100"}, fit_resources={"gpus": 1})

    def interrupt(progress):
        signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(project, on_progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    found = runs_of(project, turn="turn_1")
    assert len(found) >= 2
    assert "RUNNING" not in {one.info.status for one in found}
    assert runs_of(project, role="search")[0].info.status == "KILLED"
    assert "asks for 0.5 GPU, and Ray has none here" in caplog.text
    trained = run(project)
    assert (trained.trials, trained.gpu_seconds) == (3, 0.0)
    assert "train.fit_resources asks for 1 GPU, and Ray has none here: it runs on CPUs" in caplog.text


def test_a_search_whose_driver_was_killed_goes_on_trial_by_trial(new_project, ray_of_the_session, caplog):
    project = new_project(trials=8, search="tpe", max_concurrent=1, checkpoint_seconds=0)
    script = textwrap.dedent(
        """
        import os, signal
        from tests.tidemill.training.test_train import run
        from tidemill.project import load_project
        from tidemill.training.search.search_journal import JournalOfSearch

        def add_round(journal, number, *of):
            kept(journal, number, *of)
            if number == 6 and journal.path.read_text().count('"round_of": 6') == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        kept, JournalOfSearch.add_round = JournalOfSearch.add_round, add_round
        run(load_project())
        """
    )
    address = {"TIDEMILL_RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    script = f"import sys; sys.path.append({str(Path(__file__).parents[3])!r})\n{script}"
    done = subprocess.run(command("-c", script), cwd=project.root, env=os.environ | address, check=False)
    assert done.returncode == -signal.SIGKILL
    [parent] = runs_of(project, role="search")
    before = {one.info.run_id: one for one in runs_of(project, role="trial") if one.info.status != "RUNNING"}
    assert parent.info.status == "RUNNING"
    assert len(before) == 6

    changed = replace(Data(), outputs={"data/training_set.parquet": "0" * 32})
    with pytest.raises(
        TrainingError, match=r"since it began, data \(data/training_set.parquet: 9a0e.* changed"
    ):
        run(project, data=changed, must_resume=True)
    told = []
    trained = run(project, on_progress=told.append, must_resume=True)

    assert (trained.run_id, trained.trials) == (parent.info.run_id, 8)
    assert list(dict.fromkeys(seen.done for seen in told)) == [6, 7, 8]
    after = {one.info.run_id: one for one in runs_of(project, role="trial")}
    assert all(after[run_id].data.metrics == one.data.metrics for run_id, one in before.items())
    numbers = sorted(
        one.info.run_name[-2:] for one in after.values() if "orphaned" not in one.data.tags["tidemill.end"]
    )
    assert numbers == [f"{number:02d}" for number in range(8)]
    [cut_off] = [one for one in after.values() if "gone on with" in one.data.tags["tidemill.end"]]
    assert cut_off.info.run_name == "line-06"
    assert cut_off.data.tags["tidemill.end"].endswith("gone on with after round 2 by another process")
    assert list((project.home / "searches").iterdir()) == []

    whole = run(project, turn="turn_2")
    assert (whole.family, whole.params, whole.rounds) == (trained.family, trained.params, trained.rounds)
    assert whole.metrics == trained.metrics
    train_config = project.config.train.model_copy(update={"warm_start": 2})
    warm = replace(project, config=project.config.model_copy(update={"train": train_config}))
    spec = load_spec(project)
    journal = begin_for(warm, spec, "turn_3", "0" * 32, {})
    assert first_of(spec, journal) == [(trained.family, trained.params)]
    caplog.clear()
    gone = replace(spec, families=tuple(one for one in spec.families if one.name != trained.family))
    assert begin_for(warm, gone, "turn_4", "1" * 32, {}).origin.earlier == ()
    assert caplog.messages == [
        "train.warm_start is 2, and the best of 0 earlier searches can be begun with: of others it is not on "
        "record, or lies in no space of the families any more"
    ]


def test_runs_of_a_killed_training_are_marked_by_the_next(new_project):
    project = new_project()
    script = textwrap.dedent(
        """
        import os, signal, sys
        from tidemill.project import load_project
        from tidemill.training.tracking.mlflow_tracking import PARENT, TURN
        from tidemill.training.tracking.mlflow_tracking import connect, experiment_id, parent_run
        project = load_project()
        client = connect(project)
        experiment = experiment_id(client, project)
        with parent_run(client, experiment, "half", {TURN: "turn_1"}) as run_id:
            client.create_run(experiment, tags={TURN: "turn_1", PARENT: run_id})
            (project.home / "ray_results" / run_id / "trial").mkdir(parents=True)
            (project.home / "ray_results" / "of_another_search").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project.root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [one.info.status for one in runs_of(project, turn="turn_1")] == ["RUNNING", "RUNNING"]

    project.dataset_path.unlink()
    with pytest.raises(TrainingError):
        run(project)

    orphans = runs_of(project, turn="turn_1")
    assert [one.info.status for one in orphans] == ["KILLED", "KILLED"]
    assert all("orphaned" in one.data.tags["tidemill.end"] for one in orphans)
    assert [path.name for path in (project.home / "ray_results").iterdir()] == ["of_another_search"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop("wind"), "lacks the columns wind"),
        (lambda rows: rows.with_columns(pl.struct("wind").alias("wind")), "feature wind in .* is Struct"),
        (
            lambda rows: rows.with_columns(
                wind=pl.int_range(pl.len())
                .reshape((-1, 1))
                .arr.to_list()
                .list.head(pl.int_range(pl.len()) % 2)
            ),
            "lists of several lengths",
        ),
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


def test_infinite_values_of_features_count_as_missing_and_are_counted(new_project, caplog):
    project = new_project()
    rows = pl.read_parquet(project.dataset_path)
    every = pl.int_range(pl.len()) % 50 == 0
    endless = rows.with_columns(
        wind=pl.when(every).then(float("-inf")).otherwise("wind"),
        delay=pl.concat_list(pl.when(every).then(float("inf")).otherwise("delay"), pl.lit(1.0)),
    )
    endless.write_parquet(project.dataset_path)
    found = read_split(project, FEATURES, day(100))
    whole = pl.concat([found.fit, found.holdout])
    assert not whole["wind"].is_infinite().any()
    assert whole["delay"].arr.get(0).is_null().sum() == 59
    assert "infinite values of features count as missing: wind in 60 rows, delay in 60 rows" in caplog.text
    assert read_labelled(project, FEATURES, day(100)).with_gaps == {"delay": 60}
    with pytest.raises(TrainingError, match=r"event_timestamp is a feature, and dataset\.time"):
        read_split(project, (*FEATURES, "event_timestamp"), day(100))


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
