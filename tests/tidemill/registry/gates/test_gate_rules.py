"""What the gate decides, as laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.project.project_config import GateConfig
from tidemill.registry.gates.gate_rules import Evaluation, decide
from tidemill.tasks.paired_bootstrap import Interval

metrics = st.floats(0, 1)
gains = st.floats(-0.2, 0.2)
floors = st.none() | st.floats(0, 1)
anything = st.floats(allow_nan=True, allow_infinity=True)


def candidate(value, rows=5000, **others):
    return Evaluation("2", {"roc_auc": value}, rows, **others)


def champion(value, **others):
    return Evaluation("1", {"roc_auc": value}, 5000, **others)


@given(metrics, metrics, metrics, gains, floors)
def test_what_passes_still_passes_when_it_is_better(value, better, theirs, min_gain, floor):
    config = GateConfig(min_gain=min_gain, floor=floor)
    low, high = sorted([value, better])
    if decide(config, candidate(low), champion(theirs)).passed:
        assert decide(config, candidate(high), champion(theirs)).passed


@given(metrics, metrics, gains, floors)
def test_a_lower_bar_never_refuses_what_passed(value, theirs, min_gain, floor):
    strict = decide(GateConfig(min_gain=min_gain, floor=floor), candidate(value), champion(theirs))
    if strict.passed:
        assert decide(GateConfig(min_gain=min_gain - 0.1), candidate(value), champion(theirs)).passed


@given(metrics, gains, floors)
def test_without_a_champion_only_the_floor_matters(value, min_gain, floor):
    passed = decide(GateConfig(min_gain=min_gain, floor=floor), candidate(value), None).passed
    assert passed == (floor is None or value >= floor)


@given(st.sampled_from([math.nan, math.inf, -math.inf]), metrics, floors)
def test_what_is_not_a_number_never_passes(value, theirs, floor):
    config = GateConfig(floor=floor, min_gain=-1)
    assert not decide(config, candidate(value), champion(theirs)).passed
    assert not decide(config, candidate(value), None).passed
    assert not decide(config, candidate(theirs), champion(value)).passed
    assert not decide(config, Evaluation("2", {}, 5000), champion(theirs)).passed


@given(anything, anything, gains, floors, st.integers(0, 3000))
def test_every_verdict_has_reasons_and_numbers_that_json_knows(value, theirs, min_gain, floor, rows):
    import json

    config = GateConfig(min_gain=min_gain, floor=floor, min_rows=1000)
    verdict = decide(config, candidate(value, rows), champion(theirs), interval=Interval(-0.1, 0.1))
    assert verdict.reasons
    json.dumps([verdict.numbers, verdict.reasons], allow_nan=False)
    assert verdict.passed <= (rows >= 1000)


@given(metrics, metrics, gains)
def test_a_dry_run_decides_like_the_real_thing_and_off_decides_nothing(value, theirs, min_gain):
    verdicts = {
        mode: decide(GateConfig(mode=mode, min_gain=min_gain), candidate(value), champion(theirs))
        for mode in ("enforce", "dry_run", "off")
    }
    assert verdicts["dry_run"] == verdicts["enforce"]
    assert verdicts["off"].passed


def test_a_gain_of_just_what_is_needed_is_enough():
    assert decide(GateConfig(min_gain=0.01), candidate(0.73), champion(0.72)).passed
    assert decide(GateConfig(min_gain=0.01), candidate(0.08), champion(0.07)).passed
    assert not decide(GateConfig(min_gain=0.01), candidate(0.7299), champion(0.72)).passed


@given(metrics, st.floats(0, 0.2))
def test_a_tie_is_refused(value, min_gain):
    assert not decide(GateConfig(min_gain=min_gain), candidate(value), champion(value)).passed


@given(metrics, st.floats(-0.2, 0, exclude_max=True))
def test_a_tie_is_within_a_margin(value, margin):
    assert decide(GateConfig(min_gain=margin), candidate(value), champion(value)).passed


@pytest.mark.parametrize(
    ("min_gain", "mine", "passed", "said"),
    [
        (0.0, 0.72, False, "a gain of +0.0000, needed is more than 0"),
        (0.0, 0.721, True, "a gain of +0.0010, needed is more than 0"),
        (0.01, 0.72, False, "a gain of +0.0000, needed is at least +0.0100"),
        (-0.01, 0.71, True, "a gain of -0.0100, needed is at least -0.0100"),
        (-0.01, 0.7, False, "a gain of -0.0200, needed is at least -0.0100"),
        (
            0.0,
            0.72001,
            True,
            "0.72001 of version 2 against 0.72000 of champion 1: a gain of +0.00001, needed is more than 0",
        ),
        (0.01, 0.729999, False, "a gain of +0.009999, needed is at least +0.010000"),
    ],
)
def test_the_reason_says_what_is_needed(min_gain, mine, passed, said):
    verdict = decide(GateConfig(min_gain=min_gain), candidate(mine), champion(0.72))
    assert verdict.passed == passed
    assert [reason for reason in verdict.reasons if reason.endswith(said)]


def test_a_floor_that_is_missed_by_little_is_told_apart():
    verdict = decide(GateConfig(floor=0.75), candidate(0.749996), None)
    assert verdict.reasons[0] == "roc_auc 0.749996 of version 2, the floor is 0.750000"


@given(st.floats(0.5, 1), st.floats(1e-9, 0.1))
def test_a_gain_never_looks_like_none(value, gain):
    verdict = decide(GateConfig(), candidate(value + gain), champion(value))
    sentence = next(reason for reason in verdict.reasons if "a gain of" in reason)
    mine, theirs = sentence.split()[1], sentence.split()[6]
    assert mine != theirs
    assert float(sentence.partition("a gain of ")[2].partition(",")[0]) > 0


def test_rounding_is_no_gain():
    assert not decide(GateConfig(), candidate(0.1 + 0.2), champion(0.3)).passed


def test_failed_checks_come_first_and_say_their_numbers():
    config = GateConfig(floor=0.75, min_gain=0.002, min_rows=1000)
    verdict = decide(config, candidate(0.71, 800), champion(0.72))
    assert verdict.reasons == (
        "the hold-out has 800 rows, needed are 1,000 (gate.min_rows in params.yaml)",
        "roc_auc 0.7100 of version 2, the floor is 0.7500",
        "roc_auc 0.7100 of version 2 against 0.7200 of champion 1: "
        "a gain of -0.0100, needed is at least +0.0020",
    )
    assert verdict.numbers["gain"] == pytest.approx(-0.01)


def test_what_could_not_be_judged_is_refused_with_the_problem():
    problem = "version 2 needs features that are missing: wind"
    verdict = decide(GateConfig(), Evaluation("2", {}, 5000, (problem,)), champion(0.7))
    assert not verdict.passed
    assert verdict.reasons[0] == problem
    assert not decide(GateConfig(), candidate(0.9), Evaluation("1", {}, 5000, ("it is gone",))).passed


def test_a_candidate_of_another_feature_service_is_refused():
    verdict = decide(GateConfig(), candidate(0.9, service="old"), champion(0.7), service="new")
    assert not verdict.passed
    assert "'old'" in verdict.reasons[0]
    assert decide(GateConfig(), candidate(0.9, service="new"), champion(0.7), service="new").passed


@pytest.mark.parametrize(
    ("metric", "value", "suspicious"),
    [
        ("roc_auc", 1.0, True),
        ("roc_auc", 0.9999, False),
        ("neg_mae", -1e-12, True),
        ("neg_mae", -0.01, False),
        ("pipelines.own:gain", 7.0, False),
    ],
)
def test_a_candidate_without_any_mistake_is_suspicious(metric, value, suspicious):
    """It passes: an easy table has such models. But a person is told."""
    verdict = decide(GateConfig(metric=metric), Evaluation("2", {metric: value}, 900), None)
    assert verdict.passed
    assert any("is perfect, which is suspicious" in reason for reason in verdict.reasons) is suspicious


def test_small_units_are_no_perfect_model():
    figures = {"neg_mae": -8e-13, "r2": -0.02}  # of labels of about 1e-12
    reasons = decide(GateConfig(metric="neg_mae"), Evaluation("2", figures, 900), None).reasons
    assert reasons[-1:] == ("mae 8e-13 of version 2: there is no champion yet",)
    assert "perfect" not in " ".join(reasons)


@pytest.mark.parametrize(
    ("interval", "min_gain", "passed"),
    [
        (Interval(0.001, 0.02), 0.0, True),
        (Interval(-0.001, 0.02), 0.0, False),
        (Interval(-0.001, 0.02), -0.01, True),
        (Interval(0.0, 0.0), 0.0, False),
        (None, 0.0, False),
    ],
)
def test_by_its_interval_a_gain_must_be_more_than_chance_brings(interval, min_gain, passed):
    config = GateConfig(min_gain=min_gain, by="interval")
    assert decide(config, candidate(0.75), champion(0.74), interval=interval).passed is passed
    assert decide(config.model_copy(update={"by": "gain"}), candidate(0.75), champion(0.74)).passed
    assert decide(config, candidate(0.75), None).passed, "without a champion there is no gain"


def test_a_loss_is_told_as_people_know_it():
    config = GateConfig(metric="neg_mae", floor=-15.0, min_rows=1)
    mine, theirs = Evaluation("2", {"neg_mae": -12.25}, 900), Evaluation("1", {"neg_mae": -12.5}, 900)
    reasons = decide(config, mine, theirs).reasons
    assert "mae 12.2500 of version 2, at most 15.0000 is allowed" in reasons
    assert any(
        one.startswith("mae 12.2500 of version 2 against 12.5000 of champion 1 (lower") for one in reasons
    )
