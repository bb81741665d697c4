"""Runs read from MLflow's tables are those that MLflow's own client tells."""

import shutil
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import delete
from typer.testing import CliRunner

from tests.tidemill.training.small_project import make_project
from tidemill.cli.main import app
from tidemill.errors import RunNotFound, UsageError
from tidemill.files.locks import locked
from tidemill.state import open_state
from tidemill.state.tables import Turn
from tidemill.training.tracking import killed_runs, run_reading
from tidemill.training.tracking.killed_runs import KILLED, TurnsAtRest
from tidemill.training.tracking.local_documents import AskMlflow
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.origins.origin_files import keep_origin
from tidemill.training.tracking.run_logs import read_trial_ends
from tidemill.training.tracking.run_values import ORIGIN_PREFIX, PARENT, ROLE, TURN
from tidemill.training.tracking.showing import listed_runs, stored_runs
from tidemill.training.tracking.showing.listed_runs import list_project_runs
from tidemill.training.tracking.showing.stored_runs import read_project_runs

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


@pytest.fixture
def killed(recorded):
    """A search and its trial that a process began, with its turn, and that nobody ended."""
    project, _ = recorded
    client, now = connect(project), datetime.now(UTC)
    experiment, tags = experiment_id(client, project), {TURN: "turn_1"}
    search = client.create_run(experiment, tags=tags | {ROLE: "search"}, start_time=2**41).info.run_id
    trial = client.create_run(experiment, tags=tags | {ROLE: "trial", PARENT: search}).info.run_id
    state = open_state(project.state_url)
    with state.transaction() as session:
        session.merge(Turn(
            id="turn_1", model=project.model, trigger="manual", reason="", actor="ada", promote=False,
            overrides={}, as_of=now, status="running", step="train", seconds={}, requested_at=now,
        ))  # fmt: skip
    yield project, search, trial
    state.close()
    for run in (search, trial):
        client.delete_run(run)


def ask_mlflow(monkeypatch):
    def refuse(_):
        raise AskMlflow

    for module in (stored_runs, listed_runs):
        monkeypatch.setattr(module, "open_database", refuse)


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


@pytest.mark.parametrize("mlflow", [False, True])
def test_a_run_whose_process_was_killed_is_killed_until_somebody_goes_on(killed, mlflow, monkeypatch):
    project, search, trial = killed
    if mlflow:
        ask_mlflow(monkeypatch)

    def listed(**choices):
        return [(one.run_id, one.left) for one in list_project_runs(project, metric=METRIC, **choices)]

    said = CliRunner().invoke(app, ["runs", "list", "-p", str(project.root)]).output
    assert f"{search[:8]} was killed: tidemill run --resume {search[:8]} goes on with it" in said
    [whole] = read_project_runs(project, [search])
    assert (whole.run.status, whole.run.left) == ("KILLED", True)
    assert "`tidemill run --resume` goes on with it" in whole.run.end
    assert [(one.status, one.end) for one in run_reading.trials_of(project, whole.run)] == [
        ("KILLED", KILLED)
    ]
    assert [(one.run_id, one.status) for one in read_trial_ends(project, search)] == [(trial, "KILLED")]
    assert listed(status="KILLED", shown="all") == [(search, True), (trial, True)]
    assert search not in dict(listed(status="RUNNING"))
    with locked(project.home / "turn.lock"):
        [whole] = read_project_runs(project, [search])
        assert (whole.run.status, whole.run.left) == ("RUNNING", False)
        assert (search, False) in listed(status="RUNNING")
        assert listed(status="KILLED", shown="all") == []


def test_of_a_run_that_another_machine_may_make_nothing_is_said(killed, monkeypatch):
    project, search, _ = killed
    with open_state(project.state_url).transaction() as session:
        session.execute(delete(Turn))
    assert read_project_runs(project, [search])[0].run.status == "RUNNING"
    monkeypatch.setattr(killed_runs, "Records", lambda _: SimpleNamespace(path=None))
    assert not TurnsAtRest(project).began


def test_several_runs_that_begin_alike_are_named(recorded, monkeypatch):
    monkeypatch.setattr(stored_runs, "_LEAST", 0)
    with pytest.raises(UsageError, match=r"several runs of .* begin with ''"):
        read_project_runs(recorded[0], [""])
