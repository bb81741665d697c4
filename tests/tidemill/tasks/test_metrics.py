"""The metrics of every task are scikit-learn's, under any weights; better answers are higher in each."""

import re

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as oracle

from tidemill.errors import ConfigError
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task_choice import Target, guess_task, make_task
from tidemill.tasks.task_names import METRICS, metric_name

ROWS = 400
CLASSES = ("a", "b", "c", "d")


@pytest.fixture
def weights():
    return np.random.default_rng(1).integers(0, 4, (12, ROWS)).astype(float)


def classes(sharpness):
    draw = np.random.default_rng(2)
    truth = draw.integers(0, 4, ROWS)
    logits = draw.normal(0, 1, (ROWS, 4))
    logits[np.arange(ROWS), truth] += sharpness
    answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, answers


def values(noise):
    draw = np.random.default_rng(3)
    truth = draw.normal(50, 10, ROWS)
    return truth, truth + draw.normal(0, noise, ROWS)


def one_against_rest(truth, answers, sample_weight):
    return oracle.roc_auc_score(
        truth, answers, sample_weight=sample_weight, multi_class="ovr", average="macro"
    )


def chosen(function, **options):
    return lambda truth, answers, sample_weight: function(
        truth, answers.argmax(axis=1), sample_weight=sample_weight, **options
    )


def negative(function, **options):
    return lambda truth, answers, sample_weight: (
        -function(truth, answers, sample_weight=sample_weight, **options)
    )


MULTICLASS = {
    "neg_log_loss": negative(oracle.log_loss, labels=[0, 1, 2, 3]),
    "accuracy": chosen(oracle.accuracy_score),
    "f1_macro": chosen(oracle.f1_score, average="macro"),
    "f1_weighted": chosen(oracle.f1_score, average="weighted"),
    "roc_auc_ovr": one_against_rest,
    "neg_brier": negative(oracle.brier_score_loss, scale_by_half=False),
}
REGRESSION = {
    "neg_mae": negative(oracle.mean_absolute_error),
    "neg_rmse": negative(oracle.root_mean_squared_error),
    "r2": oracle.r2_score,
    "neg_mape": negative(oracle.mean_absolute_percentage_error),
    "neg_pinball_90": negative(oracle.mean_pinball_loss, alpha=0.9),
}


def test_every_metric_has_an_oracle_here_or_is_a_median():
    assert set(MULTICLASS) == set(METRICS["multiclass"])
    assert set(REGRESSION) - {"neg_pinball_90"} == set(METRICS["regression"]) - {"neg_median_ae"}


@pytest.mark.parametrize("metric", MULTICLASS)
def test_metrics_of_several_classes_are_scikit_learns(metric, weights):
    truth, answers = classes(1.0)
    measured = Multiclass(metric, classes=CLASSES).measure(metric, truth, answers)(weights)
    expected = [MULTICLASS[metric](truth, answers, sample_weight=one) for one in weights]
    assert measured == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", REGRESSION)
def test_metrics_of_a_regression_are_scikit_learns(metric, weights):
    truth, answers = values(5.0)
    measured = Regression(metric).measure(metric, truth, answers)(weights)
    expected = [REGRESSION[metric](truth, answers, sample_weight=one) for one in weights]
    assert measured == pytest.approx(expected, rel=1e-9)


def test_the_median_of_errors_is_the_one_in_the_middle():
    task = Regression("neg_median_ae")
    assert task.evaluate([0.0, 0.0, 0.0], np.array([1.0, 5.0, 2.0]))["neg_median_ae"] == -2.0
    measure = task.measure("neg_median_ae", [0.0, 0.0, 0.0], np.array([1.0, 5.0, 2.0]))
    assert measure(np.array([[1.0, 9.0, 1.0], [9.0, 1.0, 1.0]])).tolist() == [-5.0, -1.0]


