"""Which rows a candidate window has, and where a change is found."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tidemill.training.candidate_windows import Window, parse_window
from tidemill.training.rows_of_windows import change_point, rows_in

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def days(count: int, **columns: object) -> pl.DataFrame:
    return pl.DataFrame({"at": [START + n * DAY for n in range(count)], **columns})


def chosen(given: object, rows: pl.DataFrame, change: datetime | None = None) -> list[int] | str:
    found = rows_in(parse_window(given), rows, "at", change)
    return found if isinstance(found, str) else [(at - START).days for at in found["at"]]


def test_windows_have_the_rows_that_they_say():
    rows = days(100)
    assert chosen("all", rows) == list(range(100))
    assert chosen({"last": "10d"}, rows) == list(range(90, 100))
    assert chosen({"last": "100d"}, rows) == "all rows are from the last 100 days"
    assert chosen("since_change", rows, START + 60 * DAY) == list(range(60, 100))
    assert chosen("since_change", rows) == "no change was found in the rows"


def test_a_season_is_what_lies_near_the_same_moment_of_each_period():
    found = chosen({"season": "40d"}, days(100))
    assert found == [
        *range(14, 25),
        *range(54, 65),
        *range(94, 100),
    ]  # five days on either side of 19, 59, 99
    assert chosen({"season": "365d"}, days(100)) == "the rows do not reach back to the season 365 days before"


def test_the_change_is_found_in_noise_and_not_at_an_end():
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(200, 2))
    noise[130:, 1] += 2
    rows = days(200, x=noise[:, 0], y=noise[:, 1], word=["a"] * 200)
    assert abs((change_point(rows, "at", ("x", "y", "word")) - START).days - 130) <= 2
    late = days(100, y=np.where(np.arange(100) >= 97, 50.0, 0.0) + np.arange(100) % 2)
    assert (change_point(late, "at", ("y",)) - START).days <= 86
    assert change_point(days(20, y=range(20)), "at", ("y",)) is None
    assert change_point(days(100, y=[1.0] * 100), "at", ("y",)) is None


@pytest.mark.parametrize("given", ["some", {"last": "soon"}, {"last": "0d"}, {"first": "3d"}, 3])
def test_what_is_no_window_is_refused(given: object):
    with pytest.raises(ValueError, match="is no window: write all"):
        parse_window(given)


def test_a_window_is_written_as_it_was_read():
    for given in ("all", "since_change", {"last": "180d"}, {"season": "7d"}):
        assert parse_window(given).declared == given
    assert parse_window(Window("all")) == Window("all")
