"""Runs read from MLflow's tables are those that MLflow's own client tells."""

import shutil

import pytest

from tests.tidemill.training.small_project import make_project
from tidemill.errors import RunNotFound, UsageError
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.origins.origin_files import keep_origin
from tidemill.training.tracking.run_values import ORIGIN_PREFIX, PARENT, ROLE
from tidemill.training.tracking.showing import listed_runs, stored_runs
from tidemill.training.tracking.showing.listed_runs import list_project_runs
from tidemill.training.tracking.showing.stored_runs import AskMlflow, read_project_runs

pytestmark = pytest.mark.engine

METRIC = "holdout_roc_auc"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, empty_mlflow):
    """A project, and the ids by name of a search, its trial, two plain runs, and one of other people."""
    project = make_project(tmp_path_factory.mktemp("recorded"))
    project.home.mkdir()
    shutil.copy(empty_mlflow, project.home / "mlflow.db")
    client, ids = connect(project), {}

    def run(name, experiment, tags, params, metrics):
        ids[name] = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        for key, value in params.items():
            client.log_param(ids[name], key, value)
        for key, value in metrics.items():
            client.log_metric(ids[name], key, value)
        client.set_terminated(ids[name])

    own, other = experiment_id(client, project), client.create_experiment("by hand")
    name = project.config.project.name
    run(
        "search", own, {ROLE: "search"}, {"depth": 3}, {METRIC: 0.7, "mean_low": 1, "mean_high": 3, "mean": 2}
    )
    run("trial", own, {ROLE: "trial", PARENT: ids["search"]}, {"depth": 9}, {METRIC: float("nan")})
    record = keep_origin(project.home, origin(project, "4f1d"), b"diff")
    tags = {
        f"{ORIGIN_PREFIX}project": name,
        f"{ORIGIN_PREFIX}commit": "4f1d",
        f"{ORIGIN_PREFIX}record": record,
    }
    run("plain", other, tags, {"depth": 4}, {METRIC: 0.8})
    run("lost", other, tags | {f"{ORIGIN_PREFIX}record": "0" * 64}, {}, {})
    run("theirs", other, {}, {}, {METRIC: 0.9})
    client.create_registered_model(project.model)
    client.create_model_version(project.model, "file:///nowhere", ids["plain"])
    return project, ids


def origin(project, commit):
    return {
        "project": project.config.project.name, "commit": commit, "uncommitted": ["a.py"], "left_out": {},
        "patch": None, "data": {}, "features": None, "lock": None, "packages": {"numpy": "2.0"},
        "hardware": {}, "threads": {}, "problems": [],
    }  # fmt: skip


def ask_mlflow(monkeypatch):
    def refuse(_):
        raise AskMlflow

    for module in (stored_runs, listed_runs):
        monkeypatch.setattr(module, "open_runs", refuse)


@pytest.mark.parametrize(
    "choices", [{}, {"shown": "all", "best": True}, {"shown": "trials"}, {"status": "FAILED"}]
)
def test_both_ways_list_the_same(recorded, choices, monkeypatch):
    project, _ = recorded
    direct = list_project_runs(project, metric=METRIC, **choices)
    assert "theirs" not in [run.name for run in direct]
    if not choices:
        assert [(run.name, run.score, run.versions) for run in direct] == [
            ("lost", None, ()), ("plain", 0.8, ("1",)), ("search", 0.7, ()),
        ]  # fmt: skip
    ask_mlflow(monkeypatch)
    asked = list_project_runs(project, metric=METRIC, **choices)
    assert asked == direct


def test_both_ways_read_the_same(recorded, monkeypatch):
    project, ids = recorded
    names = [ids[name] for name in ("search", "plain", "lost")]
    direct = read_project_runs(project, [name[:12] for name in names])
    assert [one.run.name for one in direct] == ["search", "plain", "lost"]
    assert (direct[1].commit, direct[1].origin["packages"], direct[1].versions) == (
        "4f1d",
        {"numpy": "2.0"},
        ("1",),
    )
    assert "missing" in direct[2].trouble
    ask_mlflow(monkeypatch)
    assert read_project_runs(project, names) == direct


@pytest.mark.parametrize("mlflow", [False, True])
def test_no_such_run_and_too_short_a_name(recorded, mlflow, monkeypatch):
    project, ids = recorded
    if mlflow:
        ask_mlflow(monkeypatch)
    for wrong in ("0" * 32, "abc", ids["theirs"], "zzzz", "' OR 1"):
        with pytest.raises(RunNotFound, match="there is no run"):
            read_project_runs(project, [wrong])


def test_several_runs_that_begin_alike_are_named(recorded, monkeypatch):
    monkeypatch.setattr(stored_runs, "_LEAST", 0)
    with pytest.raises(UsageError, match=r"several runs of .* begin with ''"):
        read_project_runs(recorded[0], [""])
