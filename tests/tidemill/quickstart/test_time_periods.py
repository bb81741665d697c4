"""The last days judge about 15 % of the rows, however these are spread over time."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tests.tidemill.quickstart.test_new_project import TABLE, draft, params
from tidemill.project.project_config import DatasetConfig, SplitConfig
from tidemill.quickstart.time_periods import Periods, choose_periods
from tidemill.training.splits import known_before, split_by_time

N = 1000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
R = np.random.default_rng(1)
NONE = timedelta(0)


def table(days, labels=None):
    """Return rows at so many days after the start."""
    moments = [START + timedelta(days=float(one)) for one in days]
    labels = R.integers(0, 2, len(moments)) if labels is None else labels
    return pl.DataFrame({"at": moments, "y": labels}).sort("at")


def chosen(rows, delay=NONE, now=NOW):
    return choose_periods(rows.lazy(), "at", "y", delay, now)


def sides(rows, found, delay=NONE, now=NOW):
    """Return the rows of the three sides, as training splits them."""
    rows = rows.with_columns(known=pl.col("at") + delay).filter(pl.col("known") <= now)
    config = SplitConfig(validation_days=found.validation_days, holdout_days=found.holdout_days)
    split = split_by_time(now, rows["at"][0], rows["at"][-1], config)
    dataset = DatasetConfig(path="x", time="at", label="y", label_known="known")
    train, validation = (known_before(rows, one, dataset) for one in (split.train, split.validation))
    return train, validation, rows.filter(pl.col("at") >= split.holdout.start)


SPREADS = {
    "even": R.uniform(0, 400, N),
    "one of 1970": [*R.uniform(0, 400, N - 1), -19_700],
    "a few of 1970": [*R.uniform(0, 400, N - 20), *R.uniform(-19_700, -19_600, 20)],
    "one much later": [*R.uniform(0, 40, N - 1), 700],
    "thinning": R.exponential(40, N),
    "growing": 400 - R.exponential(40, N),
    "clumps": R.choice([0, 31, 60, 91, 121, 152, 182], N),
    "few days": R.uniform(0, 7, N),
}


@pytest.mark.parametrize("spread", SPREADS)
def test_about_as_many_rows_judge_versions_and_trials(spread):
    rows = table(SPREADS[spread])
    found = chosen(rows)
    train, validation, holdout = sides(rows, found)
    assert (found.validation_rows, found.holdout_rows) == (validation.height, holdout.height)
    assert train.height + validation.height + holdout.height == N
    near = 0.09 if spread in ("clumps", "few days") else 0.03
    for side in (validation, holdout):
        assert side.height == pytest.approx(0.15 * N, abs=near * N)
        assert side["y"].n_unique() == 2


def test_labels_that_come_late_make_the_validation_longer():
    rows, delay, now = table(R.uniform(0, 400, N)), timedelta(days=30), START + timedelta(days=410)
    found = chosen(rows, delay, now)
    train, validation, holdout = sides(rows, found, delay, now)
    assert (found.validation_rows, found.holdout_rows) == (validation.height, holdout.height)
    assert found.validation_days > 30 + 40
    assert validation.height == pytest.approx(0.15 * 0.95 * N, abs=30)
    assert train.height > 0.4 * N


def test_rows_without_a_label_or_later_than_now_count_for_nothing():
    rows = table(R.uniform(0, 400, N))
    more = table(R.uniform(900, 2000, N)), table(R.uniform(0, 400, N), pl.Series([None] * N, dtype=pl.Int64))
    assert chosen(pl.concat([rows, *more])) == chosen(rows)


def test_periods_have_both_labels_where_days_with_them_are_near():
    days = np.arange(N) * 400 / N
    rows = table(days, (days < 320) & (np.arange(N) % 2 == 0))
    assert sides(rows, chosen(rows))[2]["y"].n_unique() == 2
    assert chosen(table(days, days < 100)) is None


@pytest.mark.parametrize(
    "days", [[0.0] * 900 + [0.5] * 100, [0.0, *[500.0] * 999], [n / 500 for n in range(N)], []], ids=len
)
def test_no_days_are_said_to_be_none(days):
    assert chosen(table(days)) is None


def test_numbers_and_texts_are_labels_too():
    rows = table(np.arange(N) * 400 / N)
    for labels in (pl.int_range(N) / 7, pl.int_range(N).cast(pl.String), pl.int_range(N) % 2 == 0):
        found = chosen(rows.with_columns(y=labels))
        assert found == Periods(60, 150, 60, 150)
    assert chosen(rows.with_columns(y=pl.lit(float("nan")))) is None


def test_the_project_declares_the_periods_and_asks_for_no_more_rows_than_there_are(tmp_path):
    dirty = [
        datetime(1970, 1, 1, tzinfo=UTC),
        *(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(1, TABLE.height)),
    ]
    made = draft(TABLE.with_columns(at=pl.Series(dirty)), tmp_path, time="at")
    assert params(made)["split"] == {"by": "time", "validation_days": 60, "holdout_days": 60}
    assert params(made)["gate"]["min_rows"] == 30
    assert params(made)["train"]["refit"] is True
    [said] = [one.text for one in made.assumptions if one.subject == "split"]
    assert said == "the last 60 days (60 rows) judge versions, the 60 before them (60 rows) trials"
    assert "window: 91d" in made.files["monitoring/monitors.yaml"]
    few = [datetime(2024, 1, 1 + n % 10, tzinfo=UTC) for n in range(TABLE.height)]
    made = draft(TABLE.with_columns(at=pl.Series(few)), tmp_path, time="at")
    [said] = [one.text for one in made.assumptions if one.subject == "split"]
    assert said.startswith("the last day (40 rows) judges versions, the 1 before it (40 rows) trials")
    same = [datetime(2024, 1, 1, tzinfo=UTC), *[datetime(2025, 1, 1, tzinfo=UTC)] * (TABLE.height - 1)]
    made = draft(TABLE.with_columns(at=pl.Series(same)), tmp_path, time="at")
    assert params(made)["split"] == {"by": "stratified"}
    assert "refit" not in params(made)["train"]
    [said] = [one.text for one in made.assumptions if one.subject == "split"]
    assert said.endswith("not by time: no last days have 5% to 35% of the rows, with different labels")
    shops = np.where(np.arange(TABLE.height) < 300, 0, np.arange(TABLE.height))
    grouped = draft(TABLE.with_columns(shop=pl.Series(shops)), tmp_path, key="shop")
    assert params(grouped)["gate"]["min_rows"] == 15  # of 101 shops 15 are held out, perhaps of one row each
