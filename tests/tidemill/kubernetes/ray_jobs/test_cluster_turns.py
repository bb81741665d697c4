"""Turns and scoring as RayJobs, against kmock: one for each, whatever dies, and what becomes of failures."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import tidemill.retraining.controller
from tests.tidemill.kubernetes.api_server import ApiServer, away
from tests.tidemill.retraining.test_controller import put_turn
from tests.tidemill.retraining.test_loop_declarations import GOOD, project_with
from tests.warm_commands import command
from tidemill.clock import ReplayClock
from tidemill.errors import ClusterError, ConfigError, TurnInProgress
from tidemill.kubernetes.cluster_api import RAY_JOBS
from tidemill.kubernetes.cluster_controller import elsewhere
from tidemill.kubernetes.ray_jobs import cluster_turns
from tidemill.kubernetes.ray_jobs.cluster_jobs import ClusterJobs
from tidemill.kubernetes.ray_jobs.cluster_scoring import ClusterScoring
from tidemill.kubernetes.ray_jobs.cluster_turns import ClusterTurns
from tidemill.kubernetes.ray_jobs.ray_job_manifest import KIND, RELEASE
from tidemill.project import Project, load_project
from tidemill.project.kubernetes_config import KubernetesConfig
from tidemill.retraining.by_hand.acts_by_hand import do
from tidemill.retraining.cancelling.cancelled_turns import cancel_turn
from tidemill.retraining.controller import Controller, Elsewhere
from tidemill.retraining.handed_over.recorded_turns import begin_turn, hands_over, running_turns
from tidemill.retraining.turns.turn import turn_lock
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.state.tables import BatchRun, Turn

pytestmark = pytest.mark.engine  # importing the controller takes as long as if one were used

NOW = datetime(2013, 5, 1, tzinfo=UTC)
REQUEST = TurnRequest(as_of=NOW, reason="r", actor="policy:decay")
POD = {"spec": {"containers": [{"name": "ray"}]}}
TEMPLATE = {
    "kind": "RayJob",
    "metadata": {"labels": {"app.kubernetes.io/instance": "shop", RELEASE: "shop-flights"}},
    "spec": {
        "rayClusterSpec": {
            "headGroupSpec": {"rayStartParams": {}, "template": POD},
            "workerGroupSpecs": [{"groupName": "workers", "template": POD}],
        }
    },
}
SCHEDULE = {
    "schedules": [
        {
            "name": "nightly",
            "input": "in/{slot:%Y}.csv",
            "output": "out/{slot:%Y-%m-%dT%H%M}",
            "every": "1d",
            "tries": 2,
            "retry_after": "10m",
        }
    ]
}


class Shop:
    """A project, its records, and the jobs of a controller."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        for key in list(server.objects):
            del server.objects[key]
        self.server = server
        self.file = folder / "ray-job.yaml"
        self.file.write_text(yaml.safe_dump(TEMPLATE))
        (folder / "shop").mkdir()
        self.project = project_with(folder / "shop", **GOOD, schedules=SCHEDULE)
        self.state = open_state(self.project.state_url)

    def jobs(self, **config: Any) -> ClusterJobs:
        return ClusterJobs(self.server.client(), self.file, KubernetesConfig(**config))

    def turns(self) -> ClusterTurns:
        """Those of a controller that begins."""
        return ClusterTurns(self.jobs(), shared=False)

    def turn(self, turn_id: str) -> Turn:
        with self.state.transaction() as session:
            return session.get_one(Turn, turn_id)

    def status(self, name: str, **status: str) -> None:
        self.server.put(RAY_JOBS, name, status=status)

    @property
    def names(self) -> list[str]:
        return sorted(one["metadata"]["name"] for one in self.server.client().list(RAY_JOBS, {}))


@pytest.fixture
def shop(server: ApiServer, tmp_path: Path):
    made = Shop(server, tmp_path)
    yield made
    made.state.close()


def attend(shop: Shop, turns: ClusterTurns) -> None:
    """While a turn is being made."""
    with pytest.raises(TurnInProgress, match="is made by a RayJob"):
        turns.attend(shop.project, shop.state)


