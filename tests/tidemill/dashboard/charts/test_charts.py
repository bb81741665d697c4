import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tidemill.dashboard.charts import lines_by_month
from tidemill.dashboard.charts.axes import NumberScale, TimeScale
from tidemill.dashboard.charts.heat_map import HeatCell, HeatColumn, HeatRow, heat_map, heat_names
from tidemill.dashboard.charts.histogram import Bins, histogram
from tidemill.dashboard.charts.shares_over_time import Divided, shares_over_time
from tidemill.dashboard.charts.time_series import Happened, Limit, TimePoint, TimeSeries, time_series

DAY = datetime(2013, 4, 1, tzinfo=UTC)
EVIL = '<script>alert("1")</script>&'


def days(*numbers):
    return [DAY + timedelta(days=number) for number in numbers]


def drawn_evil():
    """Each picture with a text that would be a program if it were not escaped."""
    at = days(0)[0]
    cell = HeatCell(2.0, True, False, EVIL)
    yield time_series(
        EVIL, EVIL, [TimeSeries(EVIL, [TimePoint(at, 1.0, doubt=EVIL)])], [Happened(at, "data", EVIL)]
    )
    yield heat_map(EVIL, [HeatColumn(at, f'/"{EVIL}')], [HeatRow(EVIL, [cell])])
    yield histogram(Bins(EVIL, [EVIL, "b"], [0.5, 0.5], [0.1, 0.9]))
    yield shares_over_time(EVIL, EVIL, [Divided(at, EVIL, {EVIL: 3.0})])


@pytest.mark.parametrize("place", range(4))
def test_text_in_a_picture_is_never_markup_and_the_policy_holds(place):
    drawn = str(list(drawn_evil())[place])
    assert "<script" not in drawn
    assert not re.search(r"\sstyle=|\son\w+=", drawn)
    svg = ElementTree.fromstring(drawn)
    assert EVIL in svg.find("title").text
    assert "<script" not in heat_names([HeatRow(EVIL[:16], [])])
    assert svg.get("role") in ("img", "group")


def test_a_window_without_a_figure_interrupts_the_line():
    points = [TimePoint(at, value) for at, value in zip(days(0, 1, 2, 3), [1.0, None, 2.0, 3.0], strict=True)]
    drawn = ElementTree.fromstring(str(time_series("t", "u", [TimeSeries("a", points)])))
    [line] = [path for path in drawn.iter("path") if "line" in path.get("class")]
    assert re.findall("[ML]", line.get("d")) == ["M", "M", "L"]


def test_an_interval_spans_its_ends_and_a_doubted_point_is_hollow():
    points = [TimePoint(DAY, 0.5, 0.4, 0.6), TimePoint(days(7)[0], 0.7, doubt="partial")]
    drawn = ElementTree.fromstring(
        str(time_series("t", "u", [TimeSeries("a", points)], limits=[Limit("alert", 0.45)]))
    )
    [interval] = [one for one in drawn.iter("line") if "interval" in one.get("class")]
    [limit] = [one for one in drawn.iter("line") if one.get("class") == "limit"]
    assert float(interval.get("y1")) > float(limit.get("y1")) > float(interval.get("y2"))
    marks = [one.get("class") for one in drawn.iter("circle")]
    assert marks == ["mark first", "mark first hollow"]


def test_what_happened_stands_at_its_moment_and_not_outside_of_the_axis():
    scale = TimeScale(DAY, days(10)[0])
    events = [Happened(days(5)[0], "promotion", "a"), Happened(days(50)[0], "alert", "b")]
    drawn = time_series("t", "u", [TimeSeries("a", [TimePoint(DAY, 1.0)])], events, scale=scale)
    lines = [
        one for one in ElementTree.fromstring(str(drawn)).iter("line") if "event-line" in one.get("class")
    ]
    assert [float(one.get("x1")) for one in lines] == [scale.x(days(5)[0])]


def test_cells_are_told_apart_by_signs_and_windows_lead_on():
    cells = [
        HeatCell(0.2, False, False, "a"),
        HeatCell(1.5, True, False, "b"),
        HeatCell(9.0, True, True, "c"),
    ]
    columns = [HeatColumn(at, f"/w/{number}") for number, at in enumerate(days(0, 7, 14))]
    drawn = ElementTree.fromstring(
        str(heat_map("t", columns, [HeatRow("wind", [*cells[:2], None]), HeatRow("x", cells)]))
    )
    links = list(drawn.iter("a"))
    assert [link.get("href") for link in links] == ["/w/0", "/w/1", "/w/2"]
    assert [len(list(link.iter("rect"))) for link in links] == [2, 2, 1]
    assert [len(list(link.iter("circle"))) for link in links] == [0, 2, 0]
    assert "heat-sign" in links[2].find("g/path").get("class")


def test_a_histogram_of_numbers_has_columns_and_one_of_categories_names():
    numbers = str(
        histogram(
            Bins("wind", ["0 to 1", "1 to 2", "-3e+04 to 2", "missing"], [0.5, 0.5, 0, 0], [0, 1, 0, 0])
        )
    )
    assert "% of the rows" in numbers
    assert ">missing</text>" in numbers
    names = str(histogram(Bins("carrier", ["UA", "others"], [0.5, 0.5], [0.25, 0.75])))
    assert ">UA</text>" in names
    assert "75 %" in names


@pytest.mark.parametrize(
    "gap", [timedelta(seconds=2), timedelta(hours=5), timedelta(days=3), timedelta(days=4000)]
)
def test_an_axis_has_a_few_labels_whatever_it_spans(gap):
    ticks = TimeScale.around([DAY, DAY + gap]).ticks()
    assert 1 < len(ticks) <= 8
    assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize("numbers", [[0.0], [5.0, 5.0], [-1e12, 1e12], [1e-9, 2e-9], [float("inf"), 1.0]])
def test_an_axis_of_numbers_takes_any(numbers):
    scale = NumberScale.around(numbers, 0.0, 100.0)
    assert 1 <= len(scale.ticks()) <= 7
    assert all(0.0 <= scale.y(each) <= 100.0 for each in numbers)


def test_a_name_at_the_last_window_is_written_to_the_left_of_its_bar():
    days = [datetime(2013, 4, 1, tzinfo=UTC) + timedelta(days=n) for n in range(10)]
    windows = [Divided(day, "", {"version 1" if day < days[-1] else "version 2": 3.0}) for day in days]
    [last] = re.findall(r"<text[^>]*>version 2<", shares_over_time("traffic", "rows", windows))
    assert 'text-anchor="end"' in last


def test_each_line_by_month_has_a_look_of_its_own_in_light_and_dark():
    css = (Path(lines_by_month.__file__).parents[1] / "static" / "watch.css").read_text()
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    looks = [re.findall(rf"\.strand-{place} {{ (.+?) }}", light) for place in range(lines_by_month.LOOKS)]
    assert len({look for (look,) in looks}) == lines_by_month.LOOKS
    for place in range(lines_by_month.LOOKS):
        assert f".dot-{place} {{" in light
        assert f".strand-{place} {{" in dark
        assert f".dot-{place} {{" in dark
