import json
import re
import sys
from datetime import timedelta
from io import StringIO

import pytest
from sqlalchemy import select

from tests.tidemill.dashboard.pages.conftest import ended
from tests.tidemill.dashboard.test_door import client_of
from tidemill.accounts.identities import Identity
from tidemill.dashboard import acting
from tidemill.dashboard.pages.decisions import champion_acts
from tidemill.errors import DecisionOutdated
from tidemill.files.locks import is_locked, locked
from tidemill.retraining.by_hand import acts_by_hand
from tidemill.retraining.by_hand.asked_act_record import act_lock, begin_record
from tidemill.state.tables import AskedAct, StageMove

MODEL = "/models/parcel-delay"
CANCEL = "turns/turn_1/cancel"


@pytest.fixture
def other_process(monkeypatch, tmp_path):
    """Let another program stand for the one with the engines: it keeps what it is asked, and answers."""

    def answers(answer):
        program = (
            "import sys; asked = sys.stdin.read(); "
            f"open({str(tmp_path / 'asked.json')!r}, 'w').write(asked); print({json.dumps(answer)!r})"
        )
        monkeypatch.setattr(acting, "_command", lambda project: [sys.executable, "-c", program])

    answers.asked = lambda: json.loads((tmp_path / "asked.json").read_text())
    return answers


def staged(number, at):
    return StageMove(
        id=f"stage_{number}", model="parcel-delay", stage="staging", from_version=None, kind="promotion",
        to_version=str(number), status="done", reasons=[], numbers={}, actor="ada", reason="", at=at,
        requested_at=at + timedelta(seconds=number),
    )  # fmt: skip


def test_a_promotion_says_what_will_happen_and_is_made_with_its_reason(
    browser, add, make_move, make_turn, make_rollout, send, other_process, installation
):
    add(make_move(2), make_turn(), make_rollout(version="9"))
    page = browser.get(f"{MODEL}/promote?version=3").text
    assert "If it refuses, nothing changes" in page
    assert "The rollout of version 9 ends with that" in page
    assert '<option value="3">' in page
    other_process({"done": {"from": "2", "to": "3", "decision": "gate_1"}})
    done = send(f"{MODEL}/promote", version="3", reason="it is better", champion="2")
    assert "Version 3 serves now; before: 2" in done.text
    asked = other_process.asked()
    assert asked["caller"]["kind"] == "open"  # the audit log names it, with its address
    assert {name: asked[name] for name in ("act", "version", "reason", "champion", "actor")} == {
        "act": "promote",
        "version": "3",
        "reason": "it is better",
        "champion": "2",
        "actor": installation.home.settings.who,
    }


def test_a_version_is_put_into_a_stage_by_the_same_form(
    browser, add, make_move, send, other_process, installation
):
    with (installation.home.root / "params.yaml").open("a") as params:
        params.write("\nstages: [{name: staging}, {name: shop}]\n")
    add(make_move(2))
    page = browser.get(f"{MODEL}/promote?version=3&stage=staging").text
    assert "Put version 3 of parcel-delay into staging" in page
    assert "What serves stays as it is" in page
    assert f'href="{MODEL}/promote?version=3&amp;stage=shop"' in page
    other_process({"done": {"from": None, "to": "3", "stage": "staging"}})
    done = send(f"{MODEL}/promote", version="3", reason="to be tried", champion="2", stage="staging")
    assert "Version 3 is in staging; before: none" in done.text
    assert f'href="{MODEL}/versions/3"' in done.text
    assert other_process.asked()["stage"] == "staging"


