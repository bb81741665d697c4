from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from tidemill.alerting.alert_routing import explain
from tidemill.alerting.notification_rules import (
    CAME_FROM_THERE,
    FLAPS,
    AlertState,
    Message,
    SilenceFact,
    Told,
    decide_messages,
    stopped_messages,
)
from tidemill.alerting.routes import Routes

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TEAM = {"name": "team", "url_env": "A"}
LEAD = {"name": "lead", "url_env": "B"}


def alert(kind: str = "quality", status: str = "firing", fired: datetime = NOW, **labels: str) -> AlertState:
    known = {"model": "delay", "version": "1", "monitor": "weekly", "kind": kind, "severity": "warning"}
    by = "ann" if status == "acknowledged" else None
    return AlertState(f"alert_{kind}", {**known, **labels}, status, 1, fired, by)


def routes(*given: dict[str, Any], **others: Any) -> Routes:
    chosen = given or ({"receivers": ["team"]},)
    return Routes.model_validate({"receivers": [TEAM, LEAD], "routes": list(chosen), **others})


def play(
    alerts: list[AlertState], rules: Routes, silences: list[SilenceFact], *moments: datetime
) -> list[list]:
    """Decide at each moment, with all that was decided before as sent; return what each decided."""
    told: list[Told] = []
    found = []
    for now in moments:
        messages = decide_messages(alerts, told, silences, rules, now)
        told += [as_told(each, now) for each in messages]
        found.append([(each.receiver, each.step, each.withheld) for each in messages])
    return found


def as_told(message: Message, at: datetime, status: str = "sent") -> Told:
    done = status if message.withheld is None else "withheld"
    facts = message.receiver, message.step, done, message.withheld, at
    return Told(message.alert_id, message.occurrence, *facts)


def test_an_alert_is_told_once_and_repeated_until_acknowledged():
    rules = routes({"receivers": ["team"], "repeat_every": "4h"})
    moments = [NOW, NOW + HOUR, NOW + 4 * HOUR, NOW + 5 * HOUR]
    assert play([alert()], rules, [], *moments) == [
        [("team", "firing", None)], [], [("team", "repeat", None)], [],
    ]  # fmt: skip
    told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW)]
    (held,) = decide_messages([alert(status="acknowledged")], told, [], rules, NOW + 4 * HOUR)
    assert (held.step, held.withheld) == ("repeat", "acknowledged by ann")


def test_what_was_not_sent_yet_is_not_repeated():
    told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW, "due")]
    assert (
        decide_messages(
            [alert()], told, [], routes({"receivers": ["team"], "repeat_every": "1h"}), NOW + 9 * HOUR
        )
        == []
    )


def test_a_reopened_alert_is_told_anew():
    told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW)]
    (again,) = decide_messages([replace(alert(), occurrence=2)], told, [], routes(), NOW + HOUR)
    assert (again.step, again.withheld) == ("firing", None)


def test_the_end_is_told_to_those_who_were_told_and_once():
    told = [as_told(Message("alert_quality", 1, "lead", "firing", "", None), NOW)]
    over = alert(status="resolved")
    (end,) = decide_messages([over], told, [], routes(), NOW + HOUR)
    assert (end.receiver, end.step) == ("lead", "resolved")
    told.append(as_told(end, NOW + HOUR))
    assert decide_messages([over], told, [], routes(), NOW + 2 * HOUR) == []
    assert decide_messages([over], [], [], routes(), NOW) == [], "nobody knew of it"


def test_an_end_that_was_withheld_before_the_alert_came_back_is_told_when_it_is_over():
    told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW)]
    told.append(as_told(Message("alert_quality", 1, "team", "resolved", "", "mute time 'nights'"), NOW))
    over = replace(alert(status="resolved"), occurrence=2)
    (end,) = decide_messages([over], told, [], routes(), NOW + HOUR)
    assert (end.receiver, end.step, end.withheld) == ("team", "resolved", None)
    assert decide_messages([over], [*told, as_told(end, NOW)], [], routes(), NOW + HOUR) == []


def test_the_first_route_that_matches_decides_and_no_route_is_on_record():
    rules = routes(
        {"match": {"kind": "data_*"}, "receivers": ["lead"]},
        {"match": {"severity": "critical"}, "receivers": ["team"]},
    )
    found = decide_messages([alert("data_drift", severity="critical"), alert("quality")], [], [], rules, NOW)
    assert [(each.alert_id, each.receiver, each.withheld) for each in found] == [
        ("alert_data_drift", "lead", None),
        ("alert_quality", "", "no route of monitoring/routes.yaml leads to a receiver"),
    ]


