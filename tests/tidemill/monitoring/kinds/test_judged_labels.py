"""Concept drift, calibration, fairness and business figures of labelled windows, by task."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from tests.tidemill.monitoring.made_windows import (
    NOW,
    as_json,
    logged,
    monitor_of,
    project_of,
    reference_of,
    window_of,
)
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kinds.kind_table import gather, judge_window
from tidemill.monitoring.monitor_results import results_of
from tidemill.monitoring.run_explanation import explain_run
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task import Task

pytestmark = pytest.mark.slow

CLASSES = ("a", "b", "c")
TASKS: dict[str, Task] = {
    "binary": Binary("roc_auc"),
    "multiclass": Multiclass("accuracy", classes=CLASSES),
    "regression": Regression("neg_mae"),
}
ROWS = 1500


def world(
    kind: str, rng: np.random.Generator, sign: float = 1.0, shift: float = 0.0, first: int = 0
) -> tuple[dict[str, Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return features, answers and labels; from row ``first`` on labels depend on the wind otherwise."""
    wind, city = rng.normal(size=ROWS), rng.choice(CLASSES, ROWS)
    known = 1.2 * wind + 0.5 * (city == "a")
    changed = np.arange(ROWS) >= first
    truth = np.where(changed, sign * 1.2 * wind + 0.5 * (city == "a") + shift, known)
    features = {"wind": wind, "city": city, "rain": rng.normal(size=ROWS)}
    if kind == "regression":
        return features, 10 * known, 10 * truth + 5 * rng.standard_t(4, ROWS)
    if kind == "binary":
        return features, 1 / (1 + np.exp(-known)), (rng.random(ROWS) < 1 / (1 + np.exp(-truth))).astype(int)
    odds = [np.exp(np.column_stack([side, -side, np.zeros(ROWS)])) for side in (known, truth)]
    answers, chances = (each / each.sum(axis=1, keepdims=True) for each in odds)
    return features, answers, np.array(CLASSES)[(rng.random((ROWS, 1)) > chances.cumsum(axis=1)).sum(axis=1)]


def window(root: Path, kind: str, sections: dict[str, Any], seed: int = 0, **change: float) -> WindowRows:
    task, rng = TASKS[kind], np.random.default_rng(seed)
    classes = {"classes": list(CLASSES)} if kind == "multiclass" else {}
    features, answers, labels = world(kind, rng)
    reference = reference_of(task, answers, labels, features)
    features, answers, labels = world(kind, rng, **change)
    rows = logged(task, answers, labels, features)
    return window_of(project_of(root, kind, **classes), monitor_of(**sections), reference, rows)


def found(made: WindowRows) -> dict[str, Finding]:
    """Return the findings; all results can be written, and each kind says its figure."""
    judged = judge_window(made)
    findings = gather(judged)
    assert findings.unjudged == {}
    results = results_of(made, judged, findings)
    json.dumps(results, allow_nan=False)
    assert explain_run("ok", ROWS, {**results, "findings": []}).keys() == judged.keys()
    return {each.kind: each for each in findings.found}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TASKS)
def test_labels_that_depend_on_features_otherwise_are_found_and_a_stationary_window_is_not(
    tmp_path: Path, kind: str
):
    assert found(window(tmp_path, kind, {"concept_drift": {}})) == {}
    turned = found(window(tmp_path, kind, {"concept_drift": {}}, sign=-1.0))["concept_drift"]
    assert "errors are" in turned.message
    assert "the same rows have other labels than in training" in turned.message


@pytest.mark.slow
@pytest.mark.parametrize("kind", TASKS)
def test_a_change_within_the_window_is_dated(tmp_path: Path, kind: str):
    (finding,) = found(window(tmp_path, kind, {"concept_drift": {}}, sign=-1.0, first=1000)).values()
    since = finding.details["since"]
    assert since is not None
    assert "2013-04-09" <= since < "2013-04-12", "two thirds of the fortnight before the 15th"
    assert f"since {since[:10]}" in finding.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "detector", "said"),
    [
        ("binary", {"name": "ddm", "warm_start": 100}, "are given a wrong class"),
        ("regression", "page_hinkley", "are further off than half of the hold-out's"),
    ],
)
def test_a_detector_of_river_finds_and_dates_a_change_and_a_stationary_window_is_none(
    tmp_path: Path, kind: str, detector: Any, said: str
):
    sections = {"concept_drift": {"detector": detector, "explained": 1.0}}
    name = detector["name"] if kind == "binary" else detector
    calm = judge_window(window(tmp_path, kind, sections))["concept_drift"]
    assert (calm.found, calm.unjudged) == ((), None)
    assert f"river's {name} finds no rise of mistakes" in (calm.said or "")
    (finding,) = found(window(tmp_path, kind, sections, sign=-1.0, first=1000)).values()
    since, given = finding.details["since"], finding.details["parameters"]
    assert "2013-04-10" <= since < "2013-04-12", "two thirds of the fortnight before the 15th"
    assert f"river's {name} finds more mistakes since {since[:10]}" in finding.message
    assert said in finding.message
    assert (finding.details["detector"], given.get("warm_start", 100)) == (name, 100)
    assert (since < finding.details["detected"]) == (name == "ddm"), "it alone warns before"


