import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tests.tidemill.monitoring.quality.made_worlds import (
    NAMES,
    binary,
    classes,
    numbers,
    reference_of,
    true_quality,
)
from tidemill.monitoring.kind_sections import QualityConfig
from tidemill.monitoring.quality import estimated_quality
from tidemill.monitoring.quality.estimated_quality import Predictions, estimate
from tidemill.monitoring.quality.label_draws import ERROR_MODELS, ErrorModels
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task_choice import Custom
from tidemill.training.tracking.reference_rows import ReferenceRows

pytestmark = pytest.mark.slow

NOTHING = Predictions(pl.DataFrame({"score": [], "answer": [], "label": [], "target": []}), pl.DataFrame())


WORLDS = [
    (binary, Binary("roc_auc")),
    (binary, Binary("neg_log_loss")),
    (binary, Binary("f1")),
    (classes, Multiclass("neg_log_loss", classes=NAMES)),
    (classes, Multiclass("f1_macro", classes=NAMES)),
    (numbers, Regression("neg_mae")),
    (numbers, Regression("r2")),
]

SHIFTS = (-0.8, -0.4, 0.0, 0.4, 0.8)


@pytest.fixture(scope="module")
def _fitted():
    return {}


@pytest.fixture
def fitted_once(_fitted, monkeypatch):
    """Fit the models of a reference's errors once where several windows are compared with it."""

    def models(features, truth, answers):
        return _fitted.setdefault(truth.tobytes(), ErrorModels(features, truth, answers))

    monkeypatch.setattr(estimated_quality, "ErrorModels", models)


def found(task, reference, window, labelled=NOTHING, expected=None, **config):
    return estimate(reference, window, labelled, task, QualityConfig(**config), lambda _: expected, 500)


@pytest.mark.usefixtures("fitted_once")
@pytest.mark.slow
@pytest.mark.parametrize(("world", "task"), WORLDS, ids=lambda it: getattr(it, "metric", ""))
def test_the_truth_lies_in_the_interval_though_inputs_have_moved(world, task):
    random, hits = np.random.default_rng(7), 0
    shifts = SHIFTS[::2] if task.kind == "regression" else SHIFTS  # each is a fit of several models
    for shift in shifts:
        features, logged = world(random, 2000)
        moved, later = world(random, 1000, shift)
        made = found(task, reference_of(task, features, logged), Predictions(later, moved))
        assert made.low <= made.value <= made.high
        hits += made.low <= true_quality(task, Predictions(later, moved)) <= made.high
    least = len(shifts) - 1
    assert hits >= least, (
        "95 of 100 are promised; 3 or fewer of 5 have a chance of 1 in 40, 1 of 3 of 1 in 100"
    )


@pytest.mark.usefixtures("fitted_once")
@pytest.mark.parametrize(
    ("world", "task"), [WORLDS[0], WORLDS[3], WORLDS[5]], ids=lambda it: getattr(it, "metric", "")
)
def test_inputs_that_the_model_is_worse_on_are_alarming_and_the_same_inputs_are_not(world, task):
    random = np.random.default_rng(5)
    features, logged = world(random, 3000)
    reference, before = (
        reference_of(task, features, logged),
        true_quality(task, Predictions(logged, features)),
    )
    same = found(task, reference, Predictions(*reversed(world(random, 1500))), expected=before)
    assert (same.decayed, same.note) == (False, None)
    moved, later = world(random, 6000, 0.9)
    if task.kind != "regression":  # rows near the boundary, which are inside the reference
        near = later["score"].is_between(0.4, 0.6) if task.kind == "binary" else later["score"] < 0.6
        moved, later = moved.filter(near), later.filter(near)
    worse = found(task, reference, Predictions(later, moved), expected=before, max_drop=0.05)
    assert worse.decayed, worse
    assert true_quality(task, Predictions(later, moved)) < before - worse.max_drop


@pytest.mark.usefixtures("fitted_once")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "task"), [WORLDS[0], WORLDS[3], WORLDS[5]], ids=lambda it: getattr(it, "metric", "")
)
def test_a_changed_concept_makes_the_estimate_invalid(world, task):
    random = np.random.default_rng(5)
    features, logged = world(random, 3000)
    reference = reference_of(task, features, logged)
    window = Predictions(*reversed(world(random, 1500, concept=0.3)))
    trusting = found(task, reference, window, expected=-9.0)
    assert (trusting.decayed, trusting.check) == (False, None), "without labels nobody can know"
    checked = found(task, reference, window, Predictions(*reversed(world(random, 1500, concept=0.3))), -9.0)
    assert checked.decayed is None
    assert not checked.check.holds
    assert "labels depend on the rows in another way" in checked.note
    assert f"and is {abs(checked.check.truth):.4g}: " in checked.note, "losses are told without their sign"
    assert "neg_" not in checked.note
    sound = found(task, reference, window, Predictions(*reversed(world(random, 1500))), -9.0)
    assert sound.check.holds
    assert sound.decayed is False


