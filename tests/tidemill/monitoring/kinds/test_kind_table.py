"""What is said of a window: which kinds were judged, what they found, and what could not be judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.tidemill.monitoring.made_windows import logged, monitor_of, project_of, reference_of, window_of
from tidemill.errors import FeatureError
from tidemill.monitoring.kinds import kind_table
from tidemill.monitoring.kinds.kind_table import TABLE, MonitorKind, gather, judge_window
from tidemill.monitoring.kinds.quality_decay import decay
from tidemill.monitoring.monitor_results import results_of
from tidemill.monitoring.quality.labelled_quality import MeasuredQuality, WindowQuality
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.tasks.binary import Binary

TASK = Binary("roc_auc")
WATCHED = {"data_drift": {"share": 0.5}, "prediction_drift": {}, "quality": {"max_drop": 0.03, "floor": 0.6}}


def window(root: Path, moved: int = 0, shift: float = 0.0, **sections: object) -> WindowRows:
    """Return a window in which some of ten features have moved, and scores by ``shift``."""
    random, rows = np.random.default_rng(1), 1000
    answers = random.uniform(0.1, 0.7, rows)
    labels = (random.random(rows) < answers).astype(int)
    before = {f"f{place}": random.normal(0, 1, rows) for place in range(10)}
    now = {name: random.normal(0.3 * (place < moved), 1, rows) for place, name in enumerate(before)}
    reference = reference_of(TASK, answers, labels, before)
    made = logged(TASK, answers[::-1] + shift, labels[::-1], now)
    return window_of(project_of(root), monitor_of(**sections or WATCHED), reference, made, {"roc_auc": 0.7})


def quality(value: float, expected: float | None = 0.71) -> WindowQuality:
    overall = MeasuredQuality({"roc_auc": value}, 4000, 0.2, 0.2, None)
    return WindowQuality(overall, "roc_auc", value, 0.02, expected, True, None, 0.03)


def test_all_is_well(tmp_path: Path):
    findings = gather(judge_window(window(tmp_path)))
    assert findings.found == ()
    assert findings.judged == {"data_drift", "feature_drift", "prediction_drift", "quality"}
    assert findings.unjudged == {}


def test_each_finding_says_what_and_how_much(tmp_path: Path):
    findings = gather(judge_window(window(tmp_path, moved=7, shift=0.2)))
    drift, scores = (finding.message for finding in findings.found)
    assert drift.startswith("7 of 10 features have drifted (70%, alert at 50%): f")
    assert drift.endswith(" and 2 more")
    assert scores.startswith("the predictions have drifted: distance 1.1")
    assert "(alert at 0.1), mean 0.4" in scores


def test_how_the_answers_lie_is_on_record(tmp_path: Path):
    made = window(tmp_path, shift=0.2)
    answers = judge_window(made)["prediction_drift"].results["answers"]
    assert answers.keys() == {"quantiles_now", "quantiles_before"}
    for side, scores in (("now", made.own["score"]), ("before", made.reference.scores)):
        for share, value in answers[f"quantiles_{side}"].items():
            assert value == pytest.approx(scores.quantile(float(share)), abs=0.005)


def test_a_share_of_the_features_is_alarming(tmp_path: Path):
    assert [each.kind for each in gather(judge_window(window(tmp_path, moved=5))).found] == ["data_drift"]


def test_a_decay_names_the_hold_out_and_the_floor():
    limits = monitor_of(**WATCHED).quality
    assert limits is not None
    assert decay(quality(0.55), limits).message == (
        "roc_auc is 0.5500 (± 0.020) over 4,000 labelled predictions, 0.1600 below the hold-out's 0.7100 "
        "(allowed: 0.03), below the floor of 0.6"
    )
    assert decay(quality(0.55, expected=None), limits).message == (
        "roc_auc is 0.5500 (± 0.020) over 4,000 labelled predictions, below the floor of 0.6"
    )
    own = replace(quality(0.55, expected=None), metric="forecast:pinball")
    assert decay(own, limits).message.startswith("pinball is 0.5500 (± 0.020) over")


def test_one_broken_feature_is_alarming_and_named_with_the_reason(tmp_path: Path):
    made = window(tmp_path)
    broken = replace(made, given=made.rows.with_columns(pl.lit(None, pl.Float64).alias("feature.f3")))
    judged = judge_window(broken)
    (finding,) = gather(judged).found
    assert finding.kind == "feature_drift"
    assert finding.message == (
        "1 of 10 features is far from what the model was trained on: f3 (no value in the window)"
    )
    results = results_of(broken, judged, gather(judged))
    assert len(results["examples"]["feature_drift"]) == 5
    assert (results["feature_skew"], results["class_drift"]) == (None, None)


def test_what_could_not_be_judged_is_named_with_the_reason(tmp_path: Path):
    made = window(tmp_path)
    made = replace(
        made,
        version="2",
        labelled=made.labelled.clear(),
        reference=made.reference.without(made.reference.features.columns),
    )
    findings = gather(judge_window(made))
    assert findings.judged == set()
    assert findings.unjudged == {
        "data_drift": "no features to compare",
        "feature_drift": "no features to compare",
        "prediction_drift": "0 predictions by this version, 300 are needed",
        "quality": "0 labels, 300 are needed",
    }


def test_what_is_not_watched_is_neither_judged_nor_missed(tmp_path: Path):
    findings = gather(judge_window(window(tmp_path, data_drift={})))
    assert findings.judged == {"data_drift", "feature_drift"}
    assert findings.unjudged == {}


def test_a_personal_label_judges_no_answer(tmp_path: Path):
    findings = gather(judge_window(replace(window(tmp_path), label_is_hidden=True)))
    assert findings.judged == {"data_drift", "feature_drift", "prediction_drift"}
    assert "the label is personal" in findings.unjudged["quality"]


@pytest.mark.parametrize("error", [FeatureError("the store is gone"), ZeroDivisionError("by zero")])
def test_a_kind_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail(*_: object) -> None:
        raise error

    kinds = {**TABLE, "data_drift": MonitorKind(fail, TABLE["data_drift"].finds)}
    monkeypatch.setattr(kind_table, "TABLE", kinds)
    findings = gather(judge_window(window(tmp_path, shift=0.2), only=kinds))
    assert [each.kind for each in findings.found] == ["prediction_drift"]
    assert str(error) in findings.unjudged["data_drift"]
    alone = window(tmp_path, data_drift={})
    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            judge_window(alone, only=kinds)
    else:
        assert gather(judge_window(alone, only=kinds)).judged == set()


def test_examples_of_drifted_answers_are_the_versions_own(tmp_path: Path):
    made = window(tmp_path, shift=0.2, prediction_drift={})
    far = made.rows.with_columns(pl.lit("0").alias("version"), pl.col("score") + 5.0)
    far = far.with_columns(prediction_id="other-" + pl.col("prediction_id"))
    judged = judge_window(replace(made, given=pl.concat([far, made.rows])))["prediction_drift"]
    (ids,) = judged.examples.values()
    assert len(ids) > 0
    assert set(ids) <= set(made.rows["prediction_id"])
