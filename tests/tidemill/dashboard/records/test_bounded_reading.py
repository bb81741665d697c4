import threading

import pytest

from tidemill.dashboard.records.bounded_reading import Readings
from tidemill.errors import DataError, NotAnswering


def test_what_takes_too_long_goes_on_and_is_there_the_next_time():
    readings, go, calls = Readings(), threading.Event(), []

    def work():
        calls.append(1)
        go.wait(10)
        return "found"

    with pytest.raises(NotAnswering, match="reading the diff takes longer"):
        readings.read("the diff", "key", work, seconds=0.01)
    go.set()
    assert readings.read("the diff", "key", work, seconds=10) == "found"
    assert len(calls) == 1


def test_an_error_reaches_who_waits_and_is_not_kept():
    readings, results = Readings(), iter([DataError("no file"), "found"])

    def work():
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    with pytest.raises(DataError, match="no file"):
        readings.read("it", "key", work, keep=True)
    assert readings.read("it", "key", work, keep=True) == "found"
    assert readings.read("it", "key", work, keep=True) == "found"  # a third call would raise StopIteration


def test_only_so_many_are_read_at_once():
    readings, go = Readings(), threading.Event()
    for number in range(8):
        with pytest.raises(NotAnswering, match="takes longer"):
            readings.read("it", number, lambda: go.wait(10), seconds=0.001)
    with pytest.raises(NotAnswering, match="8 slow readings"):
        readings.read("it", 9, lambda: 1)
    go.set()
    assert readings.read("it", 1, lambda: 0, seconds=10) is True
    assert readings.read("it", 9, lambda: 1, seconds=10) == 1