def test_a_turn_is_on_record_before_its_job_and_never_has_two(shop: Shop):
    shop.server.refusals.append(away)
    with pytest.raises(ClusterError):
        shop.turns().begin(shop.project, shop.state, REQUEST)
    [turn] = running_turns(shop.project, shop.state)
    assert shop.names == []
    with pytest.raises(TurnInProgress, match="has not ended"):
        shop.turns().begin(shop.project, shop.state, REQUEST)
    name = turn.id.replace("_", "-")
    for turns in (shop.turns(), shop.turns()):  # the second one adopts it
        attend(shop, turns)
        assert shop.names == [name]
    shop.jobs().start(name, "turn", turn.id, ["another"], shared=False)
    words = shop.server.spec(RAY_JOBS, name)["entrypoint"].split()
    assert words[-4:] == ["--name", name, "turn", turn.id], "AlreadyExists is no second one"


def test_a_job_that_runs_is_left_alone_and_one_that_is_done_has_ended_its_turn(shop: Shop):
    turns = shop.turns()
    turn = turns.begin(shop.project, shop.state, REQUEST)
    [name] = shop.names
    shop.status(name, jobDeploymentStatus="Running", jobStatus="RUNNING")
    attend(shop, turns)
    assert shop.turn(turn.id).status == "running"
    with shop.state.transaction() as session:
        session.get_one(Turn, turn.id).status = "refused"
    shop.status(name, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED", endTime="2026-01-01T00:00:00Z")
    turns.attend(shop.project, shop.state)
    assert shop.turn(turn.id).status == "refused"
    assert shop.names == [], "it was kept for an hour"


def test_a_job_that_failed_fails_its_turn_with_its_words_and_last_lines(shop: Shop, caplog):
    turns = shop.turns()
    turn = turns.begin(shop.project, shop.state, REQUEST)
    [name] = shop.names
    shop.status(name, jobDeploymentStatus="Failed", reason="AppFailed", message="exit code -9")
    with turn_lock(shop.project, shop.state):  # of the last try, which is still at work
        attend(shop, turns)
    assert shop.turn(turn.id).status == "running"
    shop.project.logs.mkdir(parents=True, exist_ok=True)
    (shop.project.logs / f"job-{name}.log").write_text("\n".join(f"trial {n}" for n in range(1, 31)))
    turns.attend(shop.project, shop.state)
    failed = shop.turn(turn.id)
    assert failed.status == "failed"
    assert (failed.error or "").splitlines()[0].endswith("AppFailed: exit code -9")
    assert (failed.error or "").splitlines()[1:] == [f"trial {n}" for n in range(11, 31)]
    turns.attend(shop.project, shop.state)
    assert shop.names == [name], "it is neither made again nor deleted yet"


def test_a_job_whose_turn_has_ended_is_cancelled(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    turns = shop.turns()
    turn = turns.begin(shop.project, shop.state, REQUEST)
    with shop.state.transaction() as session:
        session.get_one(Turn, turn.id).status = "promoted"
    others = {"app.kubernetes.io/instance": "shop", RELEASE: "shop-prices", KIND: "turn"}
    body = {"metadata": {"name": "turn-of-prices", "labels": others}}
    shop.server.client().create(RAY_JOBS, body)
    turns.attend(shop.project, shop.state)
    assert len(shop.names) == 2, "KubeRay sees its end a little later"
    monkeypatch.setattr(cluster_turns, "_LATE", timedelta(0))
    turns.attend(shop.project, shop.state)
    assert shop.names == ["turn-of-prices"], "another project of the release has it made"


def test_the_job_of_a_cancelled_turn_is_deleted_at_once(shop: Shop, caplog):
    turns = shop.turns()
    turn = turns.begin(shop.project, shop.state, REQUEST)
    attend(shop, turns)
    cancel_turn(shop.project, shop.state, None, "ada", "the labels are wrong")
    turns.attend(shop.project, shop.state)
    assert shop.names == []
    assert "cancelled by ada in step data: the labels are wrong" in caplog.text
    assert shop.turn(turn.id).status == "cancelled"


def test_a_turn_that_a_person_asks_for_becomes_a_job_in_the_next_round(shop: Shop):
    params = shop.project.root / "params.yaml"
    params.write_text(
        yaml.safe_dump(yaml.safe_load(params.read_text()) | {"kubernetes": {"turns": "rayjob"}})
    )
    project = load_project(shop.project.root, Settings(hand_over_turns=True))
    asked = {"act": "retrain", "reason": "r", "actor": "ada"}
    done = do(project, shop.state, asked)["done"]
    assert done["status"] == "running"
    assert shop.names == []
    attend(shop, shop.turns())
    assert shop.names == [done["turn"].replace("_", "-")]
    assert shop.turn(done["turn"]).actor == "ada"
    again = do(project, shop.state, asked)
    assert again["error"]["kind"] == "TurnInProgress"
    assert not hands_over(load_project(project.root, Settings())), "where the installation does not say so"


def test_the_controller_makes_no_turn_itself_while_the_api_is_away(shop: Shop):
    turn = begin_turn(shop.project, shop.state, REQUEST)
    controller = Controller(
        shop.project, shop.state, ReplayClock(NOW), elsewhere=Elsewhere(shop.turns(), lambda *_: None)
    )
    shop.server.refusals += [away]
    assert [one.part for one in controller.tick().failures] == ["recovery"]
    assert shop.turn(turn.id).step == "data"
    found = controller.tick()
    assert (found.decision, found.failures) == (None, ())
    assert len(shop.names) == 1


def test_the_controller_leaves_monitors_to_a_job_of_the_cluster(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    monkeypatch.setattr(tidemill.retraining.controller, "run_due", lambda *given: asked.append(given) or [])
    for monitors in (True, False):
        place = Elsewhere(None, lambda *_: None, monitors)
        Controller(shop.project, shop.state, ReplayClock(NOW), elsewhere=place).tick()
        assert len(asked) == (not monitors)


def test_a_slot_has_one_job_a_try_and_a_dead_one_counts(shop: Shop):
    scoring = ClusterScoring(shop.jobs(retries=3), shared=False)
    assert scoring(shop.project, shop.state, NOW) == ["nightly"]
    assert scoring(shop.project, shop.state, NOW) == [], "it is under way"
    [first] = shop.names
    assert first.startswith("score-nightly-2013-05-01")
    spec = shop.server.spec(RAY_JOBS, first)
    assert spec["backoffLimit"] == 0
    assert "nightly 2013-05-01T00:00:00+00:00" in spec["entrypoint"]
    shop.status(first, jobDeploymentStatus="Failed", message="no node has 8Gi")
    assert scoring(shop.project, shop.state, NOW) == []
    with shop.state.transaction() as session:
        [run] = session.query(BatchRun).all()
    assert (run.status, run.tries) == ("failed", 1)
    assert "no node has 8Gi" in run.error
    assert scoring(shop.project, shop.state, NOW) == [], "not yet"
    later = NOW + timedelta(minutes=10)
    assert scoring(shop.project, shop.state, later) == ["nightly"]
    assert len(shop.names) == 2
    shop.server.refusals.append(away)
    assert scoring(shop.project, shop.state, later) == []


def test_the_settings_say_who_makes_turns(shop: Shop):
    def project(config: dict[str, Any], **settings: Any) -> Project:
        params = shop.project.root / "params.yaml"
        given = yaml.safe_load(params.read_text()) | {"kubernetes": config}
        params.write_text(yaml.safe_dump(given))
        return load_project(shop.project.root, Settings(**settings))

    assert elsewhere(project({})) == Elsewhere()
    assert elsewhere(project({}, monitors_elsewhere=True)) == Elsewhere(monitors=True)
    with pytest.raises(ConfigError, match="asks for RayJobs"):
        elsewhere(project({"turns": "rayjob"}))
    there = {"kubernetes_url": shop.server.url, "ray_job": str(shop.file)}
    with pytest.raises(ConfigError, match="there is no RayCluster"):
        elsewhere(project({"turns": "cluster"}, **there))
    assert elsewhere(project({"turns": "cluster", "cluster": "training"}, **there)).turns is not None
    found = elsewhere(project({"scoring": "rayjob"}, **there))
    assert found.turns is None
    assert isinstance(found.scoring, ClusterScoring)


def test_what_a_job_runs_ends_its_turn_and_writes_its_log_where_it_stays(shop: Shop):
    put_turn(shop.state)
    job = ["-m", "tidemill.kubernetes.ray_jobs.job_process", "--project", shop.project.root]
    done = subprocess.run(command(*job, "--name", "turn-1", "turn", "turn_1"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # what is on record as failed is not tried again
    assert shop.turn("turn_1").status == "failed"
    log = (shop.project.logs / "job-turn-1.log").read_text()
    assert "no-such-run" in log