def test_a_silence_withholds_once_and_its_end_sends():
    quiet = SilenceFact("s1", {"kind": "qual*"}, "ann", "the feed moves", NOW, NOW + 2 * HOUR)
    why = "silenced by ann until 2013-04-01 14:00 (s1): the feed moves"
    found = play([alert()], routes(), [quiet], NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR)
    assert found == [[("team", "firing", why)], [], [("team", "firing", None)], []]
    other = replace(quiet, matchers={"kind": "data_drift"})
    assert play([alert()], routes(), [other], NOW) == [[("team", "firing", None)]]


def test_what_came_from_alertmanager_is_not_sent_back_and_is_escalated_all_the_same():
    there = {"name": "prometheus", "url_env": "C", "kind": "alertmanager"}
    escalate = [{"after": "1h", "receivers": ["lead"]}]
    rules = routes({"receivers": ["prometheus"], "escalate": escalate}, receivers=[TEAM, LEAD, there])
    came = alert("external", monitor="alertmanager/RedisDown")
    assert play([came], rules, [], NOW, NOW + HOUR / 2, NOW + HOUR) == [
        [("prometheus", "firing", CAME_FROM_THERE)], [], [("lead", "escalation", None)],
    ]  # fmt: skip
    for other in (alert(), alert("external", monitor="registry/outside")):
        assert play([other], rules, [], NOW) == [[("prometheus", "firing", None)]]
    told = [replace(as_told(Message(came.id, 1, "prometheus", "firing", "", None), NOW, "due"), id="n1")]
    assert stopped_messages([came], told, [], rules, NOW) == {"n1": CAME_FROM_THERE}
    told = [replace(told[0], status="sent")]
    (end,) = decide_messages([replace(came, status="resolved")], told, [], rules, NOW)
    assert (end.step, end.withheld) == ("resolved", None), "sent before this rule was: it learns the end"
    record = SimpleNamespace(**came.labels, id=came.id, details={}, status="firing", occurrence=1)
    record.fired_at, record.acknowledged_by = NOW, None
    assert explain(record, [record], [], [], rules, NOW)["withheld"] == CAME_FROM_THERE
    both = routes({"receivers": ["prometheus", "team"]}, receivers=[TEAM, there])
    assert explain(record, [record], [], [], both, NOW)["withheld"] is None


def test_a_mute_time_withholds_until_it_ends():
    noon = {"name": "noon", "start": "12:00", "end": "13:00"}
    rules = routes({"receivers": ["team"], "mute": ["noon"]}, mute_times=[noon])
    found = play([alert()], rules, [], NOW, NOW + HOUR)
    assert found == [[("team", "firing", "mute time 'noon'")], [("team", "firing", None)]]


def test_a_broken_feature_explains_the_drift_it_causes():
    rules = routes(inhibit=[{"when": {"kind": "feature_drift"}, "mute": {"kind": "*_drift"}}])
    found = {
        each.alert_id: each.withheld
        for each in decide_messages(
            [alert("feature_drift"), alert("data_drift"), alert()], [], [], rules, NOW
        )
    }
    assert found == {
        "alert_feature_drift": None,
        "alert_data_drift": "inhibited by alert_feature_drift (feature_drift)",
        "alert_quality": None,
    }
    for cause in (alert("feature_drift", "resolved"), alert("feature_drift", model="other")):
        (sent,) = decide_messages([cause, alert("data_drift")], [], [], rules, NOW)[-1:]
        assert sent.withheld is None


def test_what_explains_drift_mutes_it_unless_the_routes_say_otherwise():
    alerts = [alert("feature_skew"), alert("data_drift"), alert("quality")]
    found = decide_messages(alerts, [], [], routes(), NOW)
    assert [(each.alert_id, each.withheld) for each in found] == [
        ("alert_feature_skew", None),
        ("alert_data_drift", "inhibited by alert_feature_skew (feature_skew)"),
        ("alert_quality", None),
    ]
    assert all(each.withheld is None for each in decide_messages(alerts, [], [], routes(inhibit=[]), NOW))
    alerts[0] = alert("feature_skew", version="2")
    assert all(each.withheld is None for each in decide_messages(alerts, [], [], routes(), NOW))


