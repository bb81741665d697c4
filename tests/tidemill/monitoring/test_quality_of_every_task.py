"""Quality and drift of answers by task, from rows as the prediction log has them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon

from tidemill.monitoring.drift.answer_drift import compare_answers
from tidemill.monitoring.drift.drift_columns import Comparison
from tidemill.monitoring.kind_sections import PredictionDriftConfig, QualityConfig
from tidemill.monitoring.kinds.prediction_drift import finding_of
from tidemill.monitoring.kinds.quality_decay import decay
from tidemill.monitoring.quality.labelled_quality import measure
from tidemill.prediction_log.prediction_log import features_of, read_labelled
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
OLD = Path(__file__).parents[1] / "prediction_log" / "log_without_answers"
CLASSES = ("calm", "gale", "storm")
REGRESSION, SEVERAL = Regression("neg_mae"), Multiclass("accuracy", classes=CLASSES)
NOTHING = Comparison((), None, 9, 9)


def hits(truth, answers) -> float:
    return float(np.mean([one == given for one, given in zip(truth, answers, strict=True)]))


TEXT = Custom("pipelines.own:hits", {"pipelines.own:hits": hits})


def logged(task: Task, answers: np.ndarray, labels: list[object] | None = None) -> pl.DataFrame:
    """Return rows of the log for some answers and labels."""
    given = [
        (None, None) if one is None else task.label_given(one) for one in labels or [None] * len(answers)
    ]
    scores = task.scores(answers)
    return pl.DataFrame(
        {
            "at": [NOON + timedelta(minutes=n) for n in range(len(answers))],
            "score": pl.Series(scores).fill_nan(None),
            "answer": pl.Series([task.logged(one) for one in answers], dtype=pl.String),
            "label": pl.Series([label for label, _ in given], dtype=pl.Int64),
            "target": pl.Series([target for _, target in given], dtype=pl.String),
        }
    )


def objects(values: list[object]) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def sure_of(classes: list[int]) -> np.ndarray:
    return np.array([[0.8 if place == number else 0.1 for place in range(3)] for number in classes])


def test_a_log_of_an_earlier_version_is_judged():
    """Its records have neither answers nor targets."""
    always = (NOON - timedelta(days=9), NOON + timedelta(days=9), NOON + timedelta(days=9))
    rows = read_labelled(OLD, "m", *always)
    found = measure(rows, Binary("neg_brier"), QualityConfig(metric="neg_brier"), lambda _: -0.25, 3)
    errors = [(0.25 - 1) ** 2, (0.35 - 1) ** 2, 0.45**2, (0.25 - 1) ** 2, (0.35 - 1) ** 2]
    assert found.value == pytest.approx(-sum(errors) / 5)
    assert (found.overall.base_rate, found.decayed) == (0.8, True)
    assert features_of(rows).width > 0


def test_a_regression_is_judged_in_its_own_units():
    answers = np.array([10.0, 20.0, 30.0, 40.0] * 100)
    rows = logged(REGRESSION, answers, [12, 18.0, "34", 40] * 100)
    found = measure(rows, REGRESSION, QualityConfig(), lambda metric: {"neg_mae": -1.8}[metric], 3)
    assert (found.metric, found.value) == ("neg_mae", -2.0)
    assert found.overall.metrics["neg_rmse"] == pytest.approx(-np.sqrt(6.0))
    assert (found.overall.base_rate, found.overall.mean_score) == (26.0, 25.0)
    assert found.max_drop == pytest.approx(0.18), "a tenth of the hold-out's, as nothing is set"
    assert found.decayed
    assert measure(rows, REGRESSION, QualityConfig(max_drop=0.5), lambda _: -1.8, 3).decayed is False
    assert found.standard_error == pytest.approx(np.sqrt(2) / 20, rel=0.3)
    assert decay(found, QualityConfig(floor=-1.5)).message == (
        f"mae is 2.0000 (± {found.standard_error:.3f}) over 400 labelled predictions, 0.2000 above the "
        "hold-out's 1.8000 (allowed: 0.18), above the ceiling of 1.5"
    )


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 400, 1600])
def test_stationary_windows_of_a_skewed_regression_hardly_ever_decay(rows: int):
    """The metric of a skewed target moves from window to window by more than is allowed, by chance alone."""
    decayed = 0
    for seed in range(40):
        draw = np.random.default_rng((rows, seed))
        holdout, window = (np.exp(draw.normal(2, 1.2, size)) for size in (400, rows))
        centre = np.exp(2)
        expected = -np.abs(holdout - centre).mean()
        log = logged(REGRESSION, np.full(rows, centre), window.tolist())
        found = measure(log, REGRESSION, QualityConfig(), lambda _, mae=expected: mae, 50, 400)
        decayed += bool(found.decayed)
    assert decayed <= 2


def test_labels_far_from_the_answers_decay_at_once():
    draw = np.random.default_rng(5)
    log = logged(REGRESSION, np.full(100, 7.0), (np.exp(draw.normal(2, 1.2, 100)) * 4).tolist())
    assert measure(log, REGRESSION, QualityConfig(), lambda _: -9.0, 50, 400).decayed


def test_several_classes_are_judged_by_their_names():
    rows = logged(SEVERAL, sure_of([0, 1, 2, 2]), ["calm", "gale", "storm", "gale"])
    found = measure(rows, SEVERAL, QualityConfig(max_drop=0.2), lambda _: 0.9, 4)
    assert (found.metric, found.value, found.decayed) == ("accuracy", 0.75, False)
    assert found.overall.metrics["neg_log_loss"] == pytest.approx((3 * np.log(0.8) + np.log(0.1)) / 4)


def test_a_custom_task_is_judged_by_the_projects_own_metric():
    rows = logged(TEXT, objects(["a", "b", "c", "d"]), ["a", "b", "c", "x"])
    found = measure(rows, TEXT, QualityConfig(floor=0.9), lambda _: None, 4)
    assert (found.metric, found.value, found.decayed) == ("pipelines.own:hits", 0.75, True)


@pytest.mark.parametrize(
    ("task", "answers", "label", "wrong"),
    [
        (REGRESSION, np.array([1.0, 2.0, 3.0]), 2.0, "many"),
        (SEVERAL, sure_of([0, 1, 2]), "gale", "breeze"),
        (Binary("roc_auc"), np.array([0.1, 0.2, 0.3]), 1, None),
    ],
    ids=["regression", "multiclass", "binary"],
)
def test_labels_that_are_none_of_the_tasks_are_counted_and_do_not_count(task, answers, label, wrong):
    rows = logged(task, answers, [label, label, label])
    other = pl.Series("target", [*rows["target"][:2], wrong], pl.String)
    number = pl.Series("label", [*rows["label"][:2], None if wrong else 7], pl.Int64)
    found = measure(rows.with_columns(other, number), task, QualityConfig(), lambda _: None, 1)
    assert found.overall.rows == 2
    assert found.wrong == f"not {task.meant}: {wrong!r} (1 row)" if wrong else "(1 row)" in found.wrong


def test_labels_of_one_class_are_named():
    rows = logged(SEVERAL, sure_of([0, 1]), ["gale", "gale"])
    found = measure(rows, SEVERAL, QualityConfig(metric="roc_auc_ovr"), lambda _: 0.9, 1)
    assert (found.value, found.note) == (None, "all labels are gale: nothing to rank")


def reference(task: Task, answers: np.ndarray) -> ReferenceRows:
    rows = logged(task, answers)
    logged_answers = rows["answer"] if rows["answer"].count() else None
    found = ReferenceRows(
        pl.DataFrame({"wind": np.zeros(len(answers))}), rows["target"], rows["score"], logged_answers
    )
    return ReferenceRows.from_table(found.table(), "late")


def test_the_shares_of_predicted_classes_drift_where_the_scores_do_not():
    before, now = sure_of([0] * 80 + [1] * 10 + [2] * 10), sure_of([0] * 40 + [1] * 50 + [2] * 10)
    found = compare_answers(
        NOTHING, SEVERAL, PredictionDriftConfig(), reference(SEVERAL, before), logged(SEVERAL, now)
    )
    assert not found.prediction.drifted
    assert found.categories.value == pytest.approx(jensenshannon([0.8, 0.1, 0.1], [0.4, 0.5, 0.1]))
    assert (
        finding_of([found.categories]).message
        == "the predicted classes have drifted: distance 0.327 (alert at 0.1)"
    )


def test_values_of_a_regression_drift_by_their_distance():
    before = np.random.default_rng(0).normal(10, 2, 1000)
    found = compare_answers(
        NOTHING,
        REGRESSION,
        PredictionDriftConfig(),
        reference(REGRESSION, before),
        logged(REGRESSION, before + 3),
    )
    assert found.prediction.value == pytest.approx(3 / before.std())
    assert found.categories is None


def test_custom_answers_drift_as_numbers_or_as_text_or_not_at_all():
    def drift(before: list[object], now: list[object]) -> Comparison:
        both = reference(TEXT, objects(before)), logged(TEXT, objects(now))
        return compare_answers(NOTHING, TEXT, PredictionDriftConfig(), *both)

    assert drift(["a"] * 50 + ["b"] * 50, ["b"] * 50).categories.drifted
    assert drift([1.0, 2.0, 3.0] * 20, [7.0, 8.0, 9.0] * 20).prediction.drifted
    assert drift([["a", "b"]] * 50, [["b", "a"]] * 50).categories.drifted
    named = [{"best": "ab"[n % 2], "chance": n / 100} for n in range(100)]
    assert drift(named, named).categories.value == 0.0
    assert drift(named, [one | {"best": "b"} for one in named]).categories.drifted
    assert drift([{"a": None}] * 20, [{"a": None}] * 20).of_answers == ()
    embeddings = [[float(n % 5), 1.0] for n in range(40)]
    assert not drift(embeddings, embeddings).prediction.drifted
    assert drift(embeddings, [[one, 9.0] for one, _ in embeddings]).prediction.drifted
    quantiles = [{"p10": n % 5, "p90": 9 + n % 5} for n in range(40)]
    assert drift(quantiles, [{"p10": 3 + n % 5, "p90": 12 + n % 5} for n in range(40)]).prediction.drifted
    longer = drift(embeddings, [[1.0, 2.0, 3.0]] * 40).prediction
    assert (longer.drifted, longer.note) == (
        True,
        "lists of 2 numbers in the reference, of 3 in the window",
    )


def test_references_of_earlier_releases_have_no_answers():
    old = pl.DataFrame({"feature.wind": [1.0], "label": [1], "score": [0.5]})
    assert ReferenceRows.from_table(old, "late").answers is None
    kept = ReferenceRows.from_table(old.with_columns(answer=pl.lit(json.dumps({"a": 1.0}))), "late")
    assert kept.answers.to_list() == ['{"a": 1.0}']
    assert kept.features.columns == ["wind"]


def test_references_of_earlier_releases_have_answers_to_fitted_rows():
    old = pl.DataFrame({"feature.wind": [1.0, 2.0], "label": [1, 0], "score": [0.5, 0.6]})
    kept = ReferenceRows.from_table(old, "late")
    assert (kept.features["wind"].to_list(), kept.scores.to_list()) == ([1.0, 2.0], [0.5, 0.6])
