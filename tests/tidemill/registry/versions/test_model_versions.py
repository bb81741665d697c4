"""Versions, the champion, and loading models safely."""

import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression

from tests.tidemill.training.small_project import FEATURES, make_project
from tidemill.errors import ModelNotFound, RegistryError
from tidemill.registry.gates.champion_comparison import milliseconds_per_row
from tidemill.registry.versions.aliases import set_alias
from tidemill.registry.versions.model_versions import (
    champion,
    champion_version,
    get_version,
    list_versions,
    load_holdout,
    load_judged,
    load_reference,
    load_scorer,
)
from tidemill.registry.versions.new_versions import register
from tidemill.registry.versions.original_models import read_original, without_progress_bars
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine


def test_a_version_knows_how_it_was_made(project, runs):
    number = register(project, runs[0], "turn_1")
    found = get_version(project, number)

    assert (found.model, found.version, found.run_id) == ("small-model", "1", runs[0])
    assert found.turn_id == "turn_1"
    assert found.metrics["holdout_roc_auc"] > 0.75
    assert found.lineage.feature_service == "small_service"
    assert found.trained.features == FEATURES
    assert "line, fitted on 2013-01-01" in found.description
    assert found.decision is None


def test_a_run_is_registered_once(project, runs):
    assert register(project, runs[0], "turn_1") == "1"
    assert register(project, runs[0], "turn_1") == "1"
    assert register(project, runs[1], "turn_2") == "2"
    assert [one.version for one in list_versions(project)] == ["2", "1"]


def test_only_a_finished_training_is_registered(project):
    client = connect(project)
    experiment = client.get_experiment_by_name("small").experiment_id
    running = client.create_run(experiment).info.run_id
    with pytest.raises(RegistryError, match="is RUNNING"):
        register(project, running)
    client.set_terminated(running)
    with pytest.raises(RegistryError, match="not a finished training of Tidemill"):
        register(project, running)
    with pytest.raises(RegistryError, match="cannot be registered"):
        register(project, "0" * 32)
    assert list_versions(project) == []


def test_there_may_be_no_champion_yet(project, runs):
    assert champion_version(project) is None
    register(project, runs[0])
    assert champion_version(project) is None
    assert champion(project) is None


def test_the_champion_is_found_and_polling_is_cheap(registered):
    connect(registered).set_registered_model_alias("small-model", "champion", "2")
    assert champion(registered).aliases == ("champion",)
    assert champion(registered).version == get_version(registered, "champion").version == "2"
    assert [one.aliases for one in list_versions(registered)] == [(), ("champion",), ()]
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        champion_version(registered)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01


@pytest.mark.parametrize("asked", ["7", "challenger"])
def test_what_is_not_there_is_answered_with_what_is(registered, asked):
    connect(registered).set_registered_model_alias("small-model", "champion", "2")
    with pytest.raises(ModelNotFound, match=rf"'{asked}'.*3, 2 \(champion\), 1"):
        get_version(registered, asked)


def test_an_unknown_model_is_answered_with_those_there_are(registered, tmp_path_factory):
    with pytest.raises(ModelNotFound, match="no model 'other'; the registry has: small-model") as refused:
        list_versions(registered, "other")
    assert "check the spelling" in refused.value.hint
    with pytest.raises(ModelNotFound, match="the registry has: small-model"):
        get_version(registered, "1", "other")


def test_a_project_without_a_version_has_an_empty_list(project):
    assert list_versions(project) == []
    with pytest.raises(ModelNotFound, match="no model 'small-model'; the registry is empty") as refused:
        get_version(project, "1")
    assert "tidemill run" in refused.value.hint


def test_a_scorer_gives_probabilities_whatever_the_order_of_columns(registered):
    for version in ("1", "2", "3"):
        scorer = load_scorer(registered, version)
        frame = pd.DataFrame({"hour": [3, None], "late": [0, 1], "delay": [None, 1.0], "wind": [2.0, -2.0]})
        scores = scorer.predict(frame)
        assert scorer.features == FEATURES
        assert scores.shape == (2,)
        assert scores.dtype == np.float64
        assert ((scores >= 0) & (scores <= 1)).all()
        assert milliseconds_per_row(scorer, frame) > 0


def test_a_loaded_model_scores_as_when_it_was_judged(registered):
    for version in ("1", "2"):  # of the second, which was fitted once more, its twin
        reference = load_reference(registered, version)
        judged = load_judged(registered, get_version(registered, version))
        scores = judged.predict(reference.held_out.to_pandas())
        assert scores == pytest.approx(reference.scores.to_numpy())
    refitted = load_scorer(registered, "2").predict(reference.held_out.to_pandas())
    assert np.abs(refitted - scores).max() > 0.01
    holdout = load_holdout(registered, "2")
    assert {"event_timestamp", "late", "label_known_at", *FEATURES} == set(holdout.columns)


