import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.tidemill.retraining.test_policies import PROJECT
from tidemill.cli.main import app
from tidemill.project import load_project, open_folder
from tidemill.retraining.loop_declarations import declaration_problems

GOOD_POLICY = {"name": "decay", "alerts": ["data_drift"]}
GOOD = {
    "monitors": {"monitors": [{"name": "weekly", "window": "7d", "every": "1d", "data_drift": {}}]},
    "policies": {"policies": [{"name": "decay", "alerts": ["data_drift"], "monitors": ["weekly"]}]},
}


def project_with(folder: Path, **files: object):
    (folder / "params.yaml").write_text(yaml.safe_dump(PROJECT))
    (folder / "monitoring").mkdir()
    for name, content in files.items():
        (folder / "monitoring" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return load_project(folder)


def test_a_project_without_the_files_and_one_with_good_ones_have_no_problems(tmp_path: Path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "good").mkdir()
    assert declaration_problems(project_with(tmp_path / "bare")) == []
    assert declaration_problems(project_with(tmp_path / "good", **GOOD)) == []


def test_each_wrong_file_is_said_whatever_is_wrong_with_another(tmp_path: Path):
    project = project_with(
        tmp_path, monitors={"monitors": 5}, routes=5, policies=[], schedules={"schedule": []}
    )
    (tmp_path / "webhooks.yaml").write_text("webhooks: 5")
    problems = declaration_problems(project)
    assert [one.partition(" is wrong")[0] for one in problems] == [
        *(
            str(tmp_path / "monitoring" / f"{name}.yaml")
            for name in ("monitors", "routes", "policies", "schedules")
        ),
        str(tmp_path / "webhooks.yaml"),
    ]
    assert all("describes every field" in one for one in problems)


def test_a_policy_for_a_monitor_that_is_not_declared_is_said(tmp_path: Path):
    policies = {"policies": [{"name": "decay", "alerts": ["quality"], "monitors": ["weekyl"]}]}
    (problem,) = declaration_problems(project_with(tmp_path, monitors=GOOD["monitors"], policies=policies))
    assert "policy 'decay' listens to the monitor 'weekyl'" in problem
    assert "(it declares: weekly)" in problem


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"gate": {"min_gian": 0.01}}, "gate.min_gian: there is no such field; is 'min_gain' meant?"),
        ({"serve": {"replicas": [1]}}, "serve.replicas: must be a whole number, not a list"),
        ({"train": 5}, "train: must be a mapping, not 5"),
    ],
)
def test_wrong_parameters_are_said(tmp_path: Path, section: dict[str, object], says: str):
    project_with(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PROJECT, **section}))
    (problem,) = declaration_problems(open_folder(tmp_path))
    assert problem.startswith(f"{tmp_path / 'params.yaml'} is wrong: {says} (line ")


def test_a_broken_pipeline_is_said(tmp_path: Path):
    project = project_with(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: [\n")
    (problem,) = declaration_problems(project)
    assert problem.startswith(f"{tmp_path / 'dvc.yaml'} cannot be read: line 2, column 1: ")


@pytest.mark.engine
def test_status_says_what_is_wrong_on_the_terminal_and_as_json(tmp_path: Path):
    project_with(tmp_path, monitors={"monitors": [{"name": "weekly", "window": "soon"}]})
    said = CliRunner().invoke(app, ["status", "-p", str(tmp_path)], env={"COLUMNS": "1000"})
    assert said.exit_code == 0
    assert f"! {tmp_path / 'monitoring' / 'monitors.yaml'} is wrong: monitor 'weekly': window" in said.output
    said = CliRunner().invoke(app, ["status", "-p", str(tmp_path), "--json"])
    assert "monitor 'weekly': window" in json.loads(said.stdout)["problems"][0]


@pytest.mark.parametrize(
    ("train", "dataset", "says"),
    [
        (
            {"families": ["xgboost", "linear"]},
            {},
            "linear in train.families cannot go on from an earlier model",
        ),
        ({}, {}, "linear, hist_gradient_boosting in train.families"),
        ({"families": ["lightgbm"]}, {"time": None, "label_known": None}, "without a split by time"),
        ({"families": ["lightgbm", "xgboost"]}, {}, None),
    ],
)
def test_a_warm_start_that_cannot_be_is_said(tmp_path: Path, train: dict, dataset: dict, says: str | None):
    project_with(tmp_path, policies={"policies": [{**GOOD_POLICY, "recipe": {"search": "warm"}}]})
    named = {name: value for name, value in PROJECT["project"].items() if name != "training"}
    params = {**PROJECT, "project": named, "train": train, "dataset": {**PROJECT["dataset"], **dataset}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    problems = [one for one in declaration_problems(open_folder(tmp_path)) if "warm" in one]
    assert [says in one and "policy 'decay' has recipe.search: warm" in one for one in problems] == [
        True
    ] * bool(says)
