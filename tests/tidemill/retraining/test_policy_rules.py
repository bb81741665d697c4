"""What holds a turn, and what asks for one: plain values, no engine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from tidemill.retraining.policies import Policy
from tidemill.retraining.policy_facts import AlertFact, EstimateFact, Hold, Retrain, Situation, TurnFact
from tidemill.retraining.policy_rules import RULES, decide, explain
from tidemill.retraining.situation import gather
from tidemill.retraining.triggers.policy_causes import lacking, too_old, unheard
from tidemill.state import open_state
from tidemill.state.external_alerts import ExternalAlert, record_external
from tidemill.state.tables import MonitorRun

DAY = timedelta(days=1)
NOW = datetime(2013, 6, 1, 12, tzinfo=UTC)
ALERT = AlertFact("a1", "delay", "data_drift", "it drifts", NOW - DAY, NOW)


def policy(**given: object) -> Policy:
    return Policy.model_validate(
        {"name": "p", "alerts": ["data_drift", "quality"], "cooldown": "7d", **given}
    )


def turn(
    days_ago: float, status: str = "refused", name: str | None = "p", sources: str | None = None
) -> TurnFact:
    return TurnFact(status, NOW - days_ago * DAY, "data_drift", name, sources)


def outcome(
    one: Policy,
    *turns: TurnFact,
    alerts: tuple[AlertFact, ...] = (ALERT,),
    now: datetime = NOW,
    **known: object,
) -> str | None:
    """Return the rule that holds a turn, ``retrain``, or None."""
    decision = decide([one], alerts, turns, now, Situation(**known))  # type: ignore[arg-type]
    return decision.code if isinstance(decision, Hold) else decision and "retrain"


@pytest.mark.parametrize("status", ["promoted", "refused", "unchanged"])
def test_nothing_has_changed_since_a_turn(status: str):
    earlier = turn(30, status, sources="same")
    assert outcome(policy(), earlier, sources={"p": "same"}, sources_tell_all=True) == "unchanged"
    assert outcome(policy(), earlier, sources={"p": "other"}, sources_tell_all=True) == "retrain"
    assert outcome(policy(), earlier, sources={"p": None}, sources_tell_all=True) == "retrain"
    assert outcome(policy(), earlier, sources={"p": "same"}) == "retrain"  # a later moment may bring rows


def test_a_cancelled_turn_counts_for_the_cooldown_as_a_person_wanted_none():
    assert outcome(policy(), turn(2, "cancelled")) == "cooldown"
    assert outcome(
        policy(), turn(30, "cancelled", sources="s"), sources={"p": "s"}, sources_tell_all=True
    ) == ("retrain")


def test_a_failed_turn_read_nothing_to_the_end():
    assert (
        outcome(policy(), turn(30, "failed", sources="s"), sources={"p": "s"}, sources_tell_all=True)
        == "retrain"
    )


def test_an_unchanged_turn_is_tried_again_soon_after_a_change_only():
    before = turn(2, "unchanged", sources="old")
    assert outcome(policy(), before, sources={"p": "old"}) == "cooldown"
    assert outcome(policy(), before, sources={"p": "new"}) == "retrain"
    hourly = policy(cooldown="1h")
    assert outcome(hourly, turn(0.5, "unchanged", sources="old"), sources={"p": "new"}) == "retrain"


def test_three_refused_in_a_row_wait_for_something_new_or_a_person():
    row = [turn(days, sources="s") for days in (30, 20, 10)]
    assert outcome(policy(), *row[1:]) == "retrain"
    assert outcome(policy(), *row) == "refused"
    assert outcome(policy(), *row, sources={"p": "new"}) == "retrain"
    assert outcome(policy(), *row, turn(9, "refused", name=None)) == "retrain"  # a person made a turn
    assert outcome(policy(), row[0], turn(25, "promoted"), *row[1:]) == "retrain"
    assert outcome(policy(refused_in_a_row=2), *row[1:]) == "refused"


def test_the_budget_counts_turns_of_policies_in_the_period():
    one = policy(budget={"turns": 2, "period": "30d"})
    assert outcome(one, turn(29, "promoted"), turn(15, "promoted")) == "budget"
    assert outcome(one, turn(31, "promoted"), turn(15, "promoted")) == "retrain"
    assert outcome(one, turn(29, "promoted", name=None), turn(15, "promoted")) == "retrain"
    without_a_model = [turn(29 - days, "failed") for days in range(5)] + [turn(20, "unchanged")]
    assert outcome(one, *without_a_model, turn(15, "promoted")) == "retrain", "an outage uses up no budget"
    held = decide([one], [ALERT], [turn(29, "promoted"), turn(15, "promoted")], NOW)
    assert isinstance(held, Hold)
    assert held.reason == "the budget of 2 turns in 30 days is used up until 2013-06-02 12:00 UTC"


def test_the_budget_counts_cpu_hours():
    one = policy(budget={"cpu_hours": 2, "period": "30d"})
    hour = [replace(turn(days, "promoted"), cpu_seconds=3600) for days in (31, 20, 15)]
    assert outcome(one, *hour[:2]) == "retrain"
    assert outcome(one, *hour) == "budget"
    held = decide([one], [ALERT], hour, NOW)
    assert isinstance(held, Hold)
    assert held.reason == "the budget of 2 CPU hours in 30 days is used up until 2013-06-11 12:00 UTC"
    with pytest.raises(ValidationError, match="limits nothing"):
        policy(budget={"period": "30d"})


def test_an_outage_holds_what_drift_asks_for_only():
    down = AlertFact("a2", "delay", "no_run", "it has not run", NOW - DAY, NOW)
    assert outcome(policy(), alerts=(ALERT, down)) == "outage"
    old = replace(down, last_seen_at=NOW - 15 * DAY)
    assert outcome(policy(), alerts=(ALERT, old)) == "retrain"
    quality = replace(ALERT, kind="quality")
    assert outcome(policy(), alerts=(quality, down)) == "retrain"
    assert outcome(policy(alerts=None, any=[{"new_labels": 5}]), alerts=(down,), new_labels=5) == "retrain"


def test_an_outage_that_alertmanager_tells_holds_too_if_it_is_critical_whatever_serves():
    state = open_state("sqlite://")
    told = ExternalAlert("alertmanager", "RedisDown", "f1", True, "critical", "Redis is down", {}, NOW)
    record_external(state, "delay", [told, replace(told, fingerprint="f2", severity="warning")], NOW)
    facts = gather(SimpleNamespace(model="delay"), state, [], "7", NOW)  # type: ignore[arg-type]
    state.close()
    (down,) = (each for each in facts.alerts if each.severity == "critical")
    (minor,) = (each for each in facts.alerts if each.severity == "warning")
    assert (down.kind, down.message) == ("external", "Redis is down")
    assert [outcome(policy(), alerts=(ALERT, each)) for each in (down, minor)] == ["outage", "retrain"]
    called = policy(alerts=None, any=[{"webhook": "RedisDown"}])
    assert outcome(called, alerts=(minor,)) == "retrain", "of any severity"


def test_an_alert_that_is_too_old_for_a_policy_is_named():
    old = replace(ALERT, last_seen_at=NOW - 15 * DAY)
    others = replace(old, kind="kpi"), replace(old, monitor="other")
    assert outcome(policy(), alerts=(old,)) is None
    assert too_old(policy(monitors=["delay"]), [old, ALERT, *others], NOW) == [old]


def test_an_open_alert_that_no_condition_names_is_named():
    broken = replace(ALERT, kind="feature_drift")
    others = (
        replace(broken, monitor="other"),
        replace(broken, kind="external"),
        replace(broken, last_seen_at=NOW - 15 * DAY),
    )
    assert unheard(policy(monitors=["delay"]), [ALERT, broken, *others], NOW) == [broken]
    assert unheard(policy(alerts=["feature_drift"]), [broken], NOW) == []


def test_a_schedule_counts_from_the_last_turn():
    one = policy(alerts=None, any=[{"cron": "0 6 * * mon", "zone": "America/New_York"}], cooldown="1h")
    monday = datetime(2013, 5, 27, 10, tzinfo=UTC)  # 6 o'clock in New York
    assert outcome(one) is None  # the first turn is made by hand
    assert outcome(one, last_turn_at=monday) is None
    assert outcome(one, last_turn_at=monday - DAY) == "retrain"
    assert outcome(one, last_turn_at=monday - DAY, now=monday - timedelta(seconds=1)) is None
    found = decide([one], [], [], monday, Situation(last_turn_at=monday - 30 * DAY))
    assert isinstance(found, Retrain)
    assert (found.cause.kind, found.cause.key) == ("cron", "cron/2013-05-27T10:00")


def test_a_new_data_version():
    one = policy(alerts=None, any=[{"data_version": True}])
    assert outcome(one) is None
    assert outcome(one, data_version="4f1d") == "retrain"
    assert outcome(one, turn(3), data_version="4f1d") == "cooldown"


def test_a_webhook_asks_by_its_name():
    one = policy(alerts=None, any=[{"webhook": "PricesChanged"}], monitors=["delay"])
    told = AlertFact("a3", "alertmanager/PricesChanged", "external", "new tariffs", NOW, NOW)
    assert outcome(one, alerts=(told,)) == "retrain"
    assert outcome(one, alerts=(replace(told, monitor="alertmanager/Other"),)) is None
    assert outcome(one, alerts=(replace(ALERT, monitor="x/PricesChanged"),)) is None
    assert one.asks_when == "webhook PricesChanged"
    assert outcome(one, alerts=(told,), last_turn_at=NOW - DAY) == "retrain"
    asked = replace(told, raised_at=NOW - 2 * DAY, fired_at=NOW - 2 * DAY)
    assert outcome(one, alerts=(asked,), last_turn_at=NOW - DAY) is None, "the turn that it asked for"
    again = replace(asked, fired_at=NOW)
    assert outcome(one, alerts=(again,), last_turn_at=NOW - DAY) == "retrain"


@pytest.mark.parametrize("status", ["rollout", "asked"])
def test_what_an_earlier_turn_has_not_settled_holds_the_next(status: str):
    assert outcome(policy(), turn(30, status)) == "under_way"


def test_a_turn_that_waits_for_a_second_person_says_for_whom():
    waits = replace(turn(30, "asked"), approval="ask_1")
    held = decide([policy()], [ALERT], [waits], NOW)
    assert "waits for a second person: `tidemill approvals approve ask_1`" in held.reason


def test_quiet_hours():
    one = policy(quiet_hours="22:00-06:00")
    assert outcome(one) == "retrain"
    assert outcome(one, now=NOW.replace(hour=23)) == "quiet_hours"
    assert outcome(policy(quiet_hours=["11:00-13:00", "22:00-23:00"])) == "quiet_hours"


def test_a_share_of_labels_is_one_of_those_that_the_champions_turn_knew():
    one = policy(alerts=None, any=[{"new_labels": "25 %"}])
    assert one.asks_when == "25% more labels"
    assert outcome(one, turn(30, "promoted"), new_labels=249, labels_learnt=1000) is None
    assert outcome(one, turn(30, "promoted"), new_labels=250, labels_learnt=1000) == "retrain"
    assert outcome(one, turn(30, "promoted"), new_labels=250, labels_learnt=1001) is None
    assert (
        outcome(one, turn(30, "promoted"), new_labels=250) is None
    )  # of a model from elsewhere nobody knows


@pytest.mark.parametrize("wrong", ["0%", "-5%", "many", "25%%", 0, "0"])
def test_wrong_numbers_of_labels_are_refused(wrong: object):
    with pytest.raises(ValidationError, match="new_labels"):
        policy(any=[{"new_labels": wrong}])


def test_new_labels_are_needed_after_the_first_turn():
    one = policy(min_new_labels=500)
    assert outcome(one) == "retrain"
    assert outcome(one, turn(30, "promoted"), new_labels=499) == "labels"
    assert outcome(one, turn(30, "promoted"), new_labels=500) == "retrain"


def test_features_at_fault_hold_what_alerts_ask_for():
    fault = AlertFact("a2", "other", "feature_drift", "gone", NOW - DAY, NOW, faults=("wind",))
    assert outcome(policy(), alerts=(ALERT, fault)) == "data_quality"
    far = AlertFact("a2", "other", "feature_drift", "far", NOW - DAY, NOW, about=("wind",))
    assert outcome(policy(), alerts=(ALERT, far)) == "retrain"
    aged = policy(alerts=None, any=[{"age": "30d"}])
    assert outcome(aged, alerts=(fault,), champion_since=NOW - 31 * DAY) == "retrain"


def test_skew_holds_unless_the_policy_names_it():
    skew = AlertFact("a2", "delay", "feature_skew", "differs", NOW, NOW, faults=("wind",))
    assert outcome(policy(), alerts=(ALERT, skew)) == "data_quality"
    assert outcome(policy(alerts=["feature_skew"]), alerts=(skew,)) == "retrain"


def test_drift_without_estimated_harm():
    fine = EstimateFact(NOW, False, "roc_auc is estimated at 0.7")
    assert outcome(policy(), estimate=fine) == "harmless"
    assert outcome(policy(), estimate=EstimateFact(NOW, True, "…")) == "retrain"
    assert (
        outcome(policy(), estimate=EstimateFact(NOW - 2 * DAY, False, "…")) == "retrain"
    )  # an older window's
    quality = AlertFact("a2", "delay", "quality", "fell", NOW, NOW)
    assert outcome(policy(alerts=["quality"]), alerts=(ALERT, quality), estimate=fine) == "retrain"


def test_an_estimate_counts_however_often_other_monitors_run_since():
    state = open_state("sqlite://")
    estimated = {"estimated_quality": {"metric": "roc_auc", "value": 0.7, "decayed": False}}
    with state.transaction() as session:
        for hour in range(26):
            name, results = ("hourly", {}) if hour else ("weekly", estimated)
            at = NOW + hour * DAY / 24
            facts = {"model": "delay", "version": "7", "verdict": "ok", "results": results, "at": at}
            span = {"window_start": at - DAY, "window_end": at, "rows": 900, "labelled": 0}
            session.add(MonitorRun(id=f"mon_{hour}", monitor=name, **facts, **span))
    model: Any = SimpleNamespace(model="delay")
    found = gather(model, state, [], "7", NOW + 2 * DAY).situation.estimate
    state.close()
    assert found is not None
    assert (found.at, found.decayed) == (NOW, False)


def test_what_conditions_without_alerts_still_lack_is_said_in_figures():
    conditions = ({"new_labels": 500}, {"new_labels": "25%"}, {"age": "9d"}, {"data_version": True})
    one = policy(alerts=["quality"], any=conditions, all=[{"cron": "0 6 * * *"}])
    known = Situation(
        new_labels=137, labels_learnt=1000, champion_since=NOW - DAY, last_turn_at=NOW - DAY / 4
    )
    assert lacking(one, NOW, known) == [
        "137 of 500 labels became known since the last turn",
        "137 of 250 labels became known since the last turn",
        "data older than 9 days: the champion knows nothing after 2013-05-31 12:00 UTC",
        "the data have the version that the last turn had",
        'cron "0 6 * * *" (UTC): next at 2013-06-02 06:00 UTC',
    ]
    nothing = lacking(one, NOW, Situation())
    assert nothing[1].endswith("how many labels the champion learnt from is not on record")
    assert nothing[4].endswith("the first turn is made by hand")
    assert (
        lacking(one, NOW, replace(known, new_labels=250))[0]
        == "250 of 500 labels became known since the last turn"
    )
    assert len(lacking(one, NOW, replace(known, new_labels=250))) == 4


def test_any_and_all():
    either = policy(alerts=None, any=["quality", {"new_labels": 10}])
    assert outcome(either) is None
    assert outcome(either, new_labels=10) == "retrain"
    both = policy(alerts=None, all=["data_drift", {"age": "90d"}])
    assert outcome(both) is None
    assert outcome(both, champion_since=NOW - 89 * DAY) is None
    decision = decide([both], [ALERT], [], NOW, Situation(champion_since=NOW - 90 * DAY))
    assert isinstance(decision, Retrain)
    assert decision.alert is ALERT
    assert decision.cause.key == "age and data_drift/delay"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alerts": None}, "never asks for a turn"),
        ({"any": [{"age": "3d", "new_labels": 1}]}, "set one of"),
        ({"any": [{}]}, "set one of"),
        ({"any": ["weather"]}, "alert"),
        ({"quiet_hours": "22-6"}, "span of hours"),
        ({"any": [{"cron": "0 6 * * moon"}]}, "no cron schedule"),
        ({"any": [{"cron": "0 6 * * mon", "zone": "Atlantis"}]}, "no time zone"),
        ({"any": [{"age": "3d", "zone": "UTC"}]}, "zone belongs to cron"),
        ({"recipe": {"windows": [{"last": "soon"}]}}, "no window"),
        ({"action": "shout"}, "record"),
        ({"budget": {"turns": 0, "period": "1d"}}, "greater than or equal to 1"),
        ({"quiet_hours": "07:00-07:00"}, "holds no hour"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, object], said: str):
    with pytest.raises(ValidationError, match=said):
        policy(**given)


def test_explain_asks_every_rule():
    told = explain(policy(quiet_hours="11:00-13:00"), [ALERT], [turn(1)], NOW, Situation())
    assert list(told) == list(RULES)
    assert [code for code, reason in told.items() if reason] == ["cooldown", "quiet_hours"]
    assert explain(policy(), [], [], NOW, Situation()) == {}


QUALITY = AlertFact("a7", "delay", "quality", "AUC fell", NOW - DAY, NOW)
HARMLESS = EstimateFact(NOW, False, "as good as it must be")


@pytest.mark.parametrize("kinds", [["data_drift", "quality"], ["quality", "data_drift"]])
@pytest.mark.parametrize("how", ["alerts", "all"])
def test_drift_without_harm_does_not_hold_what_measured_quality_asks_for(how: str, kinds: list[str]):
    one = policy(**{"alerts": None, how: kinds})
    assert outcome(one, alerts=(ALERT, QUALITY), estimate=HARMLESS) == "retrain"
    found = decide([one], [ALERT, QUALITY], [], NOW, Situation(estimate=HARMLESS))
    assert isinstance(found, Retrain)
    assert (found.cause.kind, found.alert) == ("quality", QUALITY)
    assert set(explain(one, [ALERT, QUALITY], [], NOW, Situation(estimate=HARMLESS)).values()) == {None}
    down = AlertFact("a8", "delay", "health", "slow", NOW - DAY, NOW)
    assert outcome(one, alerts=(ALERT, QUALITY, down)) == "retrain"
    if how == "alerts":
        assert outcome(one, alerts=(ALERT,), estimate=HARMLESS) == "harmless"


@pytest.mark.parametrize(
    ("other", "known"),
    [({"age": "30d"}, {"champion_since": NOW - 60 * DAY}), ({"new_labels": 5}, {"new_labels": 9})],
)
def test_what_holds_one_condition_leaves_the_others(other: dict, known: dict):
    one = policy(alerts=None, any=["data_drift", other])
    assert outcome(one, estimate=HARMLESS) == "harmless"
    assert outcome(one, estimate=HARMLESS, **known) == "retrain"
    assert outcome(one, turn(2), estimate=HARMLESS, **known) == "harmless"  # each waits: the first says why
    together = policy(alerts=None, all=["data_drift", other])
    assert outcome(together, estimate=HARMLESS, **known) == "harmless"
