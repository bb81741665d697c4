from datetime import timedelta

import pytest

from tests.tidemill.prediction_log.log_records import NOON, record
from tidemill.errors import UsageError
from tidemill.prediction_log.prediction_log import PredictionLog
from tidemill.prediction_log.search import newest_first as module
from tidemill.prediction_log.search.newest_first import Wanted, newest_first
from tidemill.prediction_log.storage.log_parts import Sizes
from tidemill.prediction_log.storage.log_places import current_place
from tidemill.prediction_log.upkeep.compaction import compact


def write(root, first, last):
    """Write predictions, two an hour; each third is of version 4, each fifth has a flag."""
    log = PredictionLog(root, "m")
    for number in range(first, last):
        log.append(
            [
                record(
                    f"p{number:04d}",
                    NOON + timedelta(minutes=30 * number),
                    version="4" if number % 3 == 0 else "3",
                    flags=("late",) if number % 5 == 0 else (),
                    features={"wind": float(number), "note": "late"},
                )
            ]
        )
    log.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A log of four days, of which the first two are compacted."""
    made = tmp_path_factory.mktemp("log")
    write(made, 0, 100)
    compact(made, "m", current_place(made, None), Sizes().all_of_it())
    write(made, 100, 200)
    return made


def pages(root, wanted, **how):
    found, after = [], None
    while True:
        page = newest_first(root, "m", wanted, after, **how)
        found.append([one["prediction_id"] for one in page.records])
        after = page.following
        if after is None:
            return found


def expected(condition=lambda number: True):
    return sorted((f"p{number:04d}" for number in range(200) if condition(number)), reverse=True)


@pytest.mark.parametrize("most", [1, 7, 50, 500])
def test_pages_bring_each_prediction_once_the_latest_first(root, most):
    found = pages(root, Wanted(), most=most)
    assert [name for page in found for name in page] == expected()
    assert all(len(page) <= most for page in found)


def test_small_blocks_bring_the_same(root, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 700)  # about two lines
    assert [name for page in pages(root, Wanted(), most=9) for name in page] == expected()
    monkeypatch.setattr(module, "_BLOCK", 10)  # less than a line
    assert [name for page in pages(root, Wanted(flag="late"), most=3) for name in page] == expected(
        lambda number: number % 5 == 0
    )


def test_they_are_chosen_by_version_flag_and_time(root):
    of = lambda **wanted: [name for page in pages(root, Wanted(**wanted), most=8) for name in page]  # noqa: E731
    assert of(version="4") == expected(lambda number: number % 3 == 0)
    assert of(flag="late") == expected(lambda number: number % 5 == 0)  # a feature's text is no flag
    start, end = NOON + timedelta(hours=10), NOON + timedelta(hours=70)
    assert of(start=start, end=end, version="3") == expected(
        lambda number: 20 <= number < 140 and number % 3 != 0
    )
    assert of(version="5") == []


def test_a_search_without_time_says_where_it_goes_on(root):
    found = pages(root, Wanted(version="4"), seconds=0.0)
    assert [name for page in found for name in page] == expected(lambda number: number % 3 == 0)
    assert len(found) > 2


def test_a_place_that_no_search_gave_is_refused(root):
    for wrong in ("x", "2013-04-01/a@-1", "2013-13-01/a@1", "2013-04-01/../a@1"):
        with pytest.raises(UsageError, match="does not exist"):
            newest_first(root, "m", Wanted(), wrong)


def test_a_torn_line_is_left_out(tmp_path):
    write(tmp_path, 0, 3)
    [segment] = (tmp_path / "m").rglob("*.ndjson")
    segment.write_bytes(segment.read_bytes() + b'{"prediction_id":"p9')
    assert pages(tmp_path, Wanted()) == [["p0002", "p0001", "p0000"]]
    assert newest_first(tmp_path / "nothing", "m", Wanted()).records == []
