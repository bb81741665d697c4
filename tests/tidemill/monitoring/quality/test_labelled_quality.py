from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tidemill.monitoring.kind_sections import QualityConfig
from tidemill.monitoring.quality.labelled_quality import WindowQuality, held_out_errors, measure
from tidemill.tasks.binary import Binary
from tidemill.tasks.regression import Regression
from tidemill.training.tracking.reference_rows import ReferenceRows

TASK = Binary("roc_auc")
START = datetime(2013, 4, 1, tzinfo=UTC)


def predictions(rows: int, days: int = 4, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    score = random.random(rows)
    return pl.DataFrame(
        {
            "at": [START + timedelta(days=days) * (row / rows) for row in range(rows)],
            "score": score,
            "label": (random.random(rows) < score).astype(np.int64),
        }
    )


def test_a_window_is_measured_as_a_whole():
    quality = measure(predictions(800), TASK, QualityConfig(), lambda _: 0.83, min_labelled=500)
    assert quality.overall.rows == 800
    assert quality.value == quality.overall.metrics["roc_auc"]
    assert quality.decayed is False


def test_a_function_of_the_project_judges_a_window_where_training_has_another_metric():
    task = Binary("roc_auc", load=lambda name: lambda truth, answers: 100.0 * float(np.mean(truth)))
    rows, config = predictions(800), QualityConfig(metric="own_numbers:profit", floor=60.0)
    quality = measure(rows, task, config, lambda _: None, min_labelled=500)
    assert quality.value == pytest.approx(100 * rows["label"].mean())
    assert quality.decayed is True


def heavy(rows: int, seed: int, factor: float = 1.0) -> pl.DataFrame:
    """Logged answers of a regression whose errors have a heavy tail."""
    random = np.random.default_rng(seed)
    error = factor * np.exp(2 * random.normal(size=rows)) * random.choice([-1, 1], rows)
    return pl.DataFrame(
        {
            "at": [START] * rows,
            "score": np.zeros(rows),
            "label": pl.Series([None] * rows, dtype=pl.Int64),
            "target": [repr(float(one)) for one in error],
        }
    )


@pytest.mark.slow
def test_doubled_errors_are_found_beside_a_heavy_tail_and_ordinary_windows_are_not():
    task = Regression("neg_mae")
    held_out = heavy(1000, seed=1000)
    reference = ReferenceRows(
        pl.DataFrame(), pl.Series([]), held_out["score"], held_out=pl.DataFrame(),
        held_out_labels=held_out["target"].cast(pl.Float64),
    )  # fmt: skip
    errors = held_out_errors(reference, task)
    aim = -float(np.mean(errors))

    def decayed(factor: float, known: bool = True) -> list[WindowQuality]:
        found = [
            measure(
                heavy(300, seed, factor),
                task,
                QualityConfig(),
                lambda _: aim,
                100,
                1000,
                errors if known else None,
            )
            for seed in range(40)
        ]
        return [one for one in found if one.decayed]

    assert len(decayed(1.0)) <= 2
    assert len(decayed(2.0)) >= 32 > 15 > len(decayed(2.0, known=False))
    grown = [one.usual_growth for one in decayed(2.0) if one.usual_growth is not None]
    assert grown
    assert 0.2 < min(grown) < max(grown) < 1.5
    assert held_out_errors(reference, TASK) is None


@pytest.mark.parametrize(
    ("config", "expected", "decayed"),
    [
        ({"max_drop": 0.03}, 0.90, True),
        ({"max_drop": 0.10}, 0.90, False),
        ({"max_drop": 0.03}, 0.50, False),
        ({"max_drop": 0.03, "floor": 0.99}, 0.50, True),
        ({"max_drop": None, "floor": 0.5}, None, False),
        ({"max_drop": None, "floor": 0.99}, None, True),
        ({"max_drop": 0.03, "floor": 0.99}, None, True),
        ({"max_drop": 0.03}, None, None),
    ],
)
def test_decay_is_a_drop_or_a_fall_below_the_floor(
    config: dict, expected: float | None, decayed: bool | None
):
    quality = measure(predictions(2000), TASK, QualityConfig(**config), lambda _: expected, 500)
    assert 0.80 < quality.value < 0.86
    assert quality.decayed is decayed
    if expected is None and config["max_drop"] is not None:
        assert "no hold-out roc_auc is on record" in quality.note


@pytest.mark.slow
def test_the_uncertainty_is_that_of_repeated_windows():
    seen = [
        measure(predictions(700, seed=seed), TASK, QualityConfig(), lambda _: None, 1) for seed in range(60)
    ]
    spread = np.std([quality.value for quality in seen])
    assert seen[0].standard_error == pytest.approx(spread, rel=0.35)


def test_too_few_labels_are_measured_but_not_judged():
    quality = measure(predictions(100), TASK, QualityConfig(), lambda _: 0.99, min_labelled=500)
    assert quality.value is not None
    assert (quality.decayed, quality.note) == (None, "100 labels, 500 are needed")


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_kind_only_give_a_reason_instead_of_a_number(label: int):
    frame = predictions(600).with_columns(label=pl.lit(label, pl.Int64))
    quality = measure(frame, TASK, QualityConfig(), lambda _: 0.7, min_labelled=500)
    assert (quality.value, quality.decayed) == (None, None)
    assert quality.note == f"all labels are {label}: nothing to rank"
    assert quality.overall.metrics["neg_brier"] is not None
    assert quality.overall.base_rate == label


def test_a_score_that_is_not_a_number_gives_a_reason():
    frame = predictions(600).with_columns(score=pl.lit(float("nan")))
    assert measure(frame, TASK, QualityConfig(), lambda _: 0.7, 500).note == "a score is not a number"


def test_no_labels_at_all():
    quality = measure(predictions(600).clear(), TASK, QualityConfig(), lambda _: 0.7, min_labelled=500)
    assert quality.overall.rows == 0
    assert quality.overall.base_rate is None
    assert quality.decayed is None
    assert quality.drop is None
