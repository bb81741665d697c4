"""From a table without time, entity and feature store to a served prediction, its label, and a monitor."""

import json
import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from tests.tidemill.retraining.small_table import wines, write_table_project
from tidemill.cli.main import app
from tidemill.data.repository.git import git
from tidemill.errors import ConfigError, RunNotFound, TrainingError, UsageError
from tidemill.lineage.graph.chain import trace
from tidemill.prediction_log.prediction_log import read_labelled, read_predictions
from tidemill.registry.versions.model_versions import champion_version, get_version
from tidemill.retraining.recipes import Recipe
from tidemill.retraining.turns.turn import make_turn
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state
from tidemill.state.tables import AuditEntry, GateDecision, Turn

pytestmark = pytest.mark.engine
FEATURES = [name for name in wines().columns if name != "first_grower"]


@pytest.fixture(scope="module")
def project(tmp_path_factory, ray_of_the_session):
    """Two turns, each with a promotion; the second searches around what the first found."""
    project = write_table_project(tmp_path_factory.mktemp("table") / "wine")
    state = open_state(project.state_url)
    around = Recipe.model_validate({"search": "narrow", "windows": ["all", {"last": "30d"}]})
    for recipe in (Recipe(), around):
        turn = make_turn(project, state, TurnRequest(datetime.now(UTC), "a turn", "ada", recipe=recipe))
        assert turn.status == "promoted"
        assert turn.cpu_seconds > 0.5
        assert turn.gpu_seconds == 0.0
        assert turn.inputs["labels"] == 178
    state.close()
    return project


@pytest.fixture(scope="module")
def served(project):
    """Predictions for all wines, most with a label."""
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        rows = wines()
        answers = []
        for start in range(0, len(rows), 20):
            instances = json.loads(rows[FEATURES][start : start + 20].to_json(orient="records"))
            answered = api.post("/predict", json={"instances": instances})
            assert answered.status_code == 200, answered.text
            answers += answered.json()["predictions"]
        labels = [
            {"prediction_id": answer["prediction_id"], "label": int(label)}
            for answer, label in list(zip(answers, rows["first_grower"], strict=True))[:150]
        ]
        assert api.post("/feedback", json={"labels": labels}).json() == {"accepted": 150}
        yield api, answers


@pytest.fixture
def tidemill(project):
    def run(*arguments, error=None):
        done = CliRunner().invoke(app, [*arguments, "-p", str(project.root)], env={"COLUMNS": "200"})
        if error is not None:
            assert isinstance(done.exception, error), done.output
            return str(done.exception)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_the_gate_compares_on_rows_that_neither_version_has_learnt_from(project):
    assert champion_version(project) == "2"
    first, second = (get_version(project, version).lineage for version in "12")
    assert first.split == second.split
    assert str(second.split) == "178 rows split at random, each class alike"
    assert (second.feature_service, len(second.feature_definition)) == ("request", 64)
    (decision,) = [one for one in decisions(project) if one.candidate == "2"]
    assert decision.numbers["rows_known_to_champion"] == 0
    assert any("of champion 1" in reason for reason in decision.reasons)


def test_a_narrow_search_begins_with_the_champion(project):
    first, second = (get_version(project, version).trained for version in "12")
    assert (second.family, second.window) == (first.family, "all")
    assert (second.trials, second.params) == (1, first.params)
    assert second.windows[1]["left_out"] == "the rows have no time"
    assert second.cpu_seconds > 0


def test_predictions_come_from_the_values_of_the_request(project, served):
    _, answers = served
    scores = pl.Series([answer["probability"] for answer in answers])
    truth = wines()["first_grower"].to_numpy()
    assert scores.filter(truth == 1).min() > 0.5 > scores.filter(truth == 0).max()
    assert all(answer["decision"] == {} and answer["flags"] == [] for answer in answers)
    logged = read_predictions(project.predictions, project.model, *_today())
    assert logged["feature.alcohol"].sort().to_list() == sorted(wines()["alcohol"])


def test_what_does_not_fit_is_refused_by_field(served):
    api, _ = served
    good = json.loads(wines()[FEATURES][:1].to_json(orient="records"))[0]
    without_ash = {name: value for name, value in good.items() if name != "ash"}
    assert api.post("/predict", json={"instances": [without_ash]}).status_code == 200
    assert api.post("/predict", json={"instances": [{**good, "ash": None}]}).status_code == 200
    for wrong, field in (
        ({**good, "alcohol": "13"}, "alcohol"),
        ({**good, "alcohol": [13]}, "alcohol"),
        ({**good, "colour": 1.0}, "colour"),
        (
            {name: value for name, value in good.items() if name != "od280/od315 of diluted wines"},
            "od280/od315 of diluted wines",
        ),
    ):
        answer = api.post("/predict", json={"instances": [wrong]})
        assert answer.status_code == 422
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["body", "instances", 0, field]


def test_the_documentation_shows_a_true_example(served):
    api, _ = served
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    example = schemas["Instance"]["examples"][0]
    assert api.post("/predict", json={"instances": [example]}).status_code == 200


