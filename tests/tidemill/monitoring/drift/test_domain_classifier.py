import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tidemill.monitoring.drift import domain_classifier
from tidemill.monitoring.drift.domain_classifier import separation
from tidemill.monitoring.drift.drift_columns import compare
from tidemill.monitoring.monitor_config import DataDriftConfig

WORDS = np.array(["AA", "UA", "DL"])


def draw(seed: int, rows: int, correlation: float) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    pair = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], rows)
    others = {f"x{n}": random.normal(size=rows) for n in range(4)}
    gaps = np.where(random.random(rows) < 0.1, None, random.choice(WORDS, rows))
    return pl.DataFrame({"heat": pair[:, 0], "load": pair[:, 1], **others, "carrier": gaps.tolist()})


def test_a_turned_correlation_is_found_that_no_column_shows():
    before, now = draw(1, 1200, 0.8), draw(2, 600, -0.8)
    columns = compare(before, now, DataDriftConfig(), pl.Series(["1"] * 600), "1")
    assert [one.name for one in columns if one.drifted] == []
    found = separation(before, now, 0.6)
    assert found.low > 0.75
    assert found.p_value < 1e-6
    assert set(list(found.carried_by)[:2]) == {"heat", "load"}
    assert max(found.carried_by.values()) > 0.1


@pytest.mark.slow
def test_windows_of_one_source_are_seldom_told_apart():
    found = [separation(draw(seed, 900, 0.8), draw(seed + 100, 300, 0.8), 0.6) for seed in range(3)]
    assert max(one.auc for one in found) < 0.6
    assert min(one.p_value for one in found) > 0.01


def test_days_that_are_each_unlike_the_others_are_no_change():
    """Each day has a weather of its own: what one day's rows teach says nothing of the next day."""
    random = np.random.default_rng(3)
    days = np.repeat(random.normal(size=90), 50)
    year = pl.DataFrame({"heat": days + 0.3 * random.normal(size=len(days))})
    order = random.permutation(60)
    reference = pl.concat([year.slice(50 * int(day), 50) for day in order])
    assert separation(reference, year.slice(60 * 50), 0.6).low < 0.6


def test_too_few_rows_and_nothing_in_common_say_so():
    rows = draw(1, 29, 0.0)
    assert separation(rows, rows, 0.6).note == "29 rows, 30 are needed"
    other = pl.DataFrame({"y": [1.0] * 50})
    assert separation(draw(1, 50, 0.0), other, 0.6).note == "no feature that both have can be compared"


def test_gaps_constants_and_new_words_are_taken():
    rows = 300
    common = {"gone": [None] * rows, "one": [1.0] * rows, "flag": [True, None] * 150}
    before = pl.DataFrame(common | {"word": ["a", "b", None] * 100})
    now = pl.DataFrame(common | {"word": ["a", "new", None] * 100})
    assert separation(before, before, 0.6).auc < 0.55
    found = separation(before, now, 0.6)
    assert found.auc > 0.6
    assert list(found.carried_by) == ["word"]


def test_a_list_whose_direction_changed_is_told_apart():
    random = np.random.default_rng(5)
    sides = []
    for at in (0, 3):
        values = random.normal(size=(600, 8)) * 0.2
        values[:, at] += 1
        sides.append(pl.DataFrame({"embedding": pl.Series(values.tolist(), dtype=pl.List(pl.Float64))}))
    found = separation(*sides, 0.6)
    assert found.auc > 0.95
    assert list(found.carried_by) == ["embedding"]


def test_it_is_fitted_in_one_thread(monkeypatch: pytest.MonkeyPatch):
    """Several wait for each other on a busy machine: 0.2 s of work took minutes."""
    threads = set[int]()
    area = domain_classifier._area

    def look(*sides):
        threads.update(each["num_threads"] for each in threadpool_info())
        return area(*sides)

    monkeypatch.setattr(domain_classifier, "_area", look)
    rows = pl.DataFrame({"wind": np.random.default_rng(0).normal(size=120)})
    with threadpool_limits(2):
        separation(rows, rows, 0.6)
    assert threads == {1}
