from datetime import timedelta

from tidemill.state.tables import PolicyDecision, VersionCount

MODEL = "/models/parcel-delay"
POLICIES = """
policies:
  - {name: keep-fresh, alerts: [data_drift], cooldown: 28d}
"""


def test_a_turn_has_its_steps_seconds_and_log(browser, add, make_turn, installation):
    logs = installation.home.logs
    logs.mkdir(parents=True)
    (logs / "turns-by-hand.log").write_text("INFO turn_1 data: <b>read</b>\nINFO turn_2 data: other\n")
    add(make_turn(status="failed", step="gate", error="no <memory>", overrides={"train.trials": 9}))
    twin = browser.get(f"/api/v1{MODEL}/turns/turn_1").json()
    assert [(one["name"], one["state"], one["seconds"]) for one in twin["steps"]] == [
        ("data", "done", 2.0),
        ("train", "done", 40.5),
        ("gate", "failed", None),
    ]
    assert twin["log"] == ["INFO data: <b>read</b>"]
    page = browser.get(f"{MODEL}/turns/turn_1").text
    for said in ("no &lt;memory&gt;", "&lt;b&gt;read", "train.trials", "42.5"):
        assert said in page
    assert browser.get(f"/api/v1{MODEL}/turns").json()["turns"][0]["seconds"] == 42.5


def test_a_turn_that_was_answered_says_by_whom(browser, add, make_turn):
    said = {"answer": "refuse", "by": "eve", "comment": "wait for June", "at": "2013-07-01T00:00:00+00:00"}
    add(make_turn(status="refused", question=said))
    page = browser.get(f"{MODEL}/turns/turn_1").text
    assert "eve answered: refuse" in page
    assert "wait for June" in page
    assert "eve answered" in browser.get(f"{MODEL}/turns/turn_1/answer").text


def test_a_rollout_shows_each_step_with_its_evidence(browser, add, make_rollout, now):
    counts = {"replica": "a", "model": "parcel-delay", "role": "canary", "version": "3", "seconds": {}}
    add(make_rollout(), VersionCount(**counts, answered=7, failed=2, dropped=0, error="<no>", seen_at=now))
    twin = browser.get(f"/api/v1{MODEL}/rollouts/roll_1").json()
    assert [one["state"] for one in twin["steps"]] == ["done", "running"]
    assert twin["steps"][0]["gains"] == [{"name": "quality", "gain": 0.01, "low": -0.01, "high": 0.03}]
    assert twin["counts"][0]["answered"] == 7
    page = browser.get(f"{MODEL}/rollouts/roll_1").text
    assert "Stop it" in page
    assert "&lt;no&gt;" in page
    assert "<script>alert" not in page
    assert "1 %" in browser.get(f"{MODEL}/rollouts/roll_1").text
    assert "2 of 2" in browser.get(f"{MODEL}/rollouts").text


def test_a_rollout_that_went_back_shows_where(browser, add, make_rollout):
    bad = {
        "step": 0,
        "share": 0.01,
        "action": "roll_back",
        "reason": "slow",
        "checks": [],
        "numbers": {},
        "at": "2013",
    }
    add(make_rollout(status="rolled_back", step=0, checks=[bad], outcome="slow"))
    twin = browser.get(f"/api/v1{MODEL}/rollouts/roll_1").json()
    assert [one["state"] for one in twin["steps"]] == ["failed", "none"]
    assert not twin["running"]
    assert "Stop it" not in browser.get(f"{MODEL}/rollouts/roll_1").text


def test_policies_are_shown_with_their_last_word(browser, folder, add, now):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "policies.yaml").write_text(POLICIES)
    about = {
        "model": "parcel-delay",
        "policy": "keep-fresh",
        "cause": "c",
        "cause_message": "wind <moved>",
        "rounds": 3,
    }
    add(
        PolicyDecision(
            id="d1", verdict="retrain", episode="1", reason="x", first_at=now, last_at=now, **about
        ),
        PolicyDecision(
            id="d2", verdict="hold", rule="cooldown", episode="2", reason="cooling down", first_at=now,
            last_at=now + timedelta(hours=1), **about,
        ),
    )  # fmt: skip
    twin = browser.get(f"/api/v1{MODEL}/policies").json()
    assert [(one["name"], one["last"]["reason"]) for one in twin["declared"]] == [
        ("keep-fresh", "cooling down")
    ]
    assert [one["verdict"] for one in twin["words"]] == ["hold", "retrain"]
    page = browser.get(f"{MODEL}/policies").text
    assert "wind &lt;moved&gt;" in page
    assert "cooling down" in page


def test_policies_that_cannot_be_read_hide_no_decision(browser, folder):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "policies.yaml").write_text("policies: 3\n")
    answer = browser.get(f"{MODEL}/policies")
    assert answer.status_code == 200
    assert "policies.yaml" in answer.text