def test_a_version_is_taken_back_from_a_stage_by_the_form_of_rollbacks(
    browser, add, make_move, send, other_process, installation, monkeypatch, now
):
    with (installation.home.root / "params.yaml").open("a") as params:
        params.write("\nstages: [{name: staging}]\n")
    add(make_move(2), *(staged(number, now) for number in (3, 4)))
    monkeypatch.setattr(champion_acts, "read_alias_names", lambda project: {"staging": "4"})
    page = browser.get(f"{MODEL}/roll-back?stage=staging").text
    assert "Roll back staging of parcel-delay" in page
    assert "Version <strong>3</strong>, which was there before, gets the alias" in page
    other_process({"done": {"from": "4", "to": None, "stage": "staging"}})
    done = send(f"{MODEL}/roll-back", version="4", reason="it is worse", stage="staging")
    assert "No version is in staging; before: 4" in done.text
    assert f'href="{MODEL}/versions/4"' in done.text
    asked = other_process.asked()
    assert [asked[name] for name in ("act", "stage", "version")] == ["roll-back", "staging", "4"]
    unknown = browser.get(f"{MODEL}/roll-back?stage=tests").text
    assert "params.yaml declares no stage tests" in unknown


def test_a_refusal_of_the_gate_leads_to_its_reasons_and_keeps_what_was_written(
    browser, add, make_move, make_gate, send, other_process
):
    add(make_move(2), make_gate())
    other_process(
        {
            "error": {
                "kind": "GateRefused",
                "message": "the gate refused it",
                "hint": None,
                "decision": "gate_1",
            }
        }
    )
    refused = send(f"{MODEL}/promote", version="3", reason="it is <better>", champion="2")
    assert "Not done: promote version 3" in refused.text
    assert f'href="{MODEL}/decisions/gate_1"' in refused.text
    assert "it is &lt;better&gt;" in refused.text


def test_who_comes_second_is_told_who_was_first(browser, add, make_move, send, other_process):
    add(make_move(2), make_move(4, actor="eve"))
    other_process({"done": {"from": "2", "to": "3"}})
    for act in ("promote", "roll-back"):
        late = send(f"{MODEL}/{act}", version="3", reason="mine", champion="2")
        assert late.status_code == 409
        assert "eve was first: version 4 serves" in late.text
    with pytest.raises(FileNotFoundError):
        other_process.asked()


def test_a_rollback_goes_to_the_champion_before_or_the_one_that_is_chosen(
    browser, add, make_move, send, other_process
):
    add(make_move(1), make_move(2), make_move(3))
    twin = browser.get(f"/api/v1{MODEL}/roll-back").json()
    assert (twin["to"], twin["versions"]) == ("2", ["2", "1"])
    other_process({"done": {"from": "3", "to": "1"}})
    assert (
        "Version 1 serves again" in send(f"{MODEL}/roll-back", version="1", reason="worse", champion="3").text
    )
    assert other_process.asked()["act"] == "roll-back"


def test_without_an_earlier_champion_there_is_nothing_to_go_back_to(browser, add, make_move):
    add(make_move(1))
    assert "nothing to go back to" in browser.get(f"{MODEL}/roll-back").text


@pytest.mark.parametrize(
    ("act", "form"),
    [
        ("promote", {"version": "3"}),
        ("roll-back", {"version": "3"}),
        ("retrain", {}),
        ("rollouts/roll_1/stop", {}),
        ("turns/turn_1/answer", {"answer": "approve"}),
    ],
)
def test_every_act_needs_a_reason_and_the_folder(add, make_rollout, make_turn, send, folder, act, form):
    add(make_rollout(), make_turn(status="asked"))
    wrong = send(f"{MODEL}/{act}", **form, reason="")
    assert wrong.status_code == 422
    assert "reason" in wrong.text
    (folder / "params.yaml").unlink()
    away = send(f"{MODEL}/{act}", **form, reason="because")
    assert away.status_code == 409
    assert "is not on this machine" in away.text
    assert "because" in away.text


def test_a_rollout_is_stopped_once(browser, add, make_rollout, send, other_process, now):
    add(make_rollout(), make_rollout("roll_2", status="stopped", outcome="eve did", finished_at=now))
    assert "version 2 answers everything" in browser.get(f"{MODEL}/rollouts/roll_1/stop").text
    other_process({"done": {"version": "3"}})
    assert "is stopped" in send(f"{MODEL}/rollouts/roll_1/stop", reason="slow").text
    assert other_process.asked()["rollout"] == "roll_1"
    late = send(f"{MODEL}/rollouts/roll_2/stop", reason="slow")
    assert late.status_code == 409
    assert "eve did" in late.text