def test_what_comes_and_goes_is_told_three_times_and_then_when_it_stays():
    def decided(times: int, status: str) -> str | None:
        one = replace(alert(status=status), times=times)
        told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW)]
        (found,) = decide_messages([one], told if status == "resolved" else [], [], routes(), NOW)
        return found.withheld

    assert [decided(times, "firing") for times in (1, 3, 4)] == [None, None, FLAPS]
    assert [decided(times, "resolved") for times in (1, 2, 3)] == [None, None, FLAPS]


def test_the_end_of_an_alert_is_withheld_while_another_one_about_the_same_fires():
    told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW)]
    over, again = alert(status="resolved"), replace(alert(severity="critical"), id="alert_2")
    others = [again, replace(again, status="acknowledged"), replace(again, status="resolved")]
    others += [replace(again, labels={**again.labels, name: "2"}) for name in ("version", "instance")]
    found = [decide_messages([over, other], told, [], routes(), NOW) for other in others]
    ends = [[each.withheld for each in messages if each.step == "resolved"] for messages in found]
    same = "the same fires in alert_2"
    assert ends == [[same], [same], [None], [None], [None]]


def test_labels_of_an_alert_from_elsewhere_are_matched_like_ours():
    told = alert("external", team="platform", region="north")
    rules = routes(
        {"match": {"team": ["plat*"]}, "receivers": ["lead"], "group_by": ["region", "owner"]},
        {"match": {"team": ""}, "receivers": ["team"]},
        inhibit=[{"when": {"team": "platform"}, "mute": {"region": "*"}, "same": ["region"]}],
    )
    found = decide_messages([told, alert()], [], [], rules, NOW)
    assert [(each.receiver, each.group_key, each.withheld) for each in found] == [
        ("lead", "region=north,owner=", None),
        ("team", "", None),
    ]
    more = [alert("data_drift", region=region) for region in ("north", "south")]
    inhibited = [each.withheld for each in decide_messages([told, *more], [], [], rules, NOW)[1:]]
    assert inhibited == ["inhibited by alert_external (external)", None]
    silence = SilenceFact("silence_1", {"team": "*"}, "ann", "moving", NOW, NOW + HOUR)
    assert [silence.covers(each.labels, NOW) for each in (told, alert())] == [True, False]


def test_a_clock_that_went_back_far_delays_no_repeat():
    told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW + 300 * HOUR)]
    (found,) = decide_messages([alert()], told, [], routes(), NOW)
    assert (found.step, found.withheld) == ("repeat", None)


def test_an_escalation_comes_once_in_its_time_unless_somebody_acknowledges():
    rules = routes({"receivers": ["team"], "escalate": [{"after": "2h", "receivers": ["lead"]}]})
    found = play([alert()], rules, [], NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR)
    assert found == [[("team", "firing", None)], [], [("lead", "escalation", None)], []]
    told = [as_told(Message("alert_quality", 1, "team", "firing", "", None), NOW)]
    (held,) = decide_messages([alert(status="acknowledged")], told, [], rules, NOW + 2 * HOUR)
    assert (held.step, held.withheld) == ("escalation", "acknowledged by ann")


def test_an_escalation_counts_from_when_somebody_was_told():
    night = {"name": "night", "start": "10:00", "end": "15:00"}
    route = {"receivers": ["team"], "mute": ["night"], "escalate": [{"after": "2h", "receivers": ["lead"]}]}
    found = play([alert()], routes(route, mute_times=[night]), [], *(NOW + n * HOUR for n in (0, 3, 4, 5)))
    muted = ("team", "firing", "mute time 'night'")
    assert found == [[muted], [("team", "firing", None)], [], [("lead", "escalation", None)]]


def test_repeats_of_a_group_come_together():
    rules = routes({"receivers": ["team"], "group_by": ["monitor"], "repeat_every": "4h"})
    three = [alert(), alert("staleness"), alert("health", monitor="daily")]
    told = [
        as_told(Message(one.id, 1, "team", "firing", "", None), NOW + n * HOUR / 2)
        for n, one in enumerate(three)
    ]
    assert decide_messages(three, told, [], rules, NOW + 3.9 * HOUR) == []
    found = decide_messages(three, told, [], rules, NOW + 4 * HOUR)
    assert [(each.alert_id, each.step, each.group_key) for each in found] == [
        ("alert_quality", "repeat", "monitor=weekly"),
        ("alert_staleness", "repeat", "monitor=weekly"),
    ]


def test_groups_have_the_labels_that_the_route_names():
    rules = routes({"receivers": ["team"], "group_by": ["monitor", "version"]})
    assert decide_messages([alert()], [], [], rules, NOW)[0].group_key == "monitor=weekly,version=1"
