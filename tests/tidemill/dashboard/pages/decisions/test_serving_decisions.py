from datetime import timedelta

import pytest

from tests.tidemill.dashboard.pages.conftest import INJECTED
from tidemill.files.locks import locked

MODEL = "/models/parcel-delay"


def moves(browser, query=""):
    return browser.get(f"/api/v1{MODEL}/decisions{query}").json()["moves"]


def test_who_served_when_has_no_gap_and_one_serves(browser, add, make_move, make_gate):
    add(
        make_move(1),
        make_gate(passed=True, candidate="2"),
        make_move(2, decision_id="gate_1"),
        make_move(3, status="superseded"),
        make_move(4, to_version="1", kind="rollback"),
    )
    found = moves(browser)
    assert [(one["version"], one["status"], one["serves"]) for one in found] == [
        ("1", "done", True),
        ("3", "superseded", False),
        ("2", "done", False),
        ("1", "done", False),
    ]
    assert [one["until"] for one in found] == [None, None, found[0]["at"], found[2]["at"]]
    assert (found[2]["passed"], found[2]["gain"]) == (True, -0.014)
    page = browser.get(f"{MODEL}/decisions").text
    assert "Version <strong>1</strong> serves since" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("mode", "passed", "told"),
    [
        ("enforce", True, "passed, gain -0.014<"),
        ("dry_run", False, "refused in a dry run, gain -0.014<"),
        ("off", True, "off: nothing was checked, gain -0.014<"),
    ],
)
def test_who_served_when_tells_a_gate_that_stops_nothing(
    browser, add, make_move, make_gate, mode, passed, told
):
    add(make_gate(mode=mode, passed=passed, candidate="1"), make_move(1, decision_id="gate_1"))
    assert moves(browser)[0]["mode"] == mode
    assert told in browser.get(f"{MODEL}/decisions").text


def test_the_second_page_knows_what_followed_its_first_move(browser, add, make_move, now):
    add(*(make_move(n, requested_at=now + timedelta(seconds=n)) for n in range(60)))
    first, second = moves(browser), moves(browser, "?page=2")
    assert second[0]["until"] == first[-1]["at"]
    assert not any(one["serves"] for one in second)


def test_moves_of_the_same_moment_follow_each_other(browser, add, make_move, now):
    add(*(make_move(n, requested_at=now) for n in (1, 2, 3)))
    found = moves(browser)
    assert [one["serves"] for one in found] == [True, False, False]
    assert found[2]["until"] == found[1]["at"]


def test_the_gates_decisions_and_its_refusals_are_lists(browser, add, make_gate, now):
    add(make_gate(), make_gate("gate_2", passed=True, decided_at=now + timedelta(hours=1)))

    def listed(kind):
        return [one["id"] for one in browser.get(f"/api/v1{MODEL}/decisions?list={kind}").json()["gate"]]

    assert listed("gate") == ["gate_2", "gate_1"]
    assert listed("refused") == ["gate_1"]
    assert "roc_auc fell" in browser.get(f"{MODEL}/decisions?list=refused").text


def test_a_decision_has_its_numbers_its_interval_and_what_came_of_it(
    browser, add, make_gate, make_turn, make_move
):
    add(make_gate(), make_turn(decision_id="gate_1"), make_move(3, decision_id="gate_1"))
    twin = browser.get(f"/api/v1{MODEL}/decisions/gate_1").json()
    assert twin["reasons"][0].startswith("roc_auc fell")
    assert (twin["decision"]["low"], twin["decision"]["high"]) == (-0.03, 0.003)
    assert twin["metrics"][0] == {"name": INJECTED, "candidate": 0.1, "champion": None}
    assert (twin["turns"], len(twin["moves"])) == (["turn_1"], 1)
    page = browser.get(f"{MODEL}/decisions/gate_1").text
    assert 'role="img"' in page
    assert "<script>alert" not in page


def test_each_gate_is_shown_with_its_mode_and_all_its_numbers(browser, add, make_gate):
    found = {"groups": {"<b>north": {"value": 0.25, "rows": 90}}, "worst": None}
    listed = {
        "check": "groups",
        "name": "by depot",
        "mode": "dry_run",
        "passed": False,
        "said": "too far apart",
    }
    add(make_gate(numbers={"metric": "mae", "rows": 9, "gates": [{**listed, "numbers": found}]}))
    [gate] = browser.get(f"/api/v1{MODEL}/decisions/gate_1").json()["gates"]
    assert gate == {**listed, "numbers": found}
    page = browser.get(f"{MODEL}/decisions/gate_1").text
    assert "groups · &lt;b&gt;north · value" in page
    assert all(text in page for text in ("by depot", "dry run", "too far apart", "0.25"))


def test_a_first_version_has_no_champion_to_be_compared_with(browser, add, make_gate):
    numbers = {"metric": "mae", "candidate": {"mae": 1.0}, "champion": None, "gain": None, "rows": 9}
    add(make_gate(champion=None, passed=True, numbers=numbers))
    assert "no version served" in browser.get(f"{MODEL}/decisions/gate_1").text


@pytest.mark.parametrize("path", ["decisions/x", "turns/x", "rollouts/x", "acts/x", "decisions?page=9"])
def test_what_there_is_not_is_said(browser, path):
    answer = browser.get(f"{MODEL}/{path}")
    assert answer.status_code == (422 if "?" in path else 404)
    assert "there is no page" in answer.text or "has no" in answer.text


def test_another_models_records_are_not_shown(browser, add, make_gate, make_turn, make_rollout):
    add(make_gate(model="other"), make_turn(model="other"), make_rollout(model="other"))
    for path in (
        "decisions/gate_1",
        "turns/turn_1",
        "rollouts/roll_1",
        "turns/turn_1/answer",
        "rollouts/roll_1/stop",
    ):
        assert browser.get(f"{MODEL}/{path}").status_code == 404


def test_what_waits_is_said_where_decisions_are(browser, installation, add, make_turn, make_rollout):
    question = {"until": "2013-07-04T00:00:00+00:00", "default": "refuse"}
    add(
        make_turn(status="asked", question=question),
        make_rollout(),
        make_turn("turn_2", status="running", step="gate"),
    )
    with locked(installation.home.home / "turn.lock"):
        page = browser.get(f"{MODEL}/decisions").text
        assert "A turn is being made: the first of the list" in browser.get(f"{MODEL}/turns").text
        assert "was killed" not in browser.get(f"{MODEL}/turns/turn_2").text
    assert "Version 3 waits for an answer until 2013-07-04 00:00 UTC, then: refuse" in page
    assert "A rollout is under way" in page
    assert "A turn is being made" in page
    for path in ("decisions", "turns", "turns/turn_2"):
        assert (
            "on record as running, but its process was killed: the next"
            in browser.get(f"{MODEL}/{path}").text
        )
    assert "was killed" not in browser.get(f"{MODEL}/turns/turn_1").text
