import numpy as np
import polars as pl
import pytest

from tidemill.monitoring.drift.drift_columns import Comparison, compare
from tidemill.monitoring.drift.impact import answer_attributions, loss_change, with_impact
from tidemill.monitoring.monitor_config import DataDriftConfig


def draw(seed: int, rows: int, **means: float) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame({name: random.normal(mean, 1, rows) for name, mean in means.items()})


def answer(rows: pl.DataFrame) -> np.ndarray:
    return np.asarray(2 * rows["strong"].to_numpy() + 0.2 * rows["weak"].to_numpy())


def test_a_feature_on_which_the_model_leans_comes_before_one_that_moved_further():
    before = draw(1, 4000, strong=0, weak=0, unused=0)
    now = draw(2, 1000, strong=0.5, weak=0.7, unused=0.9)
    columns = compare(before, now, DataDriftConfig(severe=100), pl.Series(["1"] * 1000), "1")
    assert Comparison(columns, None, 4000, 1000).drifted == ("unused", "weak", "strong")
    found = with_impact(columns, answer_attributions(answer, before, before.columns), {})
    ordered = Comparison(found, None, 4000, 1000).by_excess
    assert [one.name for one in ordered] == ["strong", "weak", "unused"]
    assert ordered[0].impact > 3 * ordered[1].impact
    assert ordered[2].impact == 0


def test_drift_towards_rows_that_are_easier_comes_last():
    before = draw(1, 4000, strong=0, weak=0)
    losses = np.abs(before["strong"].to_numpy() - 2)
    harder, easier = draw(2, 1000, strong=-0.8)["strong"], draw(2, 1000, strong=0.8)["strong"]
    assert loss_change(before["strong"], losses, harder) == pytest.approx(0.8, abs=0.15)
    assert loss_change(before["strong"], losses, easier) == pytest.approx(-0.7, abs=0.15)
    assert loss_change(before["strong"], losses, draw(3, 1000, strong=0)["strong"]) == pytest.approx(
        0, abs=0.1
    )
    now = pl.DataFrame({"strong": easier, "weak": draw(4, 1000, weak=0.3)["weak"]})
    columns = compare(before, now, DataDriftConfig(severe=100), pl.Series(["1"] * 1000), "1")
    found = with_impact(columns, {"strong": 1.0, "weak": 0.1}, {"strong": -0.7, "weak": None})
    comparison = Comparison(found, None, 4000, 1000)
    assert comparison.drifted == ("weak", "strong")
    assert comparison.by_excess[1].impact < 0


def test_of_values_that_the_holdout_lacks_nothing_is_said():
    before = draw(1, 1000, a=0)["a"]
    assert loss_change(before, np.ones(1000), before + 100.0) is None
    words = pl.Series(["a", "b", None] * 100)
    losses = np.array([0.0, 1.0, 5.0] * 100)
    assert loss_change(words, losses, pl.Series(["b"] * 200)) == pytest.approx(-1.0)
    assert loss_change(words, losses, pl.Series([None] * 200, dtype=pl.String)) == pytest.approx(3.0)
    assert loss_change(words, losses, pl.Series(["c"] * 200)) is None
    assert loss_change(words, losses, pl.Series([1.0] * 200)) is None