def test_rows_whose_label_is_zero_are_no_part_of_the_mape():
    task, answers = Regression("neg_mape"), np.array([1.0, 3.0, -7.0])
    found = task.evaluate([2.0, 0.0, -10.0], answers)
    assert found["neg_mape"] == pytest.approx(-(0.5 + 0.3) / 2)
    assert (found["rows"], found["rows_without_mape"]) == (3.0, 1.0)
    weights = np.array([[1.0, 1.0, 1.0], [0.0, 5.0, 0.0], [1.0, 9.0, 0.0], [3.0, 1.0, 1.0]])
    measured = task.measure("neg_mape", [2.0, 0.0, -10.0], answers)(weights)
    np.testing.assert_allclose(measured, [-0.4, np.nan, -0.5, -0.45])
    assert np.isnan(task.evaluate([0.0, 0.0], np.array([0.0, 1.0]))["neg_mape"])
    assert "rows_without_mape" not in task.evaluate([1e-20, 5.0], np.array([1e-20, 5.0]))
    small = task.evaluate([1e-20, 1e-20], np.array([2e-20, 1e-20]))
    assert small["neg_mape"] == pytest.approx(-0.5)  # the unit of the target makes no difference


@pytest.mark.parametrize("metric", ["f1", "accuracy", "recall_at_precision_80", "neg_cost"])
def test_further_metrics_of_two_classes(metric):
    truth = np.array([1, 1, 0, 0, 1, 0])
    answers = np.array([0.9, 0.8, 0.7, 0.2, 0.4, 0.1])
    found = Binary(metric, costs=((0.0, 1.0), (5.0, 0.0))).evaluate(truth, answers)[metric]
    by_hand = {
        "f1": oracle.f1_score(truth, answers >= 0.5),
        "accuracy": 4 / 6,
        "recall_at_precision_80": 2 / 3,  # of three, two before the first mistake
        "neg_cost": -2 / 6,  # decides for 1 from 1/6 on: two mistakes, and none is missed
    }
    assert found == pytest.approx(by_hand[metric])


def test_better_answers_are_higher_in_every_metric():
    for task, make, good, poor in (
        (Multiclass("accuracy", classes=CLASSES), classes, 3.0, 0.5),
        (Regression("r2"), values, 1.0, 8.0),
    ):
        better, worse = task.evaluate(*make(good)), task.evaluate(*make(poor))
        assert all(better[name] > worse[name] for name in task.metrics)


def test_a_class_that_the_model_never_saw_has_probability_zero():
    class Estimator:
        classes_ = np.array([0, 2])

        def predict_proba(self, features):
            return np.array([[0.25, 0.75]])

    task = Multiclass("accuracy", classes=("a", "b", "c"))
    assert task.answers(Estimator(), None).tolist() == [[0.25, 0.0, 0.75]]


def test_rows_held_out_of_a_class_that_training_lacks_are_judged_as_mistakes():
    task = Multiclass("accuracy", classes=("a", "b", "c"))
    truth = np.array([0, 0, 1, 2])
    answers = np.array([[0.75, 0.0, 0.25], [0.25, 0.0, 0.75], [0.5, 0.0, 0.5], [0.25, 0.0, 0.75]])
    found = task.evaluate(truth, answers)
    assert found["accuracy"] == 0.5
    assert found["f1_macro"] == pytest.approx((1 / 2 + 0 + 2 / 3) / 3)
    assert all(np.isfinite(value) for value in found.values())
    assert np.isfinite(task.losses(truth, answers)).all()
    assert task.losses(truth, answers)[2] > 20  # sure that it cannot be
    facts = task.facts(truth, answers)
    assert (facts["share_b"], facts["recall_b"]) == (0.25, 0.0)


def test_answers_come_back_from_the_log_as_they_were():
    task = Multiclass("accuracy", classes=("a", "b", "c"))
    answers = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    rows = pl.DataFrame({"score": task.scores(answers), "answer": [task.logged(one) for one in answers]})
    assert task.given_in_log(rows).tolist() == answers.tolist()
    other = Multiclass("accuracy", classes=("c", "new"))
    assert other.given_in_log(rows).tolist() == [[0.7, 0.0], [0.0, 0.0]]


def test_labels_come_back_from_the_log_as_the_task_means_them():
    rows = pl.DataFrame({"label": [1, 0, None], "target": ["2.5", "x", "c"]})
    assert Binary("roc_auc", classes=("no", "yes")).truth_of_log(rows)[:2].tolist() == [1.0, 0.0]
    assert Regression("r2").truth_of_log(rows)[0] == 2.5
    assert np.isnan(Regression("r2").truth_of_log(rows)[1:]).all()
    assert Multiclass("accuracy", classes=("a", "c")).truth_of_log(rows)[2] == 1


