"""Kinds that look at slices, at all features together, and at other windows than the training rows."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.tidemill.monitoring.made_windows import (
    DAYS,
    NOW,
    logged,
    monitor_of,
    project_of,
    reference_of,
    window_of,
)
from tidemill.errors import MonitoringError
from tidemill.monitoring.figure_history import figure_of
from tidemill.monitoring.kinds.kind_table import gather, judge_window
from tidemill.monitoring.monitor_results import results_of
from tidemill.monitoring.noise_feedback import NoiseMark, proposals_of
from tidemill.monitoring.run_explanation import explain_run
from tidemill.monitoring.windows.logged_windows import span_compared
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.tasks.binary import Binary

TASK = Binary("roc_auc")
ORIGINS = np.array(["EWR", "JFK", "LGA"])


def draw(seed: int, rows: int, *, bad: str = "", turned: bool = False, shift: float = 0.0, moved: str = ""):
    """Return answers, labels and features; at origin ``bad`` answers say nothing of the labels."""
    random = np.random.default_rng(seed)
    heat, noise = random.normal(size=rows), random.normal(size=rows)
    origin = random.choice(ORIGINS, rows)
    load = (-0.8 if turned else 0.8) * heat + 0.6 * noise
    features = {"heat": heat + shift + (origin == moved), "load": load, "origin": origin}
    answers = 1 / (1 + np.exp(-2 * load))
    real = np.where(origin == bad, 0.5, answers)
    return answers, (random.random(rows) < real).astype(int), features


def window(root: Path, made, earlier=None, **sections: object) -> WindowRows:
    answers, labels, features = draw(1, 2000)
    reference = reference_of(TASK, answers, labels, features)
    found = window_of(project_of(root), monitor_of(**sections), reference, logged(TASK, *made), {})
    rows = pl.DataFrame() if earlier is None else logged(TASK, *earlier)
    span = span_compared(found.monitor.against, found.span)
    return replace(found, compared_span=span, past=lambda _: rows)


def explained(one: WindowRows) -> dict[str, str]:
    judged = judge_window(one)
    findings = gather(judged)
    results = results_of(one, judged, findings)
    return explain_run("ok", one.rows.height, {**results, "findings": []})


@pytest.mark.slow
def test_a_turned_correlation_is_told_with_the_features_that_carry_it(tmp_path: Path):
    watched = {"data_drift": {"share": 0.3}, "multivariate_drift": {}}
    one = window(tmp_path, draw(2, 800, turned=True), **watched)
    judged = judge_window(one)
    (found,) = gather(judged).found
    assert found.kind == "multivariate_drift"
    shown = one.rows.filter(
        pl.col("prediction_id").is_in(judged["multivariate_drift"].examples["multivariate_drift"])
    )
    assert len(shown) == 5
    assert (shown["feature.heat"] * shown["feature.load"]).max() < 0, "before, both had the same sign"
    assert "a classifier tells the window's rows from what the model was trained on: AUC 0.8" in found.message
    assert set(list(found.details["carried_by"])[:2]) == {"heat", "load"}
    quiet = window(tmp_path, draw(2, 800), **watched)
    assert gather(judge_window(quiet)).found == ()
    assert explained(quiet)["multivariate_drift"].endswith(", alert at 0.6")
    blind = window(tmp_path, draw(2, 800, turned=True), multivariate_drift={"exclude": ["heat"]})
    assert gather(judge_window(blind)).found == ()


def test_a_segment_whose_answers_lost_their_sense_is_named(tmp_path: Path):
    made = draw(2, 1500, bad="JFK")
    one = window(tmp_path, made, slice_quality={}, slices=[{"by": "origin"}, {"by": "tail"}])
    judged = judge_window(one)
    (found,) = gather(judged).found
    assert "origin JFK (" in found.message
    assert "in all other rows" in found.message
    assert [each["name"] for each in found.details["slices"]].count("origin JFK") == 1, (
        "the search finds it too"
    )
    declared = [each for each in found.details["slices"] if not each["searched"]]
    assert [each["name"] for each in declared] == ["origin JFK"]
    assert declared[0]["value"] == pytest.approx(0.5, abs=0.06)
    assert declared[0]["expected"] > 0.75
    results = results_of(one, judged, gather(judged))
    assert "slices name 'tail', not a feature of the version" in results["warnings"][0]
    assert results["slice_quality"]["searched"] > 5
    assert figure_of("slice_quality", results)[0] > results["slice_quality"]["max_drop"]
    (worst, *_) = results["slice_quality"]["slices"]
    assert worst["p_value"] < 0.01
    worst_rows = judged["slice_quality"].examples["slice_quality"]
    shown = one.rows.filter(pl.col("prediction_id").is_in(worst_rows))
    assert shown["feature.origin"].to_list() == ["JFK"] * 5
    losses = (one.rows["score"] - one.rows["label"]).abs().filter(one.rows["feature.origin"] == "JFK")
    assert sorted((shown["score"] - shown["label"]).abs()) == losses.sort()[-5:].to_list()


def test_slices_of_a_quiet_window_and_of_one_without_labels(tmp_path: Path):
    quiet = window(tmp_path, draw(2, 1500), slice_quality={}, slices=[{"by": "origin"}])
    assert gather(judge_window(quiet)).found == ()
    assert "slices were searched" in explained(quiet)["slice_quality"]
    answers, _, features = draw(2, 900)
    bare = window(tmp_path, (answers, None, features), slice_quality={})
    assert gather(judge_window(bare)).unjudged == {
        "slice_quality": "0 labelled rows in the window, 200 are needed"
    }


def test_drift_within_one_segment_is_told_for_that_segment(tmp_path: Path):
    watched = {
        "slice_drift": {"share": 0.5},
        "slices": [{"by": "origin"}, {"where": {"heat": {"below": -9}}}],
    }
    one = window(tmp_path, draw(2, 1500, moved="LGA"), **watched)
    judged = judge_window(one)
    (found,) = gather(judged).found
    assert found.details == {"slices": {"origin LGA": ["heat"]}, "faults": []}
    (noise,) = proposals_of([NoiseMark("slice_drift", results_of(one, judged, gather(judged)))])
    assert (noise.field, noise.threshold) == ("slice_drift.thresholds.heat", 0.1)
    raised = {"share": 0.5, "thresholds": {"heat": noise.proposed}}
    calm = window(tmp_path, draw(2, 1500, moved="LGA"), **{**watched, "slice_drift": raised})
    quiet = judge_window(calm)
    assert gather(quiet).found == ()
    marked = NoiseMark("slice_drift", results_of(one, judged, gather(judged)))
    assert proposals_of([marked], results_of(calm, quiet, gather(quiet))) == []
    assert "; heat is far off in origin LGA (distance " in (judged["slice_drift"].said or "")
    examples = one.rows.filter(pl.col("prediction_id").is_in(judged["slice_drift"].examples["slice_drift"]))
    assert examples["feature.origin"].to_list() == ["LGA"] * 5
    assert gather(judge_window(window(tmp_path, draw(2, 1500), **watched))).found == ()
    answers, labels, features = draw(2, 1500)
    gone = {**features, "heat": np.where(features["origin"] == "LGA", np.nan, features["heat"])}
    (found,) = gather(judge_window(window(tmp_path, (answers, labels, gone), **watched))).found
    assert found.details["faults"] == ["heat"], "policies hold turns meanwhile"
    assert found.message.endswith(" rows): heat (no value in the window)")
    few = {"slice_drift": {}, "slices": [{"where": {"heat": {"below": -9}}}]}
    said = gather(judge_window(window(tmp_path, draw(2, 900), **few))).unjudged["slice_drift"]
    assert said == "no declared slice has 200 rows on both sides: too few rows"


DRIFT = {"data_drift": {"share": 0.3}, "prediction_drift": {}}


def test_what_moved_long_ago_has_not_moved_since_the_window_before(tmp_path: Path):
    moved = draw(2, 900, shift=2.0)
    since_training = gather(judge_window(window(tmp_path, moved, **DRIFT)))
    assert {each.kind for each in since_training.found} >= {"data_drift"}
    one = window(tmp_path, moved, draw(4, 900, shift=2.0), against="previous", **DRIFT)
    judged = judge_window(one)
    findings = gather(judged)
    assert (findings.found, findings.unjudged) == ((), {})
    results = results_of(one, judged, findings)
    assert results["against"] == {
        "what": "the window before",
        "window": ["2013-03-18T00:00:00+00:00", "2013-04-01T00:00:00+00:00"],
    }
    assert results["sample"] == {"reference_rows": 900, "current_rows": 900}
    assert explain_run("ok", 900, results)["data_drift"].endswith("from the window before")


def test_a_change_since_last_season_names_the_season(tmp_path: Path):
    season = {"against": {"season": "28d"}, **DRIFT}
    one = window(tmp_path, draw(2, 900), draw(3, 900, shift=3.0), **season)
    found = {each.kind: each.message for each in gather(judge_window(one)).found}
    assert "far from the same season, 28 days before (2013-03-04 00:00 to" in found["feature_drift"]
    assert ") from the same season, 28 days before (2013-03-04 00:00 to" in found["data_drift"]


def test_too_few_rows_before_are_not_enough_data(tmp_path: Path):
    one = window(tmp_path, draw(2, 900), draw(3, 20), against="previous", **DRIFT)
    findings = gather(judge_window(one))
    assert findings.found == ()
    told = "not enough data: the window before (2013-03-18 00:00 to 2013-04-01 00:00 UTC) has 20 predictions"
    assert set(findings.unjudged) == {"data_drift", "feature_drift", "prediction_drift"}
    assert findings.unjudged["data_drift"] == f"{told}, 300 are needed"
    overlapping = replace(one, compared_span=None)
    assert "overlaps the window before" in gather(judge_window(overlapping)).unjudged["data_drift"]


def test_drifted_features_begin_with_the_one_that_matters(tmp_path: Path):
    made = draw(2, 900, shift=0.4)
    made[2]["load"] = made[2]["load"] + 0.9
    one = window(tmp_path, made, data_drift={"share": 0.3, "severe": 100})
    by_distance = judge_window(one)["data_drift"].results["data_drift"]
    assert by_distance["drifted"] == ["load", "heat"]
    assert by_distance["ordered_by_distance"] == "the model is not asked"
    weighty = replace(one, attributions=lambda names: {"heat": 1.0, "load": 0.01})
    found = judge_window(weighty)["data_drift"].results["data_drift"]
    assert found["drifted"] == ["heat", "load"]
    assert found["columns"][0]["impact"] > 2
    assert "by impact: heat" in explained(weighty)["data_drift"]

    def fails(names):
        raise MonitoringError("the reference lacks features of the model: tail", hint="")

    failing = replace(one, attributions=fails)
    assert "by distance, not by impact: the reference lacks" in explained(failing)["data_drift"]
    assert timedelta(days=14) == one.monitor.window


def two_versions(seed: int, old: int, new: int):
    """Return a window of an old version, made without the feature ``fog``, and of the one that is judged."""
    answers, labels, features = draw(seed, old + new)
    fog = np.random.default_rng(seed + 100).normal(size=old + new)
    features["fog"] = [None] * old + fog[old:].tolist()
    return logged(TASK, answers, labels, features, version=["0"] * old + ["1"] * new)


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, (300, 600), (900, 0)])
def test_rows_of_a_version_without_a_new_feature_are_no_drift_of_it(
    tmp_path: Path, before: tuple[int, int] | None
):
    watched = {
        "multivariate_drift": {},
        "data_drift": {"share": 0.5},
        "slice_drift": {"share": 0.5},
        "slices": [{"by": "origin"}],
        "against": "training" if before is None else "previous",
    }
    made = window(tmp_path, draw(2, 900), **watched)
    answers, labels, features = draw(1, 2000)
    features["fog"] = np.random.default_rng(8).normal(size=2000)
    earlier = pl.DataFrame() if before is None else two_versions(3, *before)
    one = replace(
        made,
        reference=reference_of(TASK, answers, labels, features),
        given=two_versions(2, 450, 700),
        past=lambda _: earlier,
    )
    judged = judge_window(one)
    assert (gather(judged).found, gather(judged).unjudged) == ((), {})
    compared = {column.name for column in judged["data_drift"].columns}
    assert ("fog" in compared) == (before != (900, 0))
    assert judged["multivariate_drift"].results["multivariate_drift"]["rows"][1] == (
        1150 if before == (900, 0) else 700
    )
    gone = one.rows.with_columns(pl.lit(None, pl.Float64).alias("feature.fog"))
    if before != (900, 0):
        kinds = {each.kind for each in gather(judge_window(replace(one, given=gone))).found}
        assert kinds >= {"multivariate_drift", "feature_drift"}


def test_names_of_features_that_do_not_exist_are_told_of_every_kind(tmp_path: Path):
    watched = {
        "multivariate_drift": {"exclude": ["moon"]},
        "slice_drift": {"exclude": ["sun"], "thresholds": {"star": 0.2}},
        "slices": [{"by": "origin"}, {"by": "tail"}],
    }
    judged = judge_window(window(tmp_path, draw(2, 1500), **watched))
    said = [told for one in judged.values() for told in one.warnings]
    assert [told.partition(": ")[2].split(",")[0] for told in said] == [
        "monitor 'weekly': multivariate_drift.exclude names 'moon'",
        "monitor 'weekly': slice_drift.thresholds names 'star'",
        "monitor 'weekly': slice_drift.exclude names 'sun'",
        "monitor 'weekly': slices name 'tail'",
    ]


@pytest.mark.parametrize(("rise", "at_fault"), [(1.06, False), (None, True)])
def test_what_grows_bit_by_bit_is_far_and_not_at_fault(tmp_path: Path, rise: float | None, at_fault: bool):
    """Prices that rise by 6 % a window, and those that somebody writes in another currency for a while."""
    random = np.random.default_rng(5)

    def made(factor: float):
        price, origin = factor * random.lognormal(3, 0.6, 1000), random.choice(ORIGINS, 1000)
        return logged(TASK, np.full(1000, 0.5), features={"price": price, "origin": origin})

    def earlier(span):
        ago = round((NOW - span.end) / timedelta(days=DAYS))
        return made((2.13 if ago < 10 else 1.0) if rise is None else rise ** max(13 - ago, 0))

    before = made(1.0)
    features = {name: before[f"feature.{name}"].to_numpy() for name in ("price", "origin")}
    of = reference_of(TASK, np.full(1000, 0.5), np.zeros(1000), features)
    monitor = monitor_of(data_drift={}, slice_drift={"min_rows": 100}, slices=[{"by": "origin"}])
    one = replace(window_of(project_of(tmp_path), monitor, of, made(2.13), {}), past=earlier)
    found = {each.kind: each for each in gather(judge_window(one)).found}
    told = found["feature_drift"].details["features"]["price"]
    assert told.startswith(
        "spread as" if at_fault else "moved bit by bit: spread as in the reference times 2."
    )
    assert [found[kind].details["faults"] for kind in ("feature_drift", "slice_drift")] == [
        ["price"] * at_fault
    ] * 2


@pytest.mark.parametrize(("bad_before", "faults"), [(True, []), (False, ["wind"])])
def test_what_was_mended_since_the_window_before_is_far_and_not_at_fault(
    tmp_path: Path, bad_before: bool, faults: list[str]
):
    random = np.random.default_rng(4)

    def made(bad: bool):
        wind, gaps = random.lognormal(2, 0.5, 600), random.random(600) < 0.9 * bad
        fog = [None if gap else 1.0 for gap in gaps]
        features = {"wind": wind * (1000 if bad else 1), "fog": pl.Series(fog, dtype=pl.Float64)}
        return logged(TASK, np.full(600, 0.5), features=features)

    usual = made(bad=False)
    features = {name: usual[f"feature.{name}"] for name in ("wind", "fog")}
    of = reference_of(TASK, np.full(600, 0.5), np.zeros(600), features)
    monitor = monitor_of(data_drift={}, against="previous")
    one = window_of(project_of(tmp_path), monitor, of, made(bad=not bad_before), {})
    span = one.span.earlier(timedelta(days=DAYS))
    one = replace(one, compared_span=span, past=lambda _: made(bad=bad_before))
    found = {each.kind: each for each in gather(judge_window(one)).found}["feature_drift"].details
    assert set(found["features"]) == {"wind", "fog"}
    assert set(found["faults"]) == {*faults, *["fog"] * bool(faults)}
    assert found["features"]["wind"].startswith("usual in training: ") == bad_before
