from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest

from tests.tidemill.monitoring.made_windows import monitor_of
from tidemill.monitoring.window_config import LatestRows, Season
from tidemill.monitoring.windows.logged_windows import compared_window, logged_window
from tidemill.monitoring.windows.time_windows import Window
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.prediction_log.prediction_log import PredictionLog, PredictionRecord
from tidemill.training.tracking.reference_rows import ReferenceRows

MONDAY = datetime(2013, 4, 15, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Forty predictions, one an hour up to Monday at 15:00, the last two of one moment, and tests between."""
    root = tmp_path_factory.mktemp("log")
    log = PredictionLog(root, "delay")
    moments = [MONDAY + 15 * HOUR - n * HOUR for n in range(39)] + [MONDAY + 15 * HOUR]
    log.append([record(f"p{n}", at, test=False) for n, at in enumerate(moments)])
    log.append([record(f"t{n}", at + HOUR / 2, test=True) for n, at in enumerate(moments)])
    log.close()
    return root


def record(name: str, at: datetime, test: bool) -> PredictionRecord:
    return PredictionRecord(name, "delay", "1", at, at, "r", {}, {"wind": 1.0}, 0.5, {}, test=test)


@pytest.mark.parametrize(
    ("rows", "now", "start"),
    [
        (10, MONDAY + DAY, MONDAY + 7 * HOUR),
        (1, MONDAY + DAY, MONDAY + 15 * HOUR),
        (30, MONDAY + 15 * HOUR, MONDAY - 15 * HOUR),
        (1000, MONDAY + DAY, MONDAY - 23 * HOUR),
        (10, MONDAY - 30 * DAY, MONDAY - 30 * DAY),
    ],
    ids=["the last ten", "two of one moment", "before the end only", "all there are", "none"],
)
def test_a_window_of_the_latest_predictions(root, rows, now, start):
    assert logged_window(root, "delay", LatestRows(rows=rows), now) == Window(start, now)


def test_a_window_of_time_reads_nothing(tmp_path):
    assert logged_window(tmp_path, "delay", 14 * DAY, MONDAY) == Window(MONDAY - 14 * DAY, MONDAY)


def test_what_a_window_is_compared_with(root):
    week = Window(MONDAY - 7 * DAY, MONDAY)
    assert compared_window(root, "delay", 7 * DAY, "training", week) is None
    assert compared_window(root, "delay", 7 * DAY, "previous", week) == week.earlier(7 * DAY)
    year = Season(season=timedelta(days=365))
    assert compared_window(root, "delay", 7 * DAY, year, week) == week.earlier(365 * DAY)
    assert compared_window(root, "delay", 7 * DAY, Season(season=DAY), week) is None, "they overlap"
    ten = LatestRows(rows=10)
    now = logged_window(root, "delay", ten, MONDAY + DAY)
    before = compared_window(root, "delay", ten, "previous", now)
    assert before == Window(MONDAY - 3 * HOUR, now.start), "the ten rows before"


def test_the_window_before_one_of_rows_has_as_many_rows_however_long_they_took(root):
    monitor = monitor_of(window={"rows": 10}, min_rows=10, min_labelled=10, kpi={"function": "own:hits"})
    now = Window(MONDAY + 7 * HOUR, MONDAY + DAY)
    none = pl.Series([], dtype=pl.Float64)
    project = SimpleNamespace(predictions=root, model="delay")
    short = Window(now.start, now.start + HOUR)  # an hour before it there is one row
    for span in (now, short):
        reference = ReferenceRows(pl.DataFrame(), none, none, None)
        one = WindowRows(project, monitor, "1", {}.get, span, reference, pl.DataFrame(), pl.DataFrame())
        assert (one.before.span, one.before.rows.height) == (Window(MONDAY - 3 * HOUR, now.start), 10)
