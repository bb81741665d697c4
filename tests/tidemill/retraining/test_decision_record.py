"""What policies see in the records, and what of their decisions is kept: once for each cause and reason."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from tests.tidemill.retraining.test_loop_declarations import GOOD, project_with
from tidemill.cli.main import app
from tidemill.project import Project
from tidemill.retraining.by_hand.past_facts import gather_then
from tidemill.retraining.by_hand.policy_judgement import judge_policies_then
from tidemill.retraining.decision_record import record_decisions
from tidemill.retraining.policies import load_policies
from tidemill.retraining.policy_facts import Retrain
from tidemill.retraining.situation import gather, judge_all
from tidemill.retraining.turns.turn_begin import TurnRequest, record_begin
from tidemill.state import State, open_state
from tidemill.state.tables import Alert, AlertStep, MonitorRun, PolicyDecision, Promotion, Turn

NOW = datetime(2013, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return project_with(tmp_path, **GOOD)


@pytest.fixture
def state(project: Project):
    """An alert about version 1, which the turn of a person made twenty days ago."""
    found = open_state(project.state_url)
    with found.transaction() as session:
        session.add(_turn("turn_1", NOW - 20 * DAY, version="1", inputs={"labels": 400}))
        session.add(_run("mon_1", NOW))
        session.flush()
        session.add(
            Alert(
                id="alert_1", monitor="weekly", model="toy", version="1", kind="data_drift",
                severity="warning", message="it drifts", details={"drifted": ["a"]},
                monitor_run_id="mon_1", status="firing",
                raised_at=NOW, last_seen_at=NOW,
            )
        )  # fmt: skip
    yield found
    found.close()


def _turn(name: str, as_of: datetime, **values: Any) -> Turn:
    given = {
        "id": name, "model": "toy", "trigger": "manual", "reason": "r", "actor": "a", "promote": True,
        "overrides": {}, "as_of": as_of, "status": "promoted", "step": "end", "seconds": {},
        "requested_at": NOW,
    }  # fmt: skip
    return Turn(**{**given, **values})


def _run(name: str, at: datetime) -> MonitorRun:
    return MonitorRun(
        id=name, monitor="weekly", model="toy", version="1", window_start=at - DAY, window_end=at,
        rows=900, labelled=0, verdict="alert", results={}, report_path=None, at=at,
    )  # fmt: skip


def _promotion(version: str, at: datetime) -> Promotion:
    return Promotion(
        id=f"promotion_{version}", model="toy", alias="champion", to_version=version, kind="promotion",
        status="done", actor="a", reason="r", at=at, requested_at=at,
    )  # fmt: skip


def a_round(project: Project, state: State, now: datetime) -> Any:
    policies = load_policies(project)
    facts = gather(project, state, policies, "1", now)
    verdicts = judge_all(policies, facts, now)
    record_decisions(state, "toy", verdicts, facts.turns, now)
    return verdicts[0] if verdicts else None, facts


def on_record(state: State) -> list[tuple[str, str | None, int]]:
    with state.transaction() as session:
        rows = session.scalars(select(PolicyDecision).order_by(PolicyDecision.first_at, PolicyDecision.id))
        return [(row.verdict, row.rule, row.rounds) for row in rows]


def test_a_hold_is_on_record_once_and_the_turn_with_what_came_of_it(project: Project, state: State):
    due, facts = a_round(project, state, NOW)
    assert isinstance(due, Retrain)
    assert facts.situation.champion_since == NOW - 20 * DAY
    assert facts.situation.labels_learnt == 400
    request = TurnRequest(NOW, due.reason, "policy:decay", policy="decay", cause=due.cause.key)
    turn = record_begin(project, state, request)  # and no more, if it is killed now
    with state.transaction() as session:
        row = session.get_one(Turn, turn.id)
        row.question = {"answer": "refuse", "by": "ada", "comment": "the feed is late"}
        row.status, row.requested_at = "refused", NOW + DAY
    for hours in range(1, 4):
        a_round(project, state, NOW + timedelta(hours=hours))
    assert on_record(state) == [("retrain", None, 1), ("hold", "cooldown", 3)]
    arguments = ["policies", "history", "-p", str(project.root)]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert "cooling down until 2013-05-08" in shown.output
    assert f"turn {turn.id[:13]}" in shown.output
    told = CliRunner().invoke(app, ["status", "-p", str(project.root)], env={"COLUMNS": "200"}).output
    assert "decay held from 2013-05-01 01:00 to 2013-05-01 03:00: cooling" in told, "no round looked lately"
    assert "refused by ada: the feed is late" in told


def test_the_status_says_of_a_hold_that_is_over_that_it_was(project: Project, state: State):
    now = datetime.now(UTC)

    def told() -> str:
        shown = CliRunner().invoke(app, ["status", "-p", str(project.root)], env={"COLUMNS": "200"})
        return shown.output

    with state.transaction() as session:
        session.get_one(Alert, "alert_1").last_seen_at = now
        session.add(_turn("turn_2", now, status="asked", version="2", question={"approval": "ask_1"}))
    assert a_round(project, state, now)[0].code == "under_way"
    assert "version 2 waits for a second person: `tidemill approvals approve ask_1`" in told()
    assert "policy decay holds since" in " ".join(told().split())
    with state.transaction() as session:
        session.get_one(Turn, "turn_2").status = "promoted"
    assert "policy decay held from" in " ".join(told().split())
    shown = CliRunner().invoke(app, ["policies", "history", "-p", str(project.root)], env={"COLUMNS": "250"})
    assert shown.output.count("(what was under way has ended)") == 1
    assert a_round(project, state, now)[0].code == "cooldown"
    assert "policy decay holds since" in " ".join(told().split())
    with state.transaction() as session:
        session.get_one(Alert, "alert_1").status = "resolved"
    assert "(the alert is resolved)" in " ".join(told().split())


def test_a_turn_that_was_made_before_the_clock_went_back_holds_none_for_as_long(
    project: Project, state: State
):
    with state.transaction() as session:
        session.add(_turn("turn_2", NOW + 300 * DAY, status="refused", policy="decay"))
    due, facts = a_round(project, state, NOW)
    assert isinstance(due, Retrain)
    assert [each.id for each in facts.turns] == ["turn_1"]
    with state.transaction() as session:
        session.add(_turn("turn_3", NOW + timedelta(hours=1)))  # a clock that was set right by an hour
        session.add(_turn("turn_4", NOW + 200 * DAY, status="asked"))  # still waits for its answer
    assert a_round(project, state, NOW)[0].code == "under_way"
    assert [each.id for each in a_round(project, state, NOW)[1].turns] == ["turn_1", "turn_3", "turn_4"]


def test_about_another_version_nothing_is_asked(project: Project, state: State):
    facts = gather(project, state, load_policies(project), "2", NOW)
    assert (facts.alerts, judge_all(load_policies(project), facts, NOW)) == ((), [])


def test_the_past_is_judged_by_the_champion_the_alerts_and_the_turns_of_then(project: Project, state: State):
    """The alert was resolved after three days, came back after five, and is about the version before."""
    with state.transaction() as session:
        session.add_all([
            _promotion("1", NOW - 20 * DAY), _promotion("2", NOW + 10 * DAY),
            _turn("turn_2", NOW + 9 * DAY, version="2", question={"until": "2013-06-01"}, action="ask"),
        ])  # fmt: skip
        session.add(_run("mon_2", NOW + 5 * DAY))
        alert = session.get_one(Alert, "alert_1")
        alert.status, alert.last_seen_at = "resolved", NOW + 9 * DAY
        steps = {0: "firing", 1: "comment", 3: "resolved", 5: "reopened", 11: "resolved"}
        for day, step in steps.items():
            session.add(
                AlertStep(id=f"s{day}", alert_id="alert_1", step=step, at=NOW + day * DAY, person="ada")
            )

    def judged(days: float) -> tuple[str | None, str | None, str | None]:
        (told,) = judge_policies_then(project, state, NOW + days * DAY)
        return told["champion"], told["verdict"], told["rule"]

    assert judged(-30) == (None, None, None)
    assert judged(-1) == ("1", None, None)
    assert judged(1) == judged(6) == ("1", "retrain", None)
    assert judged(4) == ("1", None, None)
    assert judged(9.5) == ("1", "hold", "under_way"), "its version waits for an answer"
    assert judged(10) == ("1", "hold", "under_way"), "before what came of that very moment"
    assert judged(11) == ("2", None, None)
    past = gather_then(project, state, load_policies(project), NOW + 6 * DAY)
    (alert,) = past.facts.alerts
    assert (alert.fired_at, alert.last_seen_at) == (NOW + 5 * DAY, NOW + 5 * DAY)
    assert "the numbers of alerts that were found again since (1)" in past.of_today
    line = ["policies", "explain", "--as-of", "2013-05-07", "-p", str(project.root)]
    said = " ".join(CliRunner().invoke(app, line).output.split())
    assert (
        "as of 2013-05-07 00:00 UTC, with version 1 serving, and the alerts and turns of then; of today"
        in said
    )


def test_list_and_explain_say_what_would_happen_now(
    project: Project, state: State, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tidemill.retraining.by_hand.past_facts.read_champion", lambda _folder: "1")
    run = CliRunner()
    listed = run.invoke(app, ["policies", "list", "--as-of", "2013-05-02", "-p", str(project.root)])
    assert "a turn is due: it drifts" in " ".join(listed.output.split()), listed.output
    with state.transaction() as session:
        session.get_one(Turn, "turn_1").as_of = NOW - 5 * DAY
    told = run.invoke(app, ["policies", "explain", "decay", "--as-of", "2013-05-02", "-p", str(project.root)])
    assert "✗ cooldown: cooling down until 2013-05-03" in told.output
    assert "? unchanged: whether what the stages read has changed cannot be seen" in told.output
    with state.transaction() as session:
        session.get_one(Turn, "turn_1").as_of = NOW - 20 * DAY
    with state.transaction() as session:
        session.add(_turn("turn_2", NOW - 40 * DAY, inputs={"sources": "same", "data": "d"}))
    monkeypatch.setattr("tidemill.retraining.situation._sources", lambda *_: "same")
    arguments = ["policies", "explain", "decay", "--as-of", "2013-05-02", "-p", str(project.root)]
    for moments, said in ((False, "? unchanged: files and parameters are"), (True, "✗ unchanged: neither")):
        monkeypatch.setattr("tidemill.retraining.situation.tell_all", lambda _, known=moments: known)
        assert said in run.invoke(app, arguments).output
    monkeypatch.setattr("tidemill.retraining.situation._sources", lambda *_: "other")
    assert "✓ unchanged" in run.invoke(app, arguments).output
    assert on_record(state) == []
    wrong = run.invoke(app, ["policies", "explain", "other", "-p", str(project.root)])
    assert "there is no policy 'other'" in str(wrong.exception)