def test_a_version_that_waits_is_approved_and_the_second_answer_names_the_first(
    browser, add, make_turn, send, other_process
):
    said = {"answer": "refuse", "by": "eve", "comment": "no", "at": "2013-07-01T00:00:00+00:00"}
    add(make_turn(status="asked"), make_turn("turn_2", status="refused", question=said))
    assert "promoted at once" in browser.get(f"{MODEL}/turns/turn_1/answer").text
    other_process({"done": {"version": "3", "status": "promoted"}})
    assert (
        "Version 3 serves now" in send(f"{MODEL}/turns/turn_1/answer", answer="approve", reason="seen").text
    )
    asked = other_process.asked()
    assert (asked["approve"], asked["version"], asked["at_once"]) == (True, "3", False)
    late = send(f"{MODEL}/turns/turn_2/answer", answer="approve", reason="seen")
    assert late.status_code == 409
    assert "eve was first: refuse" in late.text


def test_at_most_one_turn_is_made(browser, add, make_turn, send):
    add(make_turn(status="running", step="train"))
    assert "there is at most one" in browser.get(f"{MODEL}/retrain").text
    late = send(f"{MODEL}/retrain", reason="mine")
    assert late.status_code == 409
    assert "ada asked for it" in late.text


def test_a_turn_that_cannot_begin_says_why(send, monkeypatch):
    program = "import sys; sys.exit('2013 INFO x\\n2013 ERROR no data here')"
    monkeypatch.setattr(acting, "_command", lambda project: [sys.executable, "-c", program])
    answer = send(f"{MODEL}/retrain", reason="mine")
    assert answer.status_code == 409
    assert "the turn did not begin: no data here" in answer.text
    assert "not a moment" in send(f"{MODEL}/retrain", reason="mine", as_of="soon").text


def test_a_turn_goes_on_by_itself_when_it_is_on_record(browser, send, monkeypatch, installation):
    database = str(installation.records.path)
    columns = (
        "id, model, trigger, reason, actor, promote, overrides, as_of, status, step, seconds, requested_at"
    )
    values = "'turn_new', 'parcel-delay', 'manual', 'r', 'a', 1, '{}', ?, 'running', 'data', '{}', ?"
    statement = f"INSERT INTO turns ({columns}) VALUES ({values})"
    program = (
        "import sqlite3, sys; sys.stdin.read(); now = '2013-07-01 00:00:00.000000';"
        f"records = sqlite3.connect({database!r}, timeout=20);"
        f"records.execute({statement!r}, (now, now)); records.commit()"
    )
    monkeypatch.setattr(acting, "_command", lambda project: [sys.executable, "-c", program])
    page = send(f"{MODEL}/retrain", reason="mine")
    assert str(page.url).endswith("/turns/turn_new")
    assert "The turn has begun" in page.text


def test_a_process_that_dies_is_said_to_have(browser, add, make_move, send, monkeypatch):
    add(make_move(2))
    program = "import os, sys; print('out of memory', file=sys.stderr); os._exit(9)"
    monkeypatch.setattr(acting, "_command", lambda project: [sys.executable, "-c", program])
    asked = {"version": "3", "reason": "x", "champion": "2"}
    answer = send(f"{MODEL}/promote", **asked)
    assert "It failed: promote version 3" in answer.text
    assert "ended with 9: out of memory" in answer.text
    token = {"x-csrf-token": re.search(r'name="csrf" content="(\w+)"', answer.text)[1]}
    said = browser.post(f"/api/v1{MODEL}/promote", json=asked, headers=token)  # a program waits for the end
    assert (said.status_code, "ended with 9" in said.text) == (409, True)