def moved(root: Path, detector: str, by: float, times: float, sign: float, noise: float) -> WindowRows:
    """Return a window of a regression in which the wind, which errors grow with, is another."""
    task, rng = TASKS["regression"], np.random.default_rng(7)

    def rows(
        by: float, times: float, sign: float, noise: float
    ) -> tuple[Any, npt.NDArray[Any], npt.NDArray[Any]]:
        wind, rain = times * rng.normal(size=ROWS) + by, rng.normal(size=ROWS)
        known = 12 * wind + 5 * rain  # the model says eight tenths of it
        return {"wind": wind, "rain": rain}, 0.8 * known, sign * known + noise * rng.normal(size=ROWS)

    features, answers, labels = rows(0.0, 1.0, 1.0, 5.0)
    reference = reference_of(task, answers, labels, features)
    features, answers, labels = rows(by, times, sign, noise)
    declared = monitor_of(concept_drift={"detector": detector})
    return window_of(
        project_of(root, "regression"), declared, reference, logged(task, answers, labels, features)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "times", "turned", "detector"),
    [
        (2.0, 1.0, False, "sum"),
        (0.0, 2.0, False, "sum"),
        (1.0, 1.0, True, "sum"),
        (2.0, 1.0, False, "page_hinkley"),
    ],
)
def test_errors_that_inputs_alone_make_larger_are_no_changed_labels(
    tmp_path: Path, by: float, times: float, turned: bool, detector: str
):
    made = moved(tmp_path, detector, by, times, 0.4 if turned else 1.0, 5.0)
    assert list(found(made)) == ["concept_drift"] * turned


@pytest.mark.slow
def test_too_few_rows_like_the_hold_out_tell_nothing_of_larger_errors(tmp_path: Path):
    found = gather(judge_window(moved(tmp_path, "sum", 3.0, 1.0, 1.0, 8.0)))
    assert found.found == ()
    assert "rows with inputs such as the hold-out has, which is within" in found.unjudged["concept_drift"]


@pytest.mark.slow
@pytest.mark.parametrize("matters", [True, False])
def test_labels_tell_nothing_of_the_concept_while_a_feature_that_matters_is_broken(
    tmp_path: Path, matters: bool
):
    made = window(tmp_path, "binary", {"concept_drift": {}}, sign=-1.0)
    rows = made.rows.with_columns(pl.col("feature.wind") * 1000, pl.lit(None).alias("feature.rain"))
    moves = {"wind": 1.0 * matters, "rain": 0.01}
    rows_before = made.rows.clear()
    broken = replace(
        made, given=rows, labelled=rows, past=lambda _: rows_before, attributions=lambda _: moves
    )
    findings = gather(judge_window(broken))
    assert [each.kind for each in findings.found] == ["concept_drift"] * (not matters)
    assert (
        "values are broken at their source (wind)" in findings.unjudged.get("concept_drift", "")
    ) == matters


@pytest.mark.slow
def test_features_may_have_names_that_polars_reads_as_patterns(tmp_path: Path):
    odd, kinds = "^rain|version$", ("data_drift", "multivariate_drift", "slice_drift", "concept_drift")
    sections = {kind: {} for kind in kinds} | {"fairness": {"by": [odd]}, "slices": [{"by": odd}]}
    made = window(tmp_path, "binary", sections, sign=-1.0)
    calm = pl.when(pl.int_range(pl.len()) % 5 > 0).then(7.0).otherwise("feature.rain").alias("feature.rain")
    rows = made.rows.with_columns(calm).rename({"feature.rain": f"feature.{odd}"})
    of = made.reference
    sides = {name: getattr(of, name).rename({"rain": odd}) for name in ("features", "held_out")}
    one = replace(made, given=rows, labelled=rows, reference=replace(of, **sides))
    findings = gather(judge_window(one))
    assert findings.unjudged == {}
    assert {each.kind for each in findings.found} >= {*kinds, "feature_drift"} - {"data_drift"}


