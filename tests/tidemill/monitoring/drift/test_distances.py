import numpy as np
import polars as pl
import pytest
from scipy.stats import wasserstein_distance

from tidemill.monitoring.drift import distances
from tidemill.monitoring.drift.distances import (
    jensen_shannon,
    shuffled_jensen_shannon,
    shuffled_wasserstein,
    wasserstein,
)

SHAPES = {
    "numbers": lambda random, rows: random.normal(0.1, 1, rows),
    "few": lambda random, rows: np.round(random.normal(0, 2, rows)),
    "far tails": lambda random, rows: np.exp(5 * random.normal(size=rows)),
    "far from zero": lambda random, rows: 1e9 + random.normal(size=rows),
    "another unit": lambda random, rows: 1e6 * random.normal(size=rows),
    "outside": lambda random, rows: random.normal(50, 1, rows),
    "one": lambda random, rows: np.full(rows, 0.3),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rows", "window"), [(30, 500), (500, 30), (7, 7), (2, 60)])
def test_many_rows_have_the_distance_that_few_have(shape, rows, window, monkeypatch):
    random = np.random.default_rng(rows)
    before, now = SHAPES["numbers"](random, rows), SHAPES[shape](random, window)
    expected = wasserstein_distance(before, now) / before.std()
    assert wasserstein(before, now) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(distances, "_MANY", 0)
    assert wasserstein(before, now) == pytest.approx(expected, rel=1e-9)


def test_the_sum_of_many_huge_numbers_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(distances, "_MANY", 0)
    before, now = np.array([0.0, 1.0, 2.0]), np.full(400, 1e306)
    assert wasserstein(before, now) == pytest.approx(1e306 / before.std(), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e307])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rows", "window"), [(30, 500), (500, 30), (7, 7), (2, 60)])
def test_shuffles_measured_together_have_the_distances_that_each_has(shape, rows, window, scale):
    random = np.random.default_rng(rows)
    known = np.append(SHAPES["numbers"](random, rows), SHAPES[shape](random, window))
    known *= scale / np.abs(known).max()
    places = np.array([random.permutation(len(known)) for _ in range(9)])
    sides = [(known[each[window:]], known[each[:window]]) for each in places]
    expected = [wasserstein(*each) if np.ptp(each[0]) else 0.0 for each in sides]
    assert shuffled_wasserstein(known, places, window) == pytest.approx(expected, rel=1e-9)


CATEGORIES = {
    "many words": lambda random, rows: (random.zipf(1.4, rows) % 1000).astype(str),
    "few numbers": lambda random, rows: random.poisson(0.5, rows).astype(float),
    "equally often": lambda random, rows: np.resize(np.arange(40).astype(str), rows),
    "one": lambda random, rows: np.full(rows, "only"),
}


@pytest.mark.parametrize("kind", CATEGORIES)
@pytest.mark.parametrize(("rows", "window"), [(600, 90), (5, 70)])
def test_categories_shuffled_at_once_have_the_distances_of_each(kind, rows, window):
    random = np.random.default_rng(rows)
    known = pl.Series(CATEGORIES[kind](random, rows + window))
    places = np.array([random.permutation(len(known)) for _ in range(5)])
    expected = [jensen_shannon(known[each[window:]], known[each[:window]], 20) for each in places]
    assert shuffled_jensen_shannon(known, places, window, 20).tolist() == expected
