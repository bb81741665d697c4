"""Each example from its copy to a monitor: train, gate, promote, serve, predict, bring labels, watch."""

import json
from datetime import UTC, datetime, timedelta
from itertools import islice

import nbformat
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from nbclient import NotebookClient
from sklearn.metrics import roc_auc_score

from tests.examples.example_turn import Example, served
from tests.warm_commands import command
from tidemill.data.repository.git import git
from tidemill.project import load_project
from tidemill.registry.history.serving_history import history
from tidemill.registry.versions.export import export_version
from tidemill.registry.versions.model_versions import champion_version, get_version
from tidemill.retraining.by_hand.project_steps import OpenProject, open_project
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking.origins.notebook_cells import read_cells
from tidemill.training.tracking.showing.stored_runs import read_project_runs

pytestmark = pytest.mark.engine

NEEDED = {
    "arrival_delay": "lightgbm",
    "wine": "sklearn",
    "digits": "torch",
    "no_time": "sklearn",
    "online": "river",
}
"""Examples, and the package of each that is not always installed."""


@pytest.fixture(scope="module", params=NEEDED)
def example(request, tmp_path_factory, ray_of_the_session) -> Example:
    pytest.importorskip(NEEDED[request.param])
    return Example(request.param, tmp_path_factory.mktemp("examples") / request.param)


def test_an_example_turns_once_around_the_loop(example, tmp_path):
    project, rows = example.project, example.rows()
    assert example.turn["status"] == "promoted", example.turn
    assert champion_version(project) == "1"
    exported = export_version(project, project.model, "1", tmp_path / "edge")  # of its ONNX model
    assert {"index.html", "model.onnx"} <= set(map(str, exported.files))
    answers = served(project, rows)
    check = {
        "arrival_delay": delays_are_close,
        "wine": classes_are_right,
        "digits": classes_are_right,
        "no_time": tumours_are_found,
        "online": blocked_pumps_are_found,
    }[example.name]
    check(answers, rows[project.config.dataset.label].to_list())
    run = example.monitor(datetime.now(UTC) + timedelta(minutes=5))
    assert run["rows"] == len(rows)
    assert run["labelled"] == len(rows)
    assert run["verdict"] == "ok" or example.name == "arrival_delay", run["results"]
    if example.name == "digits":
        two_workers_made_what_one_process_makes(project, example.turn["run_id"])
        images_are_tensors(project, rows, answers)


@pytest.mark.parametrize("example", ["wine"], indirect=True)
def test_its_notebook_brings_a_model_to_production_and_says_which_code_no_commit_holds(
    example, tmp_path, monkeypatch
):
    root = example.project.root
    params = (root / "params.yaml").read_text() + "  mode: dry_run\n"  # of the gate, so that it moves
    (root / "params.yaml").write_text(params)
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "Notebook")
    project = load_project(root, Settings(num_cpus=2))
    assert project.config.gate_mode == "dry_run"
    cells = run_notebook(root / "step_by_step.ipynb", tmp_path, monkeypatch)
    assert "needs values of C" in said_by(cells[2])
    assert "'2'" in said_by(cells[4])
    assert champion_version(project) == "2"
    assert "no commit" not in said_by(cells[7])
    opened = open_project(root)
    (root / "params.yaml").write_text(f"{params}# one more try\n")
    with pytest.warns(UserWarning, match=r"no commit holds: params\.yaml"):
        opened.promote(opened.fit("linear", {"C": 0.4}), reason="smaller")
    [_, committed, edited] = history(open_state(project.state_url), project.model)
    assert committed.reason == "a simple model that is easy to explain"
    assert edited.reason == "smaller (of code that no commit holds: params.yaml)"
    runs = [get_version(project, version).run_id for version in ("2", "3")]
    [in_a_kernel, not_in_one] = [each.run.origin for each in read_project_runs(project, runs)]
    assert "cells" not in not_in_one
    kept = read_cells(project.home, in_a_kernel["cells"])
    assert kept.startswith("# %% 1\nimport tidemill\n")
    assert kept.endswith('trained = project.fit("linear", {"C": 0.5})\ntrained.metrics\n')


def run_notebook(path, folder, monkeypatch) -> list:
    """Run a notebook from its first cell to its last in a kernel of its own; return its cells of code."""
    kernel = {"argv": command("-m", "ipykernel_launcher", "-f", "{connection_file}"), "language": "python"}
    spec = folder / "jupyter/kernels/forked/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({**kernel, "display_name": "Forked"}))
    for name in ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder / "jupyter"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, kernel_name="forked", resources={"metadata": {"path": path.parent}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said_by(cell) -> str:
    """All that a cell printed or showed."""
    return json.dumps(cell.outputs)


def two_workers_made_what_one_process_makes(project, run_id) -> None:
    [run] = read_project_runs(project, [run_id])
    assert run.run.params["fit_workers"] == "2"
    name, params, rounds = run.trained.family, run.trained.params, run.trained.rounds
    rows = read_split(project, run.trained.features, run.lineage.as_of)
    labels = pd.Series(project.task.truth(rows.fit, project.config.dataset.label))
    fits = load_spec(project).family(name).fit(params, as_features(rows.fit, rows.features), labels)
    alone = list(islice(fits, rounds))[-1].predict_proba(as_features(rows.holdout, rows.features))
    together = OpenProject(project).predict(rows.holdout, "1")
    assert np.abs(alone - together).mean() < 1e-5


def images_are_tensors(project, rows, answers) -> None:
    """Images go as one tensor of the Open Inference Protocol, and come back as a tensor of probabilities."""
    images = np.array(rows["image"].to_list())[:10]
    tensor = {
        "name": "image",
        "shape": list(images.shape),
        "datatype": "FP64",
        "data": images.ravel().tolist(),
    }
    with TestClient(build_api(project, "r1")) as api:
        answered = api.post(f"/v2/models/{project.model}/infer", json={"inputs": [tensor]})
        assert answered.status_code == 200, answered.text
        outputs = {one["name"]: one for one in answered.json()["outputs"]}
    assert outputs["probabilities"]["shape"] == [10, 10]
    assert outputs["class"]["data"] == [one["class"] for one in answers[:10]]


def delays_are_close(answers, truth) -> None:
    missed = np.abs(np.array([one["value"] for one in answers]) - truth)
    assert np.mean(missed) < 15, "minutes; all flights together vary by more than 40"


def classes_are_right(answers, truth) -> None:
    assert np.mean([one["class"] == said for one, said in zip(answers, truth, strict=True)]) > 0.95


def blocked_pumps_are_found(answers, truth) -> None:
    found = np.array([one["probability"] for one in answers])
    assert roc_auc_score(np.array(truth) == "yes", found) > 0.8


def tumours_are_found(answers, truth) -> None:
    found = np.array([one["probability"] for one in answers])
    malignant = np.array(truth) == "malignant"
    assert found[malignant].mean() > 0.9
    assert found[~malignant].mean() < 0.1
