"""A round of the controller: each part runs, whatever fails in another. No engine is needed for that."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.tidemill.alerting.test_alert_states import findings, run_monitor
from tests.tidemill.retraining.test_loop_declarations import GOOD, project_with
from tidemill.clock import ReplayClock
from tidemill.errors import ConfigError, TurnInProgress
from tidemill.project import Project
from tidemill.project.serve_config import RolloutConfig, ServeConfig
from tidemill.retraining.controller import Controller
from tidemill.retraining.turns.turn import _record, make_turn, turn_lock
from tidemill.retraining.turns.turn_begin import TurnRequest, count_turns
from tidemill.retraining.turns.turn_steps import StepResult
from tidemill.state import State, open_state
from tidemill.state.tables import Alert, Claim, ReplicaState, Turn

pytestmark = pytest.mark.engine

NOW = datetime(2013, 5, 1, tzinfo=UTC)


def put_turn(state: State, **values: Any) -> None:
    given = {
        "id": "turn_1", "model": "toy", "trigger": "manual", "reason": "r", "actor": "a", "promote": True,
        "overrides": {}, "as_of": NOW, "status": "running", "step": "register", "run_id": "no-such-run",
        "seconds": {}, "requested_at": NOW,
    }  # fmt: skip
    with state.transaction() as session:
        session.add(Turn(**{**given, **values}))


def tick(project: Project) -> tuple[Any, State]:
    state = open_state(project.state_url)
    return Controller(project, state, ReplayClock(NOW)).tick(), state


def test_a_quiet_round(tmp_path: Path):
    found, state = tick(project_with(tmp_path, **GOOD))
    state.close()
    assert (found.monitor_runs, found.decision, found.turn, found.failures) == ((), None, None, ())


def test_wrong_files_stop_neither_each_other_nor_the_recovery(tmp_path: Path):
    project = project_with(tmp_path, monitors=GOOD["monitors"], policies={"policies": 5})
    state = open_state(project.state_url)
    put_turn(state)
    found = Controller(project, state, ReplayClock(NOW)).tick()
    assert [(one.part, type(one.error)) for one in found.failures] == [("policies", ConfigError)]
    with state.transaction() as session:
        turn = session.get_one(Turn, "turn_1")
    assert turn.status == "failed"  # it was taken up, though its run is gone
    assert "no-such-run" in (turn.error or "")
    (tmp_path / "monitoring" / "policies.yaml").write_text("policies: []")
    assert Controller(project, state, ReplayClock(NOW)).tick().failures == ()  # mended: no restart is needed
    state.close()


def test_a_round_tells_of_alerts_and_a_replay_does_not(tmp_path: Path):
    team = {"name": "team", "url_env": "TEAM_URL"}
    weekly = {"name": "weekly", "window": "7d", "every": "1d", "quality": {}}
    routes = {"receivers": [team], "routes": [{"receivers": ["team"]}]}
    project = project_with(tmp_path, routes=routes, monitors={"monitors": [weekly]})
    state = open_state(project.state_url)
    run_monitor(state, findings("quality"), day=0)
    with state.transaction() as session:
        session.execute(update(Alert).values(model=project.model))
    sent: list[str] = []
    assert Controller(project, state, ReplayClock(NOW)).tick().failures == ()
    assert sent == []
    controller = Controller(
        project, state, ReplayClock(NOW), send=lambda receiver, _: sent.append(receiver.name)
    )
    assert controller.tick().failures == ()
    assert sent == ["team"]
    (tmp_path / "monitoring" / "routes.yaml").write_text("routes: 5")
    assert [one.part for one in controller.tick().failures] == ["messages about alerts"]
    state.close()


def test_while_another_process_makes_a_turn_nothing_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TIDEMILL_STATE_URL", f"sqlite:///{tmp_path / 'state.db'}")
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    here, elsewhere = (project_with(tmp_path / name, **GOOD) for name in ("here", "elsewhere"))
    state = open_state(here.state_url)
    with turn_lock(here, state) as claim:
        put_turn(state)
        for project in (here, elsewhere):  # a checkout on another machine shares the records alone
            found = Controller(project, state, ReplayClock(NOW)).tick()
            assert (found.decision, found.failures) == (None, ())
            with pytest.raises(TurnInProgress, match=r"making a turn .* for toy: this process"):
                Controller(project, state, ReplayClock(NOW)).recover()
        with state.transaction() as session:
            assert session.get_one(Turn, "turn_1").step == "register"  # it was not taken up
            session.get_one(Claim, ("toy", "turn")).id = "claim_of_another"
            turn = session.get_one(Turn, "turn_1")
        with pytest.raises(TurnInProgress):
            _record(claim, turn, StepResult({}, status="promoted"))
    with state.transaction() as session:
        assert session.get_one(Turn, "turn_1").status == "running"
    state.close()


def test_a_turn_that_was_decided_before_another_one_was_made_is_decided_anew(tmp_path: Path):
    project = project_with(tmp_path, **GOOD)
    state = open_state(project.state_url)
    request = TurnRequest(NOW, "drift", "policy:decay", policy="decay", turns_before=0)
    put_turn(state, status="refused")  # by another controller, since
    with pytest.raises(TurnInProgress, match="made since this one was decided"):
        make_turn(project, state, request)
    with state.transaction() as session:
        assert count_turns(session, "toy") == 1
        assert count_turns(session, "other") == 0
    state.close()


def test_what_becomes_of_a_version(tmp_path: Path):
    project = project_with(tmp_path, **GOOD)
    state = open_state(project.state_url)
    replay, live = (
        Controller(project, state, ReplayClock(NOW), rolls_out=rolls_out) for rolls_out in (False, True)
    )
    assert [live._action(each, NOW) for each in ("ask", "record", "promote")] == ["ask", "record", "promote"]
    assert (live._action("rollout", NOW), live._action(None, NOW)) == ("promote", "promote")  # none serves
    with state.transaction() as session:
        session.add(ReplicaState(id="r1", model=project.model, seen_at=datetime.now(UTC)))
    assert (live._action("rollout", NOW), live._action(None, NOW)) == ("rollout", "promote")  # no traffic
    serve = ServeConfig(rollout=RolloutConfig(proof={"days": 14}))
    asks = replace(project, config=project.config.model_copy(update={"serve": serve}))
    assert Controller(asks, state, ReplayClock(NOW), rolls_out=True)._action(None, NOW) == "rollout"
    assert replay._action("rollout", NOW) == "promote"
    assert (live._action("shadow", NOW), replay._action("shadow", NOW)) == ("shadow", "record")
    state.close()