@pytest.mark.slow
def test_a_change_that_leaves_the_errors_as_large_as_they_were_is_found(tmp_path: Path):
    (finding,) = found(window(tmp_path, "binary", {"concept_drift": {}}, shift=1.5)).values()
    assert finding.message.startswith("the window's own labels explain")


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_probabilities_that_are_no_frequencies_any_more_are_found(tmp_path: Path, kind: str):
    assert found(window(tmp_path, kind, {"calibration": {}})) == {}
    (finding,) = found(window(tmp_path, kind, {"calibration": {}}, shift=1.5)).values()
    of = " of a" if kind == "multiclass" else ""
    assert finding.message.startswith(f"probabilities{of} are off by 0.")
    made = window(tmp_path, kind, {"calibration": {}}, shift=1.5)
    shown = made.rows.filter(
        pl.col("prediction_id").is_in(judge_window(made)["calibration"].examples["calibration"])
    )
    missed = shown["label"] if kind == "binary" else shown["target"] == "a"
    assert missed.to_list() == [1] * 5
    said = shown["score"] if kind == "binary" else [json.loads(one)["a"] for one in shown["answer"]]
    assert max(said) < 0.5, "labels that were thought to be unlikely"
    assert "more than on the hold-out (allowed: 0.05)" in finding.message


