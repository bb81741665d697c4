"""Slices of made worlds: a model that is right on average, and does worse in one place or everywhere."""

import numpy as np
import polars as pl
import pytest

from tidemill.monitoring.slice_config import SliceDeclaration
from tidemill.monitoring.slices.slice_quality import JudgedRows, slice_qualities
from tidemill.monitoring.slices.slice_rows import Slice, declared_slices
from tidemill.monitoring.slices.slice_search import searched_slices
from tidemill.tasks.binary import Binary
from tidemill.tasks.regression import Regression

CARRIERS = np.array(["AA", "UA", "DL", "B6", "WN"])
NUMBERS = ("wind", "rain", "heat", "hour", "distance")


def draw(seed: int, rows: int, kind: str = "regression", **harm: float) -> JudgedRows:
    """Return rows whose error is multiplied in ``bad`` (carrier DL, late) or in ``all`` of them."""
    random = np.random.default_rng(seed)
    features = pl.DataFrame(
        {name: random.gamma(2, 1, rows) for name in NUMBERS} | {"carrier": random.choice(CARRIERS, rows)}
    )
    bad = ((features["carrier"] == "DL") & (features["hour"] > 1.5)).to_numpy()
    hard = (features["carrier"] == "WN").to_numpy()
    scale = (1 + 2 * hard) * np.where(bad, harm.get("bad", 1.0), 1.0) * harm.get("all", 1.0)
    truth = features["wind"].to_numpy()
    if kind == "regression":
        return JudgedRows.of(
            features, truth + random.standard_t(3, rows) * scale, truth, Regression("neg_mae")
        )
    chance = 1 / (1 + np.exp(-2 * (truth - 2)))
    real = np.where(bad & (harm.get("bad", 1.0) > 1), 0.5, chance)
    return JudgedRows.of(features, (random.random(rows) < real).astype(float), chance, Binary("roc_auc"))


def judged(before: JudgedRows, now: JudgedRows, kind: str = "regression"):
    task = Regression("neg_mae") if kind == "regression" else Binary("roc_auc")
    slices = searched_slices(before.features, now.features, (before.losses, now.losses), 50)
    allowed = 0.15 if kind == "regression" else 0.05
    found = slice_qualities(before, now, slices, task, allowed, searched=True)
    return found, len(slices)


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_the_search_names_the_place_that_got_worse(kind):
    found, many = judged(draw(1, 2000, kind), draw(2, 1200, kind, bad=4.0), kind)
    assert 50 < many <= 400
    worst = found[0]
    assert worst.decayed
    assert "carrier DL" in worst.name
    assert worst.p_value < 0.01
    assert worst.value < worst.expected - 0.15
    assert worst.value < worst.rest
    assert worst.rows == pytest.approx(1200 * worst.share)


def test_a_place_that_always_was_hard_and_a_loss_everywhere_are_no_slices():
    before = draw(1, 2000)
    stationary, _ = judged(before, draw(2, 1000))
    assert not any(one.decayed for one in stationary)
    now = draw(3, 1000, all=1.6)
    everywhere, _ = judged(before, now)
    assert not any(one.decayed and "WN" not in one.name for one in everywhere)
    declared = declared_slices([SliceDeclaration(by="carrier")], before.features, now.features)
    found = slice_qualities(before, now, declared, Regression("neg_mae"), 0.15, searched=False)
    assert len(found) == 5
    assert all(one.decayed for one in found), "declared segments are judged by what they had"


def test_stationary_windows_seldom_alarm():
    alarms = 0
    for seed in range(6):
        found, _ = judged(draw(seed, 800), draw(1000 + seed, 400))
        alarms += any(one.decayed for one in found)
    assert alarms == 0


def test_slices_that_share_most_of_their_rows_are_told_once():
    before, now = draw(1, 2000), draw(2, 2000, bad=6.0)
    half = (now.features["carrier"] == "DL").to_numpy()
    same = [Slice(name, (before.features["carrier"] == "DL").to_numpy(), half) for name in "ab"]
    found = slice_qualities(before, now, same, Regression("neg_mae"), 0.1, searched=True)
    assert [one.name for one in found] == ["a"]


def test_columns_that_changed_their_type_and_lists_make_no_slices():
    frames = [
        pl.DataFrame({"a": values, "b": [None] * 200, "c": [[1.0]] * 200, "d": ["x", "y"] * 100})
        for values in (["1", "2"] * 100, [1.0, 2.0] * 100)
    ]
    found = searched_slices(*frames, (np.ones(200), np.ones(200)), 50)
    assert [one.name for one in found] == ["d x", "d y"]


def test_no_slices_give_no_results():
    rows = draw(1, 200)
    assert slice_qualities(rows, rows, [], Regression("neg_mae"), 0.1, searched=True) == []
