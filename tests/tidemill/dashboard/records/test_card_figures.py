"""What the card of a version measures itself, and what it reads from runs of monitors."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from tidemill.dashboard.records.card_monitoring import calibration_in, groups_in, live_in
from tidemill.dashboard.records.card_reading import _features
from tidemill.dashboard.records.held_out_figures import calibration_of, intervals_of
from tidemill.monitoring.quality.held_out import HeldOut
from tidemill.state.record_reader import Row
from tidemill.tasks.binary import Binary

AT = datetime(2013, 7, 1, tzinfo=UTC)


def run(**results):
    return Row(monitor="weekly", at=AT, window_start=AT, window_end=AT, labelled=9, results=results)


def test_an_interval_is_around_what_is_recorded_and_as_wide_as_chance():
    rng, task = np.random.default_rng(1), Binary("roc_auc")
    answers = rng.uniform(size=1000)
    known = HeldOut(pl.DataFrame(), (rng.uniform(size=1000) < answers).astype(np.float64), answers)
    of = {"accuracy": 0.75, "rows": 4000.0, "mine:profit": 3.0}
    (low, high), alone = intervals_of(task, known, of, 1000)["accuracy"], intervals_of(task, known, of, 4000)
    error = np.sqrt(0.75 * 0.25 / 1000)
    assert (low, high) == pytest.approx((0.75 - 1.645 * error, 0.75 + 1.645 * error), abs=0.004)
    assert alone.keys() == {"accuracy"}
    assert np.diff(alone["accuracy"])[0] == pytest.approx((high - low) / 2)  # four times the rows
    assert calibration_of(task, known) < 0.05
    assert calibration_of(task, HeldOut(pl.DataFrame(), known.truth, answers**3)) > 0.2


def test_features_are_described_without_any_value_of_a_row():
    rows = {"weight": [1.0, None, float("nan"), 3.0], "street": ["Elm 1", "Elm 1", None, "Oak 2"]}
    weight, street = _features(pl.DataFrame(rows))
    assert (weight.missing, weight.different, weight.mean) == (0.5, 2, 2.0)
    assert (street.missing, street.different, street.mean) == (0.25, 2, None)
    assert not {"Elm 1", "Oak 2"} & set(vars(street).values())


def test_the_last_run_that_measured_something_counts_and_losses_have_their_own_sign():
    quality = {"metric": "neg_mae", "value": -12.0, "standard_error": 1.0, "overall": {"rows": 90}}
    gap = {
        "column": "depot",
        "group": "north",
        "what": "positive_rate",
        "value": 0.2,
        "others": 0.4,
        "rows": 50,
    }
    measured = {"value": 0.1, "chance": 0.02, "frequency": 0.3, "rows": 70}
    last = run(quality=quality, estimated_quality=None, fairness={"groups": [gap]})
    older = run(quality={**quality, "value": -99.0}, calibration=measured)
    failed = run(error="the log cannot be read")
    [live] = live_in([failed, last, older])
    assert (live.metric, live.value, live.low, live.high) == ("mae", 12.0, 12 - 1.645, 12 + 1.645)
    [told] = calibration_in([failed, last, older])
    assert (told.on, told.error, told.chance) == ("weekly, window until 2013-07-01", 0.1, 0.02)
    north = {"name": "depot = north", "value": -9.0, "expected": -7.0, "rows": 40}
    first, second = groups_in([last], (AT, {"metric": "neg_mae", "slices": [north]}))
    assert (first.kind, first.metric, first.value, first.beside) == ("slice", "mae", 9.0, 7.0)
    assert (second.kind, second.name, second.value, second.beside) == ("fairness", "depot north", 0.2, 0.4)
