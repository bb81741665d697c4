from datetime import timedelta

from tidemill.state.tables import PolicyBacktest, PolicyDecision, VersionCount

MODEL = "/models/parcel-delay"
POLICIES = """
policies:
  - {name: keep-fresh, alerts: [data_drift], cooldown: 28d}
"""


def test_a_turn_has_its_steps_seconds_and_log(browser, add, make_turn, installation):
    logs = installation.home.logs
    logs.mkdir(parents=True)
    (logs / "turns-by-hand.log").write_text("INFO turn_1 data: <b>read</b>\nINFO turn_2 data: other\n")
    add(
        make_turn(
            status="failed", step="gate", error="no <memory>", overrides={"train.trials": 9}, gpu_seconds=7.25
        )
    )
    twin = browser.get(f"/api/v1{MODEL}/turns/turn_1").json()
    assert [(one["name"], one["state"], one["seconds"]) for one in twin["steps"]] == [
        ("data", "done", 2.0),
        ("train", "done", 40.5),
        ("gate", "failed", None),
    ]
    assert twin["log"] == ["INFO data: <b>read</b>"]
    page = browser.get(f"{MODEL}/turns/turn_1").text
    for said in (
        "no &lt;memory&gt;",
        "&lt;b&gt;read",
        "train.trials",
        "42.5",
        "<dt>GPU time</dt><dd>7.25 s</dd>",
    ):
        assert said in page
    assert '<td data-label="GPU s" class="number">7.25</td>' in browser.get(f"{MODEL}/turns").text
    assert browser.get(f"/api/v1{MODEL}/turns").json()["turns"][0]["seconds"] == 42.5


def test_a_turn_that_was_answered_says_by_whom(browser, add, make_turn):
    said = {"answer": "refuse", "by": "eve", "comment": "wait for June", "at": "2013-07-01T00:00:00+00:00"}
    add(make_turn(status="refused", question=said))
    page = browser.get(f"{MODEL}/turns/turn_1").text
    assert "eve answered: refuse" in page
    assert "wait for June" in page
    assert "eve answered" in browser.get(f"{MODEL}/turns/turn_1/answer").text


def test_a_turn_says_how_its_rollout_ended(browser, add, make_turn, make_rollout, now):
    earlier = make_rollout("roll_0", status="stopped", requested_at=now - timedelta(days=1))
    two = make_turn(status="rollout"), make_turn("turn_2", status="rollout", version="4")
    add(*two, earlier, make_rollout(status="promoted", outcome="version 3 is the champion"))
    twin = browser.get(f"/api/v1{MODEL}/turns").json()
    assert {one["id"]: one["rollout"] for one in twin["turns"]} == {"turn_1": "promoted", "turn_2": None}
    assert '<span class="state state-promoted">' in browser.get(f"{MODEL}/turns/turn_1").text
    assert browser.get(f"/api/v1{MODEL}/turns/turn_1").json()["rollouts"] == ["roll_1"]


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


def test_a_rollout_shows_what_its_versions_answered_in_it_alone(browser, add, make_rollout, now):
    """Replicas count on: what they had counted when it, and when the next one began, is on record."""
    began = [{"canary 3": {"answered": answered, "failed": 1, "seconds": {}}} for answered in (40, 90)]
    first = make_rollout(status="stopped", baseline={"start": began[0]})
    again = make_rollout("roll_2", baseline={"start": began[1]}, requested_at=now + timedelta(hours=1))
    counts = {"model": "parcel-delay", "role": "canary", "version": "3", "seconds": {}, "seen_at": now}
    rows = [VersionCount(replica=name, **counts, answered=47, failed=1, dropped=0) for name in ("a", "b")]
    add(first, again, *rows)
    found = [browser.get(f"/api/v1{MODEL}/rollouts/roll_{number}").json()["counts"] for number in (1, 2)]
    assert [[(one["answered"], one["failed"]) for one in each] for each in found] == [[(50, 0)], [(4, 1)]]
    page = browser.get(f"{MODEL}/rollouts/roll_2").text
    assert "since it began and until the next rollout did" in page


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
    assert twin["declared"][0]["over"] is None
    assert '<span class="state state-hold">' in page.partition("What they decided")[0]


def test_a_hold_that_is_over_is_not_shown_as_what_holds_now(browser, folder, add, make_turn, now):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "policies.yaml").write_text(POLICIES)
    hold = {"rule": "under_way", "episode": "1", "reason": "a turn is under way", "first_at": now}
    about = {"model": "parcel-delay", "policy": "keep-fresh", "cause": "c", "cause_message": "m", "rounds": 3}
    add(make_turn(), PolicyDecision(id="d1", verdict="hold", last_at=now, **hold, **about))
    [shown] = browser.get(f"/api/v1{MODEL}/policies").json()["declared"]
    assert shown["over"] == "what was under way has ended"
    latest = browser.get(f"{MODEL}/policies").text.partition("What they decided")[0]
    assert '<span class="state state-held">held</span>' in latest
    assert "a turn is under way (what was under way has ended)" in latest


def test_policies_that_cannot_be_read_hide_no_decision(browser, folder):
    (folder / "monitoring").mkdir()
    (folder / "monitoring" / "policies.yaml").write_text("policies: 3\n")
    answer = browser.get(f"{MODEL}/policies")
    assert answer.status_code == 200
    assert "policies.yaml" in answer.text


def test_the_latest_backtest_is_shown_with_its_picture_and_how_to_make_one(browser, add, now):
    assert "policies backtest --fast" in browser.get(f"{MODEL}/policies").text
    strategy = {"retrainings": 2, "promoted": 1, "wrong_promotions": 1, "surely_wrong": 0, "cpu_seconds": 4.5}
    results = {
        "metric": "neg_mae", "start": "2013-04-01T00:00:00+00:00", "end": "2013-06-01T00:00:00+00:00",
        "family": "trees", "fits": 7, "notes": ["on <samples>"],
        "conclusion": ["wrong promotions of keep-fresh: 1 of 1"],
        "strategies": [
            {**strategy, "name": "never", "mean": -12.5, "periods": {"2013-04": -12.0, "2013-05": -13.0}},
            {
                **strategy, "name": "keep-fresh, no proof", "mean": -11.0,
                "periods": {"2013-04": -11.0, "2013-05": None},
                "expected_worse": {"mean": 0.62, "low": 0, "high": 1},
            },
        ],
    }  # fmt: skip
    of = {"model": "parcel-delay", "actor": "ada"}
    old = {**results, "family": "lines"}
    add(
        PolicyBacktest(id="b1", **of, results=old, made_at=now - timedelta(days=1)),
        PolicyBacktest(id="b2", **of, results=results, made_at=now),
    )
    shown = browser.get(f"/api/v1{MODEL}/policies").json()["backtest"]
    assert (shown["id"], shown["metric"], shown["better"]) == ("b2", "mae", "lower is better")
    assert [(one["mean"], one["months"]) for one in shown["strategies"]] == [
        (12.5, [12.0, 13.0]),
        (11.0, [11.0, None]),
    ]
    page = browser.get(f"{MODEL}/policies").text
    assert page.count('class="strand strand-') == 4  # two lines, and two in the key
    assert "on &lt;samples&gt;" in page
    assert "7 fits of trees" in page
    assert [(one["expected_worse"], one["worse_interval"]) for one in shown["strategies"]] == [
        (None, None),
        (0.62, [0, 1]),
    ]
    assert '<td data-label="Worse, expected" class="number">0.6 (0–1)</td>' in page
    assert "<p>Wrong promotions of keep-fresh: 1 of 1.</p>" in page