def test_models_of_errors_are_fitted_once_for_the_window_and_the_rows_that_check_it(monkeypatch):
    random, task, fits = np.random.default_rng(5), Regression("neg_mae"), []
    fit = ErrorModels._fit
    monkeypatch.setattr(ErrorModels, "_fit", lambda *given: fits.append(1) or fit(*given))
    features, logged = numbers(random, 400)
    labelled = Predictions(*reversed(numbers(random, 600)))
    made = found(task, reference_of(task, features, logged), Predictions(logged, features), labelled)
    assert made.check.rows == 600
    assert made.check.low < made.check.estimated < made.check.high
    assert len(fits) == ERROR_MODELS


def test_a_feature_without_values_on_the_holdout_is_no_reason_to_estimate_nothing():
    random, task = np.random.default_rng(5), Regression("neg_mae")
    (features, logged), (now, later) = numbers(random, 400), numbers(random, 400)
    gone = features.with_columns(pl.lit(None, pl.Float64).alias(features.columns[0]))
    made = found(task, reference_of(task, gone, logged), Predictions(later, now))
    assert made.value is not None


def test_rows_unlike_any_of_training_make_it_invalid():
    random = np.random.default_rng(5)
    features, logged = binary(random, 3000)
    moved, later = binary(random, 1000, shift=4.0)
    task, window, why = Binary("roc_auc"), Predictions(later, moved), "of the rows are unlike any row of the"
    reference = reference_of(task, features, logged)
    made = found(task, reference, window)
    assert made.decayed is None
    assert re.search(r"^\d+% of the rows are unlike any row of the training set, by x$", made.note)
    checked = found(task, reference, window, Predictions(*reversed(binary(random, 1500, concept=0.3))))
    assert not checked.check.holds
    assert why in checked.note, "labels are not to blame for what such rows are estimated as"


@pytest.mark.parametrize(("served", "valid"), [("abce", True), ("a", True), ("aef", False)])
def test_as_many_new_categories_as_the_hold_out_has_are_usual(served: str, valid: bool):
    """Customers of whom one in four was never seen, on the hold-out as in service."""
    random, task = np.random.default_rng(5), Binary("roc_auc")

    def with_customers(rows: int, names: str) -> Predictions:
        features, logged = binary(random, rows)
        return Predictions(
            logged, features.with_columns(customer=pl.Series(random.choice(list(names), rows)))
        )

    fitted, held = with_customers(400, "abc"), with_customers(400, "abcd")
    reference = replace(
        reference_of(task, fitted.features, fitted.rows),
        scores=held.rows["score"],
        held_out=held.features,
        held_out_labels=held.rows["label"],
    )
    made = found(task, reference, with_customers(400, served))
    assert (made.note is None or "unlike" not in made.note) == valid, made.note
    assert valid or made.note.endswith("unlike any row of the training set, by customer")


def test_many_columns_and_moments_are_not_outside_by_themselves():
    random, start = np.random.default_rng(5), datetime(2013, 1, 1, tzinfo=UTC)
    task = Binary("roc_auc")

    def wide(rows, since):
        features, logged = binary(random, rows)
        moments = pl.Series("at", [start + timedelta(days=since, minutes=minute) for minute in range(rows)])
        others = pl.DataFrame(random.normal(size=(rows, 80)), schema=[f"c{number}" for number in range(80)])
        return Predictions(logged, features.with_columns(moments, *others))

    fitted, window = wide(1000, 0), wide(1000, 90)
    reference = reference_of(task, fitted.features, fitted.rows)
    assert found(task, reference, window).outside < 0.05
    broken = Predictions(window.rows, window.features.with_columns(pl.lit(50.0).alias("c7")))
    assert found(task, reference, broken).outside == 1.0


@pytest.mark.parametrize(("world", "task"), [WORLDS[0], WORLDS[5]], ids=lambda it: getattr(it, "metric", ""))
@pytest.mark.parametrize("names", [{}, {"x": "rows", "kind": "word", "z": "count"}])
def test_features_may_have_any_name_or_be_none(world, task, names):
    random = np.random.default_rng(5)
    features, logged = world(random, 400)
    features = features.rename({old: new for old, new in names.items() if old in features.columns})
    features = features if names else features.select()
    made = found(task, reference_of(task, features, logged), Predictions(logged, features))
    assert made.low <= made.value <= made.high
    assert made.outside == 0.0


def test_without_what_it_needs_it_says_so():
    random = np.random.default_rng(5)
    features, logged = binary(random, 300)
    window, task = Predictions(logged, features), Binary("roc_auc")
    whole = reference_of(task, features, logged)
    old = ReferenceRows(whole.features, whole.labels, whole.scores)
    assert "of an earlier release" in found(task, old, window).note
    assert "fewer" in found(task, reference_of(task, features[:100], logged[:100]), window).note
    assert "custom task" in found(Custom("m:f"), whole, window).note
    assert "no hold-out roc_auc is on record" in found(task, whole, window).note
    assert found(task, whole, window, floor=0.99, max_drop=None).decayed is True
