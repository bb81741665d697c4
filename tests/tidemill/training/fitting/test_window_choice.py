"""The window is chosen by rows that no compared model learnt from, and only beyond chance."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import yaml

from tests.tidemill.retraining.test_policies import PROJECT
from tidemill.project import Project, load_project
from tidemill.tasks.task import Answers
from tidemill.training.candidate_windows import Window, parse_window
from tidemill.training.fitting.window_choice import WindowChoice, choose_window

HOUR, START = timedelta(hours=1), datetime(2024, 1, 1, tzinfo=UTC)
WINDOWS = tuple(map(parse_window, ("all", {"last": "30d"}, "since_change", {"season": "365d"})))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("windows")
    (folder / "params.yaml").write_text(yaml.safe_dump(PROJECT))
    return load_project(folder)


def table(turns_over: bool) -> pl.DataFrame:
    """100 days; with ``turns_over`` the sign of the feature's effect, and its mean, change on day 50."""
    draw, count = np.random.default_rng(1), 100 * 24
    x = draw.normal(size=count)
    later = (np.arange(count) >= 50 * 24) & turns_over
    y = (np.where(later, -x, x) + draw.normal(size=count) > 0).astype(int)
    at = [START + n * HOUR for n in range(count)]
    return pl.DataFrame({"event_timestamp": at, "label_known_at": at, "y": y, "x": x + later * 3.0})


def direction(rows: pl.DataFrame) -> Callable[[pl.DataFrame], Answers]:
    """Fit the sign of the effect."""
    sign = np.sign(np.corrcoef(rows["x"], rows["y"])[0, 1])
    return lambda some: 1 / (1 + np.exp(-sign * some["x"].to_numpy()))


def choose(project: Project, rows: pl.DataFrame, windows: tuple[Window, ...] = WINDOWS) -> WindowChoice:
    train, validation = rows[: 86 * 24], rows[86 * 24 :]
    return choose_window(project, windows, ("x",), (train, validation, rows), direction)


def test_a_window_that_is_surely_better_is_chosen(project: Project):
    rows = table(turns_over=True)
    found = choose(project, rows)
    by_name = {each.window: each for each in found.compared}
    assert str(found.window) == "last 30 days"
    assert found.rows["event_timestamp"].min() > rows["event_timestamp"].max() - timedelta(days=30)
    assert found.rows["event_timestamp"].max() == rows["event_timestamp"].max()
    assert by_name["last 30 days"].low > 0.2
    assert by_name["same season every 365 days"].left_out is not None
    assert [each.window for each in found.compared if each.chosen] == ["last 30 days"]
    assert found.recorded[0]["rows"] == 86 * 24


def test_the_first_window_stands_where_nothing_has_changed(project: Project):
    found = choose(project, table(turns_over=False))
    assert str(found.window) == "all"
    assert found.rows.height == 2400
    assert found.compared[0].chosen


@pytest.mark.parametrize(("turns_over", "chosen"), [(False, "all"), (True, "last 30 days")])
def test_a_first_window_that_is_left_out_does_not_stand(project: Project, turns_over: bool, chosen: str):
    windows = tuple(map(parse_window, ({"last": "2d"}, "all", {"last": "30d"})))
    found = choose(project, table(turns_over=turns_over), windows)
    few, whole, last = found.compared
    assert (few.rows, few.left_out, few.chosen) == (48, "48 rows, 516 are needed", False)
    assert (str(found.window), whole.gain) == (chosen, None)
    assert last.gain is not None
    assert found.rows.height == (2400 if chosen == "all" else 30 * 24)