def test_days_whose_labels_resemble_each_other_are_not_taken_for_wrong_probabilities(tmp_path: Path):
    days, task, project = 14, TASKS["binary"], project_of(tmp_path)

    def labels(rng: np.random.Generator, shift: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        answers = np.array([0.2, 0.4, 0.6])[rng.integers(0, 3, 100 * days)]
        odds = np.log(answers / (1 - answers)) + rng.normal(size=days).repeat(100) + shift
        return answers, (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(int)

    def alarms(seed: int, shift: float) -> bool:
        rng = np.random.default_rng(seed)
        (before, known), (now, given) = labels(rng, 0.0), labels(rng, shift)
        rows = logged(task, now, given, {"wind": now})
        made = window_of(
            project, monitor_of(calibration={}), reference_of(task, before, known, {"wind": before}), rows
        )
        return bool(judge_window(made)["calibration"].found)

    assert sum(alarms(seed, 0.0) for seed in range(12)) == 0
    assert sum(alarms(seed, 2.0) for seed in range(4)) >= 3


def test_a_ceiling_judges_probabilities_that_never_were_frequencies(tmp_path: Path):
    task, rng = TASKS["binary"], np.random.default_rng(0)
    answers = rng.uniform(0.6, 0.9, ROWS)
    labels = (rng.random(ROWS) < answers - 0.4).astype(int)
    reference = reference_of(task, answers, labels, {"wind": answers})
    rows = logged(task, answers, labels, {"wind": answers})
    project = project_of(tmp_path)
    assert found(window_of(project, monitor_of(calibration={}), reference, rows)) == {}
    (finding,) = found(window_of(project, monitor_of(calibration={"ceiling": 0.2}), reference, rows)).values()
    assert "above the ceiling of 0.2" in finding.message


@pytest.mark.parametrize(("width", "held"), [(1.645, True), (0.8, False), (4.0, False)])
def test_intervals_hold_their_share_of_the_labels(tmp_path: Path, width: float, held: bool):
    task, rng = Custom("own:hits"), np.random.default_rng(0)
    answers = np.empty(ROWS, dtype=object)
    answers[:] = [{"low": -width, "high": width}] * ROWS
    rows = logged(task, answers, rng.normal(size=ROWS), {"wind": rng.normal(size=ROWS)})
    reference = reference_of(task, answers, [0.0] * ROWS, {"wind": rng.normal(size=ROWS)})
    monitor = monitor_of(calibration={"interval": ["low", "high"]})
    finding = found(window_of(project_of(tmp_path, "custom"), monitor, reference, rows)).get("calibration")
    assert (finding is None) == held
    shown = rows.filter(
        pl.col("prediction_id").is_in(
            judge_window(window_of(project_of(tmp_path, "custom"), monitor, reference, rows))[
                "calibration"
            ].examples["calibration"]
        )
    )
    if width < 1:
        assert shown["target"].cast(pl.Float64).abs().min() > 2.5, "the labels furthest outside"
    if finding is not None:
        assert "of 1,500 labels lie between low and high, 90.0% should" in finding.message


@pytest.mark.parametrize("kind", TASKS)
def test_a_group_for_which_answers_are_worse_is_found_and_named(tmp_path: Path, kind: str):
    sections = {"fairness": {"by": ["city", "rain"], "max_rate_gap": 0.3}}
    made = window(tmp_path, kind, sections)
    assert found(made) == {}
    strict = {"fairness": {"by": ["city"], "max_gap": 1e-9, "max_rate_gap": 0.9}}
    nothing = judge_window(window(tmp_path, kind, strict))["fairness"]
    assert nothing.found == ()
    assert (nothing.said or "").endswith(" rows), within chance")
    column = "target" if kind == "regression" else "label" if kind == "binary" else "target"
    answers = made.rows["feature.city"] == "b"
    rows = made.rows.to_dicts()
    for row, inside in zip(rows, answers, strict=True):
        if inside and kind == "regression":
            row["target"] = str(float(row["target"]) + 20)
        elif inside:
            row[column] = int(row["score"] < 0.5) if kind == "binary" else "c"
    worse = made.rows.with_columns(
        type(made.rows)({column: [row[column] for row in rows]}, schema={column: made.rows.schema[column]})
    )
    unfair = window_of(made.project, made.monitor, made.reference, worse)
    finding = found(unfair)["fairness"]
    assert finding.message.startswith("city b: ")
    assert finding.details["about"] == ["city"]
    shown = worse.filter(pl.col("prediction_id").is_in(judge_window(unfair)["fairness"].examples["fairness"]))
    assert shown["feature.city"].to_list() == ["b"] * 5
    truth, answers = unfair.task.truth_of_log(shown), unfair.task.given_in_log(shown)
    everywhere = unfair.task.losses(unfair.task.truth_of_log(worse), unfair.task.given_in_log(worse))
    assert unfair.task.losses(truth, answers).min() > np.quantile(everywhere, 0.95)


def test_groups_may_be_fields_of_the_request_and_an_unknown_column_is_named(tmp_path: Path):
    task, rng = TASKS["binary"], np.random.default_rng(0)
    sex = rng.choice(["f", "m"], ROWS)
    answers = np.where(sex == "f", 0.3, 0.4) + rng.uniform(0, 0.3, ROWS)
    rows = logged(task, answers, features={"wind": answers}, instance=as_json([{"sex": one} for one in sex]))
    reference = reference_of(task, answers, [0, 1] * (ROWS // 2), {"wind": answers})
    project = project_of(tmp_path)
    by_sex = window_of(project, monitor_of(fairness={"by": ["sex"]}), reference, rows)
    (finding,) = found(by_sex).values()
    assert "sex f: positive rate 0.3" in finding.message
    shown = rows.filter(pl.col("prediction_id").is_in(judge_window(by_sex)["fairness"].examples["fairness"]))
    assert shown["instance"].to_list() == ['{"sex": "m"}'] * 5
    assert shown["score"].min() > 0.69, "they get the answer yes too often"
    unknown = rows.with_columns(instance=pl.col("instance").str.replace('"f"', "null"))
    (finding,) = found(replace(by_sex, given=unknown)).values()
    assert "sex missing: positive rate 0.3" in finding.message
    judged = judge_window(window_of(project, monitor_of(fairness={"by": ["sect"]}), reference, rows))
    assert "fairness.by names 'sect'" in (judged["fairness"].unjudged or "")


PROFIT = """
def profit(decisions, labels, features):
    return [10.0 if decision["send"] and label else -1.0 for decision, label in zip(decisions, labels)]

def sent(decisions, labels, features):
    assert labels == [None] * features.height
    return [float(decision["send"]) for decision in decisions]

def wrong(decisions, labels, features):
    return [1.0]
"""


def kpi(root: Path, wins: float, before: float | None = None, hidden: bool = False, **section: Any) -> Judged:
    """Judge a window in which a share of the labels is 1, after one with another share; 0: with few rows."""
    task, rng = TASKS["binary"], np.random.default_rng(1)
    answers = rng.random(ROWS)

    def rows(share: float):
        labels = (rng.random(ROWS) < share).astype(int)
        return logged(task, answers, labels, {"wind": answers}, decision=as_json([{"send": True}] * ROWS))

    project = project_of(root)
    (root / "business_numbers.py").write_text(PROFIT)
    reference = reference_of(task, answers, [0, 1] * (ROWS // 2), {"wind": answers})
    monitor = monitor_of(kpi={"function": "business_numbers:profit", **section})
    made = replace(window_of(project, monitor, reference, rows(wins)), label_is_hidden=hidden)
    if before is not None:
        earlier = rows(before or 0.5)[: None if before else 9]
        made.__dict__["before"] = window_of(project, monitor, reference, earlier)  # in place of the log
    return judge_window(made)["kpi"]


def test_a_business_figure_is_compared_with_its_limits_and_with_the_window_before(tmp_path: Path):
    low = kpi(tmp_path, 0.3, floor=3.0)
    assert "profit is 2.498" in low.found[0].message
    assert "below the floor of 3" in low.found[0].message
    shown = [int(name[1:]) for name in low.examples["kpi"]]
    assert len(shown) == 5
    assert shown == sorted(shown), "those that lost most, all of them the same"
    chance = kpi(tmp_path, 0.3, floor=2.6)
    assert chance.found == (), "not further below than chance brings"
    assert (chance.said or "").endswith("; floor 2.6, within chance")
    assert (kpi(tmp_path, 0.3, floor=2.0).said or "").endswith("; floor 2")
    assert "predictions, the same for each; floor 2" in (kpi(tmp_path, 1.0, floor=2.0).said or "")
    assert "above the ceiling of 1" in kpi(tmp_path, 0.3, ceiling=1.0).found[0].message
    fallen = kpi(tmp_path, 0.3, before=0.5)
    assert "less than 4." in fallen.found[0].message
    assert kpi(tmp_path, 0.3, before=0.3).found == ()
    assert kpi(tmp_path, 0.3, before=0.5, max_drop=5).found == ()
    first = kpi(tmp_path, 0.3, before=0.0, floor=1.0, max_drop=5)  # nothing is there yet
    assert "a drop is not judged" in (first.said or "")


def test_a_business_figure_may_need_no_labels_and_a_wrong_function_is_named(tmp_path: Path):
    sent = kpi(tmp_path, 0.3, labels=False, function="business_numbers:sent", floor=0.5)
    assert (sent.found, sent.unjudged, sent.results["kpi"]["value"]) == ((), None, 1.0)
    wrong = kpi(tmp_path, 0.3, function="business_numbers:wrong", floor=0.5)
    assert wrong.unjudged == "business_numbers:wrong returned shape (1,) for 1,500 rows"
    gone = kpi(tmp_path, 0.3, function="business_numbers:gone", floor=0.5)
    assert "has no 'gone'" in (gone.unjudged or "")


def test_too_few_labels_judge_nothing(tmp_path: Path):
    sections = {"concept_drift": {}, "calibration": {}, "kpi": {"function": "own:hits"}}
    made = window(tmp_path, "binary", sections)
    few = window_of(made.project, made.monitor, made.reference, made.rows[:100])
    findings = gather(judge_window(few))
    assert findings.judged == set()
    assert findings.unjudged["concept_drift"] == "100 labels, 300 are needed"
    assert findings.unjudged["calibration"] == "100 labels, 300 are needed"
    assert few.rows["at"].max() < NOW


def test_a_business_figure_without_labels_is_judged_where_the_label_is_personal(tmp_path: Path):
    sent = kpi(tmp_path, 0.3, hidden=True, labels=False, function="business_numbers:sent", floor=0.5)
    assert (sent.unjudged, sent.results["kpi"]["value"]) == (None, 1.0)
    assert "the label is personal" in (kpi(tmp_path, 0.3, hidden=True, floor=0.5).unjudged or "")


@pytest.mark.slow
def test_errors_are_judged_while_a_feature_is_missing_in_the_whole_window(tmp_path: Path):
    made = window(tmp_path, "binary", {"concept_drift": {}}, sign=-1.0)
    none = pl.lit(None, pl.Float64).alias("feature.rain")
    in_part = pl.when(pl.int_range(pl.len()) < ROWS // 20).then("feature.rain").alias("feature.rain")
    for rain in (none, in_part):
        rows = made.rows.with_columns(rain)
        one = window_of(made.project, made.monitor, made.reference, rows)
        assert "errors are" in found(one)["concept_drift"].message


def test_groups_by_lists_are_refused_and_by_large_numbers_are_quarters(tmp_path: Path):
    task, rng = TASKS["binary"], np.random.default_rng(0)
    answers = rng.random(ROWS)
    features = {"since": 1_700_000_000.0 + rng.integers(0, 4000, ROWS), "vector": [[1.0, 2.0]] * ROWS}
    rows = logged(task, answers, answers > 0.5, features)
    reference, project = reference_of(task, answers, answers > 0.5, features), project_of(tmp_path)
    refused = judge_window(window_of(project, monitor_of(fairness={"by": ["vector"]}), reference, rows))
    assert "fairness.by names 'vector', whose values are lists" in (refused["fairness"].unjudged or "")
    judged = judge_window(window_of(project, monitor_of(fairness={"by": ["since"]}), reference, rows))
    groups = judged["fairness"].results["fairness"]["groups"]
    assert [each["rows"] for each in groups if each["what"] == "positive_rate"] == pytest.approx(
        [375] * 4, abs=9
    )


def test_groups_of_numbers_that_the_reference_lacks_are_quarters_of_the_window(tmp_path: Path):
    made = window(tmp_path, "binary", {"fairness": {"by": ["rain"], "max_rate_gap": 0.3}})
    empty = made.reference.features.with_columns(pl.lit(None, pl.Float64).alias("rain"))
    judged = judge_window(replace(made, reference=replace(made.reference, features=empty)))["fairness"]
    rows = {each["rows"] for each in judged.results["fairness"]["groups"]}
    assert (judged.unjudged, rows) == (None, {ROWS // 4})


@pytest.mark.parametrize("spread", [0.0, 0.02])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_answers_that_collapse_are_an_alert_before_any_label_is_known(
    tmp_path: Path, kind: str, spread: float
):
    """A model that says the same of every row tells nothing apart, and no interval hides it."""
    made = window(tmp_path, kind, {"estimated_quality": {"metric": METRICS[kind]}})
    even = np.full(ROWS, 0.5) if kind == "binary" else np.full((ROWS, 3), 1 / 3)
    answers = even + np.random.default_rng(5).uniform(-spread, spread, even.shape)
    if kind == "multiclass":
        answers /= answers.sum(axis=1, keepdims=True)
    features = {name: made.rows[f"feature.{name}"] for name in ("wind", "city", "rain")}

    def judged(rows: pl.DataFrame) -> Judged:
        one = window_of(made.project, made.monitor, made.reference, rows, {METRICS[kind]: 0.7})
        one.__dict__["before"] = one  # in place of the log
        return judge_window(one)["estimated_quality"]

    before, _ = world(kind, np.random.default_rng(6))[1:]
    quiet = judged(logged(TASKS[kind], before, None, features))
    assert (quiet.found, quiet.unjudged) == ((), None)
    collapsed = judged(rows := logged(TASKS[kind], answers, None, features))
    (alert,) = collapsed.found
    shown = collapsed.examples["estimated_quality"]
    assert len(set(shown) & set(rows["prediction_id"])) == 5
    assert "doubtful" not in collapsed.results["estimated_quality"]
    assert alert.details["high"] < 0.65
    assert alert.details["value"] == pytest.approx(0.5, abs=0.06)


METRICS = {"binary": "roc_auc", "multiclass": "roc_auc_ovr"}


@pytest.mark.parametrize(("lag", "marked"), [(timedelta(hours=5), False), (timedelta(days=3), True)])
def test_a_window_whose_last_labels_are_not_known_yet_is_marked(tmp_path: Path, lag: timedelta, marked: bool):
    made = window(tmp_path, "regression", {"quality": {"floor": 1e9}})
    labelled = made.labelled.with_columns(label_at=pl.col("at") + lag)
    made = replace(made, labelled=labelled.filter(pl.col("label_at") <= made.span.end))
    message = found(made)["quality"].message
    said = (
        "; partial: most labels take up to 3 days, those of predictions since 2013-04-12 00:00 UTC are not "
    )
    assert message.endswith(f"{said}all known") == marked
    assert ("partial" in message) == marked
    every = replace(
        made, given=made.rows.filter(pl.col("prediction_id").is_in(made.labelled["prediction_id"]))
    )
    assert "partial" not in found(every)["quality"].message, "all labels are known"