def test_what_is_being_done_is_not_done_twice_and_its_page_outlives_the_dashboard(
    browser, add, make_move, send, monkeypatch, installation, tmp_path
):
    add(make_move(2))
    go, begun = tmp_path / "go", tmp_path / "begun"
    program = (
        "import json, pathlib, sys, time; sys.stdin.read()\n"
        f"pathlib.Path({str(begun)!r}).open('a').write('x')\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)\n"
        "print(json.dumps({'done': {'from': '2', 'to': '3'}}))"
    )
    monkeypatch.setattr(acting, "_command", lambda project: [sys.executable, "-c", program])
    form = {"wait": False, "version": "3", "champion": "2"}
    first, second = (send(f"{MODEL}/promote", **form, reason=why) for why in ("x", "once more"))
    assert first.url == second.url
    for told in ("Being done: promote version 3", 'http-equiv="refresh"', "Look again", "data-reload"):
        assert told in first.text
    assert (
        f'href="{first.url.path}">Promote version 3, asked for by' in browser.get(f"{MODEL}/decisions").text
    )
    with installation.state.transaction() as session:  # as if it had begun before the machine was stopped
        [act] = session.scalars(select(AskedAct))
        act.asked_at -= timedelta(minutes=2)
    assert "Broken off" in browser.get(str(first.url)).text
    with locked(act_lock(installation.home.home, act.id)):  # as while it goes on without this dashboard
        assert "Being done" in browser.get(str(first.url)).text
        go.touch()
        assert "Version 3 serves now" in ended(browser, first).text
    assert begun.read_text() == "x"


def test_the_process_of_an_act_records_its_end_itself(installation, monkeypatch):
    """Nobody may be left who waits for its answer."""
    home = installation.home
    asked = begin_record(installation.state, home, "promote", {"version": "3"}, actor="ada", reason="r")
    lock, held = act_lock(home.home, asked.id), []

    def promote(project, state, request):
        held.append(is_locked(lock))
        raise DecisionOutdated("eve was first")

    monkeypatch.setitem(acts_by_hand.ACTS, "promote", promote)
    monkeypatch.setattr(sys, "stdin", StringIO(json.dumps({"act": "promote", "record": asked.id})))
    acts_by_hand.main(["--project", str(home.root)])
    [act] = installation.records.select("asked_acts", "1 = 1")
    assert (act.status, act.result["message"]) == ("refused", "eve was first")
    assert (held, lock.exists()) == ([True], False)


def test_a_turn_is_cancelled_with_a_reason_and_only_before_it_promotes(browser, add, make_turn, send):
    add(make_turn(status="running", step="train"), make_turn("turn_2", status="promoted"))
    assert f'href="{MODEL}/{CANCEL}"' in browser.get(f"{MODEL}/turns/turn_1").text
    assert "Nothing of it is promoted" in browser.get(f"{MODEL}/{CANCEL}").text
    assert send(f"{MODEL}/{CANCEL}", reason="").status_code == 422
    done = send(f"{MODEL}/{CANCEL}", reason="the labels are <wrong>")
    assert "The turn is cancelled" in done.text
    assert "in step train: the labels are &lt;wrong&gt;" in done.text
    assert f'href="{MODEL}/{CANCEL}"' not in done.text
    assert send(f"{MODEL}/{CANCEL}", reason="again").status_code == 409
    assert "It has ended already: promoted" in browser.get(f"{MODEL}/turns/turn_2/cancel").text


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", set()),
        ("data-scientist", {"retrain", CANCEL}),
        ("operator", {"roll-back", "rollouts/roll_1/stop", CANCEL}),
        (
            "ml-engineer",
            {"promote", "roll-back", "retrain", "rollouts/roll_1/stop", "turns/turn_1/answer", CANCEL},
        ),
    ],
)
def test_each_role_sees_and_does_what_it_may(installation, add, make_rollout, make_turn, role, allowed):
    add(make_rollout(), make_turn(status="asked"))
    person = Identity("person", "pat", {"parcels": frozenset({role})})
    acts = ("promote", "roll-back", "retrain", "rollouts/roll_1/stop", "turns/turn_1/answer", CANCEL)
    with client_of(installation, person) as client:
        assert {act for act in acts if client.get(f"{MODEL}/{act}").status_code == 200} == allowed
        refused = {act for act in acts if client.post(f"/api/v1{MODEL}/{act}", json={}).status_code == 403}
        assert refused == set(acts) - allowed
        shown = client.get(f"{MODEL}/decisions").text
        assert {act for act in acts[:3] if f'href="{MODEL}/{act}"' in shown} == allowed & set(acts[:3])