def test_a_missing_feature_is_named(registered):
    with pytest.raises(RegistryError, match=r"missing: wind, delay"):
        load_scorer(registered, "1").predict(pd.DataFrame({"hour": [1]}))
    with pytest.raises(RegistryError, match="not numbers"):
        load_scorer(registered, "1").predict(pd.DataFrame({"hour": ["x"], "wind": [1], "delay": [1]}))


def _model_folder(path: Path, estimator=None, kind="skops"):
    rows = pd.DataFrame({"wind": [0.0, 1.0, 2.0, 3.0]})
    model = estimator or LogisticRegression().fit(rows, [0, 0, 1, 1])
    mlflow.sklearn.save_model(
        model,
        path,
        serialization_format=kind,
        signature=mlflow.models.infer_signature(rows),
        pip_requirements=["scikit-learn"],
    )
    return path


@pytest.mark.parametrize("kind", ["pickle", "cloudpickle"])
def test_pickles_are_refused(tmp_path, kind):
    folder = _model_folder(tmp_path / "model", kind=kind)
    with pytest.raises(RegistryError, match=f"saved as {kind}, which can execute code"):
        read_original(folder, "1", [], list)


def test_a_model_of_keras_is_not_called_a_pickle(tmp_path):
    folder = _model_folder(tmp_path / "model", kind="pickle")
    described = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(described.replace("  sklearn:", "  keras:"))
    with pytest.raises(RegistryError, match="saved as a Keras model with layers of any code, which can"):
        read_original(folder, "1", [], list)


@pytest.mark.parametrize("name", ["a%2Fb", "what?now", "x#y", "model [v2]"])
@pytest.mark.parametrize("kind", ["skops", "cloudpickle"])
def test_models_are_loaded_from_folders_of_any_name(tmp_path, name, kind):
    (tmp_path / name).mkdir()
    folder = shutil.move(_model_folder(tmp_path / "model", kind=kind), tmp_path / name / "model")
    scorer = read_original(folder, "1", [], list, trusted=True)
    assert scorer.predict(pd.DataFrame({"wind": [0.0, 3.0]})).round().tolist() == [0, 1]


def test_a_model_that_trusts_itself_is_not_trusted(tmp_path):
    folder = _model_folder(tmp_path / "model")
    skops.io.dump(Forged(), folder / "model.skops")
    described = yaml.safe_load((folder / "MLmodel").read_text())
    name = skops.io.get_untrusted_types(file=folder / "model.skops")
    described["flavors"]["sklearn"]["skops_trusted_types"] = name
    (folder / "MLmodel").write_text(yaml.safe_dump(described))

    with pytest.raises(RegistryError, match=r"types that are not trusted: .*Forged"):
        read_original(folder, "1", [], list)
    with pytest.raises(RegistryError, match=r"types that are not trusted: .*Forged"):
        read_original(folder, "1", name, list)  # on record, but not declared
    with pytest.raises(RegistryError, match=r"types that are not trusted: .*Forged"):
        read_original(folder, "1", [], lambda: name)  # declared, but not on record
    assert read_original(folder, "1", name, lambda: name).estimator.weight == 3


class Forged:
    def __init__(self):
        self.weight = 3


def test_a_broken_model_is_named(tmp_path):
    with pytest.raises(RegistryError, match="is not a scikit-learn model with a signature"):
        read_original(tmp_path, "1", [], list)
    folder = _model_folder(tmp_path / "model")
    (folder / "model.skops").write_text("no zip")
    with pytest.raises(RegistryError, match="cannot be loaded"):
        read_original(folder, "1", [], list)


def test_files_that_are_gone_are_named(project, runs, tmp_path_factory):
    register(project, runs[0])
    connect(project).create_model_version(
        "small-model", source=(project.root / "nowhere").as_uri(), run_id=runs[0]
    )
    with pytest.raises(RegistryError, match="cannot be read"):
        load_scorer(project, "2")
    assert get_version(project, "2").lineage is None


def test_a_first_project_gets_a_store(tmp_path):
    project = make_project(tmp_path)
    assert champion_version(project) is None
    assert (project.home / "mlflow.db").exists()
    shutil.rmtree(project.home)


def test_a_registry_that_is_ill_is_not_without_a_champion(registered):
    set_alias(registered, "champion", "1")
    with closing(sqlite3.connect(registered.home / "mlflow.db")) as other:
        other.execute("ALTER TABLE registered_model_aliases RENAME TO gone")
    with pytest.raises(RegistryError, match="cannot say which version of small-model is champion"):
        champion_version(registered)
    with pytest.raises(RegistryError, match="cannot read small-model champion") as refused:
        get_version(registered, "champion")
    assert not isinstance(refused.value, ModelNotFound)


def test_keras_writes_no_progress_bar_at_each_prediction(monkeypatch):
    without_progress_bars()  # where nothing has loaded it
    told: list[str] = []
    config = SimpleNamespace(disable_interactive_logging=lambda: told.append("quiet"))
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(config=config))
    without_progress_bars()
    assert told == ["quiet"]