def test_a_metric_of_the_projects_own_is_resampled_by_repeating_rows():
    def mean_answer(truth, answers):
        return float(np.mean(answers.astype(float)))

    task = Custom("m:mean_answer", {"m:mean_answer": mean_answer})
    measure = task.measure("m:mean_answer", np.zeros(2), np.array([1.0, 3.0], dtype=object))
    assert measure(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target("regression", metric="roc_auc"), "regression has no metric 'roc_auc'"),
        (Target("multiclass"), "dataset.classes in params.yaml has 0 classes"),
        (Target(classes=("a", "b", "c")), "has two classes, but dataset.classes in params.yaml has 3"),
        (Target(classes=("no", "yes"), positive="maybe"), "dataset.positive is 'maybe'"),
        (Target(metric="neg_cost"), "needs train.costs"),
    ],
)
def test_a_contradictory_target_is_told(target, said):
    with pytest.raises(ConfigError, match=said) as caught:
        make_task(target, str)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "full"),
    [("mae", "neg_mae"), ("pinball_10", "neg_pinball_10"), ("pipelines.own:gain", "pipelines.own:gain")],
)
def test_metrics_have_short_names(given, full):
    assert metric_name("regression", given) == full


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        ([0, 1, 1], "binary", ("0", "1")),
        ([True, False], "binary", ("false", "true")),
        ([-1, 1, None], "binary", ("-1", "1")),
        (["yes", "no", None], "binary", ("no", "yes")),
        ([0, 1, 2, 3], "multiclass", ("0", "1", "2", "3")),
        ([float(n) for n in range(30)], "regression", ()),
        ([0.5, 1.5, 2.5], "regression", ()),
        ([f"free text {n}" for n in range(100)], "custom", ()),
    ],
)
def test_the_task_of_a_column_is_guessed(labels, kind, names):
    assert guess_task(pl.Series(labels)) == (kind, names)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (lambda truth, answers: 1 / 0, "pipelines.own:gain failed for 2 rows: ZeroDivisionError"),
        (lambda truth, answers: [0.5], "pipelines.own:gain returned list, not a number"),
        (lambda truth, answers: None, "pipelines.own:gain returned NoneType, not a number"),
        ("text", "pipelines.own:gain, which is no function"),
    ],
)
def test_a_metric_of_the_project_that_gives_no_number_is_named(metric, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        make_task(Target("regression", "pipelines.own:gain"), lambda name: metric).evaluate(
            [0, 1], np.array([0.2, 0.9])
        )


def test_a_metric_of_the_project_may_be_undefined():
    task = make_task(Target("regression", "pipelines.own:gain"), lambda name: lambda *_: float("nan"))
    assert np.isnan(task.evaluate([0, 1], np.array([0.2, 0.9]))["pipelines.own:gain"])


def test_costs_have_the_order_in_which_classes_are_declared():
    """Not that of the negative and the positive class."""
    costs = ((0.0, 20.0), (1.0, 0.0))  # to send an ill person home costs 20
    first = make_task(Target(metric="cost", classes=("ill", "well"), positive="ill", costs=costs), str)
    last = make_task(
        Target(metric="cost", classes=("well", "ill"), positive="ill", costs=((0, 1), (20, 0))), str
    )
    truth, answers = (
        first.labels(pl.Series(["ill", "ill", "well", "well"])).values,
        np.array([0.9, 0.01, 0.1, 0.01]),
    )
    for task in (first, last):
        assert task.classes == ("well", "ill")
        assert task.evaluate(truth, answers)["neg_cost"] == -(20 + 1) / 4  # one ill at home, one well kept


def test_a_task_is_judged_by_another_metric_or_function():
    def always_two(truth, answers):
        return 2.0

    task = make_task(Target(), lambda name: {"own:two": always_two, "own:text": "text"}[name])
    truth, answers = [0, 1, 1], np.array([0.2, 0.9, 0.4])
    assert task.judged_by(None) is task
    assert task.judged_by("accuracy").evaluate(truth, answers)["accuracy"] == pytest.approx(2 / 3)
    assert task.judged_by("own:two").evaluate(truth, answers)["own:two"] == 2.0
    with pytest.raises(ConfigError, match="the metric names own:text, which is no function"):
        task.judged_by("own:text")
    with pytest.raises(ConfigError, match="binary has no metric 'mae'"):
        task.judged_by("mae")
    with pytest.raises(ConfigError, match="the metric cost needs"):
        task.judged_by("cost")
    with pytest.raises(ConfigError, match="own:two was not loaded"):
        task.measure("own:two", truth, answers)