def test_labels_and_monitors_go_by_arrival(project, served, tidemill):
    assert read_labelled(project.predictions, project.model, *_today(), known_by=_today()[1]).height == 150
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    (run,) = json.loads(tidemill("monitor", "run", "--as-of", soon, "--json"))
    assert (run["verdict"], run["labelled"]) == ("ok", 150)
    assert "skew does not apply" in json.dumps(run["results"])


def test_commands_about_the_store_say_that_there_is_none(served, tidemill):
    for command in (("features", "status"), ("features", "materialise")):
        assert "this project has no feature store" in tidemill(*command, error=ConfigError)
    assert "skew does not apply to this project" in tidemill("features", "skew", error=ConfigError)


def test_lineage_says_that_features_come_from_the_request(project, served):
    graph = trace(project, "2", ["up"])
    (service,) = [node for node in graph.nodes.values() if node.kind == "service"]
    assert (service.name, service.gap) == ("request", None)
    assert service.facts["features"] == FEATURES


def test_batch_scoring_takes_the_features_from_the_table(project, served, tidemill, tmp_path):
    _, answers = served
    wines().to_csv(tmp_path / "wines.csv", index=False)
    tidemill("score", "--input", str(tmp_path / "wines.csv"), "--output", str(tmp_path / "scored.parquet"))
    scored = pl.read_parquet(tmp_path / "scored.parquet")
    assert scored["probability"].to_list() == pytest.approx([answer["probability"] for answer in answers])
    pl.DataFrame({"alcohol": [13.0]}).write_csv(tmp_path / "few.csv")
    said = tidemill(
        "score", "--input", str(tmp_path / "few.csv"), "--output", str(tmp_path / "no.csv"), error=UsageError
    )
    assert "ash" in said


def test_status_and_privacy_work_without_a_store(served, tidemill):
    assert "champion" in tidemill("status")
    assert json.loads(tidemill("data", "privacy", "--json"))["fields"] == []
    assert "no personal field is declared: mark one in features.yaml" in tidemill("data", "privacy")


def decisions(project):
    state = open_state(project.state_url)
    with state.transaction() as session:
        found = list(session.scalars(select(GateDecision)))
    state.close()
    return found


def _today():
    now = datetime.now(UTC)
    return now - timedelta(hours=12), now + timedelta(hours=1)


def test_a_policy_makes_no_model_of_the_same_data(project, tidemill):
    state = open_state(project.state_url)
    wanted = TurnRequest(datetime.now(UTC), "decay: it drifts", "policy:decay", "data_drift", policy="decay")
    turn = make_turn(project, state, wanted)
    state.close()
    assert (turn.status, turn.version, turn.run_id) == ("unchanged", None, None)
    assert list(turn.seconds) == ["data"]
    assert all(turn.inputs.values())
    assert "unchanged" in tidemill("status")


def test_a_search_that_somebody_stopped_goes_on_when_it_is_asked_for(project, tidemill):
    state = open_state(project.state_url)
    three = {"train.trials": 3, "train.max_concurrent": 1}
    request = TurnRequest(datetime.now(UTC), "to be stopped", "ada", promote=False, params=three)
    assert "no search runs in this project" in tidemill("runs", "stop", error=RunNotFound)
    assert "no search of this project was cut off" in tidemill("run", "--resume", error=RunNotFound)

    def stop(event):
        if event.step == "train" and event.done == 1:
            assert "was killed" not in tidemill("status")
            assert "asked to stop, after 1 trial" in tidemill("runs", "stop")

    with pytest.raises(TrainingError, match="stopped by `tidemill runs stop`"):
        make_turn(project, state, request, stop)
    with state.transaction() as session:  # as a killed process leaves it
        cut = session.scalars(select(Turn).order_by(Turn.requested_at.desc())).first()
        cut.status, cut.error = "running", None
    assert "running, but its process was killed" in " ".join(tidemill("status").split())
    assert "any more: it was killed" in tidemill("runs", "stop", error=RunNotFound)
    assert "it takes no --as-of" in tidemill("run", "--resume", "--promote", error=UsageError)
    head, params = git(project.root, "rev-parse", "HEAD"), project.root / "params.yaml"
    for old, new, said in (
        ("trials: 3", "trials: 4", r"since it began, settings \(trials: 3, now 4\) changed"),
        ("gate:", "gate:\n  floor: 0.1", r"params\.yaml has changes that no commit holds"),
    ):
        before = params.read_text()
        assert old in before
        params.write_text(before.replace(old, new, 1))
        assert re.search(said, " ".join(tidemill("run", "--resume", error=TrainingError).split()))
        params.write_text(before)
    assert git(project.root, "rev-parse", "HEAD") == head, "nothing was committed before it was refused"
    lines = tidemill("run", "--resume", "--json").splitlines()
    turn = json.loads(lines[-1])
    assert (turn["status"], get_version(project, turn["version"]).trained.trials) == ("registered", 3)
    said = tidemill("runs", "logs", turn["run_id"])
    assert said.count("finished") == 4
    assert [said.count(f"line-0{number}") >= 1 for number in range(4)] == [True, True, True, False]
    with state.transaction() as session:
        acts = session.execute(select(AuditEntry.action, AuditEntry.resource_id).order_by(AuditEntry.seq))
        done = [action for action, what in acts if what == turn["turn"]]
    assert done == ["start", "stop", "start"]
    state.close()
