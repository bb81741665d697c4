"""Each example from its copy to a monitor: train, gate, promote, serve, predict, bring labels, watch."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sklearn.metrics import roc_auc_score

from tests.examples.example_turn import Example, served
from tidemill.registry.versions.export import export_version
from tidemill.registry.versions.model_versions import champion_version
from tidemill.serving.runtime.replica.wiring import build_api

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
        images_are_tensors(project, rows, answers)
    if example.name == "wine":
        the_notebook_runs(project)


def the_notebook_runs(project) -> None:
    """Its cells run one after the other, as in a kernel; what it fits is registered, judged and promoted."""
    cells = json.loads((project.root / "step_by_step.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found: dict = {}
    with contextlib.chdir(project.root):
        for number, cell in enumerate(code):
            exec(compile(cell, f"cell {number}", "exec"), found)
    assert found["version"] == "2"
    assert found["trained"].metrics["holdout_accuracy"] > 0.8
    assert found["answers"].shape == (5, 3)
    assert found["decision"].candidate == "2"
    assert champion_version(project) == ("2" if found["decision"].passed else "1")


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
