"""When a rollout goes on, waits, or goes back."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from tidemill.project.serve_config import RolloutConfig
from tidemill.rollouts.group_differences import Difference
from tidemill.rollouts.step_checks import CanaryMetrics, judge
from tidemill.serving.observability.version_counters import VersionCounters

PLAN = RolloutConfig(
    steps=[{"share": 0.1, "minutes": 10, "requests": 100}, {"share": 1.0, "minutes": 10, "requests": 100}]
)


def count(rows=500, milliseconds=1.0, failed=0):
    counters = VersionCounters()
    for _ in range(rows):
        counters.scored("canary", "2", 1, milliseconds / 1000)
    if failed:
        counters.failed("canary", "2", failed, ValueError("bad"))
    return counters.counts()["canary", "2"]


GOOD = CanaryMetrics(minutes=11, replicas=2, loaded=2, unloadable=None, canary=count(), champion=count())


def found(gain, low, high, name="roc_auc"):
    return Difference(name, 0.7, 0.7 + gain, gain, low, high, (900, 900), (90, 90))


def verdict(**changes):
    return judge(PLAN, 0, replace(GOOD, **changes))


def test_what_does_well_for_long_enough_goes_on():
    good = verdict(quality=found(-0.03, -0.07, 0.01))
    assert (good.action, good.reason) == ("advance", "errors, latency and quality are as they should be")
    assert verdict().reason == "errors and latency are as they should be; quality could not be judged"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"minutes": 9}, "9.0 of 10 minutes over"),
        ({"canary": count(99)}, "99 of 100 rows answered"),
        ({"loaded": 1}, "1 of 2 replicas has loaded it"),
        ({"replicas": 0, "loaded": 0}, "no replica is alive"),
        ({"canary": count(100, failed=2)}, "some rows failed, too few to tell"),
    ],
)
def test_what_is_not_known_well_enough_waits(changes, reason):
    assert (verdict(**changes).action, verdict(**changes).reason) == ("wait", reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unloadable": "needs snow"}, "a replica cannot load it: needs snow"),
        ({"canary": count(90, failed=10)}, "it could not score 10 of 100 rows"),
        ({"canary": count(milliseconds=40)}, "p99 of a call of the model"),
        ({"quality": found(-0.05, -0.07, -0.03)}, "roc_auc 0.6500, the champion's 0.7000: -0.0500"),
        ({"estimate": found(-0.1, -0.12, -0.08, "expected roc_auc")}, "no labels yet: expected roc_auc"),
        ({"scores": found(0.2, 0.15, 0.25, "mean score")}, "mean score 0.9000, the champion's 0.7000"),
        ({"minutes": 25 * 60, "canary": count(9)}, "the step did not end within 24 hours: 9 of 100"),
        ({"minutes": 25 * 60, "canary": count(100, failed=2)}, "the step did not end within 24 hours: some"),
    ],
)
def test_what_is_bad_goes_back_at_once_and_says_why(changes, reason):
    bad = verdict(**{"minutes": 1, **changes})
    assert bad.action == "roll_back"
    assert bad.reason.startswith(reason)
    assert bad.checks[0] == bad.reason


@pytest.mark.parametrize("estimated", ["", "expected "])
def test_losses_are_told_by_their_own_name_and_sign(estimated):
    worse = Difference(f"{estimated}neg_brier", -0.2, -0.3, -0.1, -0.12, -0.08, (900, 900), (90, 90))
    bad = verdict(**{"estimate" if estimated else "quality": worse})
    told = f"{estimated}brier 0.3000, the champion's 0.2000 (lower is better): a gain of -0.1000 (95 % sure"
    assert (bad.action, told in bad.reason) == ("roll_back", True), bad.reason


def test_a_few_milliseconds_more_are_no_reason():
    assert verdict(canary=count(milliseconds=4)).action == "advance"


def timed(*milliseconds):
    counters = VersionCounters()
    for one in milliseconds:
        counters.scored("canary", "2", 1, one / 1000)
    return counters.counts()["canary", "2"]


@pytest.mark.parametrize("calls", [100, 400])
def test_slow_calls_end_a_rollout_where_they_are_more_than_chance(calls):
    once = verdict(canary=timed(56, 56, *[1] * (calls - 2)))
    assert once.action == "advance"
    often = verdict(canary=timed(*[56] * (calls // 10), *[1] * (calls - calls // 10)))
    assert often.action == "roll_back"
    if calls == 100:
        assert "2 slow calls of 100 may be chance" in "; ".join(once.checks)


def test_labels_are_believed_rather_than_estimates():
    assert verdict(quality=found(0.0, -0.01, 0.01), scores=found(0.3, 0.2, 0.4)).action == "advance"


def test_no_estimate_counts_while_labels_contradict_the_champion():
    worse = {"estimate": found(-0.1, -0.12, -0.08, "expected roc_auc"), "scores": found(0.3, 0.2, 0.4)}
    assert verdict(**worse).action == "roll_back"
    told = verdict(**worse, contradicted="concept_drift")
    assert (told.action, "(alert concept_drift)" in "; ".join(told.checks)) == ("advance", True)
    measured = verdict(quality=found(-0.05, -0.07, -0.03), contradicted="concept_drift")
    assert measured.action == "roll_back"


@pytest.mark.parametrize("shares", [[], [0.5, 0.5], [0.5, 0.1]])
def test_a_plan_whose_shares_do_not_grow_is_refused(shares):
    with pytest.raises(ValidationError, match="must grow"):
        RolloutConfig(steps=[{"share": share} for share in shares])
