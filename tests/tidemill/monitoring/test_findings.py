from dataclasses import replace

from tidemill.monitoring.drift.drift_columns import ColumnDrift, Comparison
from tidemill.monitoring.findings import judge_comparison
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.quality.labelled_quality import MeasuredQuality, WindowQuality

MONITOR = Monitor.model_validate(
    {
        "name": "weekly",
        "window": "14d",
        "every": "7d",
        "data_drift": {"share": 0.5},
        "prediction_drift": {},
        "quality": {"max_drop": 0.03, "floor": 0.6},
    }
)


def column(name: str, drifted: bool) -> ColumnDrift:
    return ColumnDrift(name, "wasserstein", 0.3 if drifted else 0.0, 0.1, drifted, 0.25, 0.5, 0.0, 0.0, None)


def comparison(drifted: int, columns: int, score: bool | None = False) -> Comparison:
    found = tuple(column(f"f{number}", number < drifted) for number in range(columns))
    return Comparison(found, None if score is None else column("score", score), 9, 9)


def quality(value: float | None, decayed: bool | None, expected: float | None = 0.71) -> WindowQuality:
    overall = MeasuredQuality({"roc_auc": value}, 4000, 0.2, 0.2, None)
    return WindowQuality(
        overall,
        {},
        "roc_auc",
        value,
        0.02,
        expected,
        decayed,
        None if decayed is not None else "no labels",
        0.03,
    )


def test_all_is_well():
    findings = judge_comparison(MONITOR, comparison(4, 10), quality(0.70, False), {})
    assert findings.found == ()
    assert findings.judged == {"data_drift", "feature_drift", "prediction_drift", "quality"}
    assert findings.unjudged == {}


def test_each_finding_says_what_and_how_much():
    findings = judge_comparison(MONITOR, comparison(7, 10, score=True), quality(0.55, True), {})
    drift, scores, decay = (finding.message for finding in findings.found)
    assert drift == "7 of 10 features have drifted (70%, alert at 50%): f0, f1, f2, f3, f4 and 2 more"
    assert (
        scores == "the predictions have drifted: distance 0.300 (alert at 0.1), mean 0.250 before, 0.500 now"
    )
    assert decay == (
        "roc_auc is 0.5500 (± 0.020) over 4,000 labelled predictions, 0.1600 below the hold-out's 0.7100 "
        "(allowed: 0.03), below the floor of 0.6"
    )


def test_one_broken_feature_is_alarming_and_named_with_the_reason():
    broken = replace(column("wind", True), value=None, broken="no value in the window")
    found = Comparison((broken, *(column(f"f{number}", False) for number in range(9))), None, 9, 9)
    (finding,) = judge_comparison(MONITOR, found, quality(0.7, False), {}).found
    assert finding.kind == "feature_drift"
    assert finding.message == (
        "1 of 10 features is far from what the model was trained on: wind (no value in the window)"
    )


def test_the_share_itself_is_alarming():
    assert judge_comparison(MONITOR, comparison(5, 10), quality(0.7, False), {}).found[0].kind == "data_drift"


def test_a_fall_below_the_floor_needs_no_hold_out():
    (finding,) = judge_comparison(MONITOR, comparison(0, 10), quality(0.55, True, expected=None), {}).found
    assert (
        finding.message
        == "roc_auc is 0.5500 (± 0.020) over 4,000 labelled predictions, below the floor of 0.6"
    )


def test_what_could_not_be_judged_is_named_with_the_reason():
    findings = judge_comparison(
        MONITOR, comparison(0, 0, score=None), quality(None, None), {"prediction_drift": "9 rows"}
    )
    assert findings.judged == set()
    assert findings.unjudged == {
        "data_drift": "no features to compare",
        "feature_drift": "no features to compare",
        "prediction_drift": "9 rows",
        "quality": "no labels",
    }


def test_what_is_not_watched_is_neither_judged_nor_missed():
    monitor = MONITOR.model_copy(update={"quality": None, "prediction_drift": None})
    findings = judge_comparison(monitor, comparison(0, 10, score=None), None, {})
    assert findings.judged == {"data_drift", "feature_drift"}
    assert findings.unjudged == {}
