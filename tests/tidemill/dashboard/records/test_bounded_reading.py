import threading
import time

import pytest

from tidemill.dashboard.records import bounded_reading
from tidemill.dashboard.records.bounded_reading import FOR_GOOD, Readings, patience
from tidemill.errors import BeingComputed, DataError, NotAnswering


def ended(readings, key):
    """Wait until the reading with a key has ended."""
    assert readings._known[key].done.wait(10)


def test_what_takes_too_long_goes_on_and_is_there_the_next_time():
    readings, go, calls = Readings(), threading.Event(), []

    def work():
        calls.append(1)
        go.wait(10)
        return "found"

    with patience(0.01):
        with pytest.raises(BeingComputed, match="the diff is being read") as first:
            readings.read("the diff", "key", work)
        with pytest.raises(BeingComputed) as second:
            readings.read("the diff", "key", work)
    assert first.value.ticket == second.value.ticket
    go.set()
    assert readings.read("the diff", "key", work) == "found"
    assert readings.read("the diff", "key", work) == "found", "it was promised to all who came"
    assert len(calls) == 1


def test_what_nobody_waits_for_is_read_anew(monkeypatch):
    readings, results = Readings(), iter(range(9))
    assert [readings.read("it", "key", lambda: next(results)) for _ in range(3)] == [0, 1, 2]
    with patience(0.0), pytest.raises(BeingComputed):
        readings.read("it", "key", lambda: (time.sleep(0.1), next(results))[1])
    ended(readings, "key")
    assert readings.read("it", "key", lambda: next(results)) == 3
    monkeypatch.setattr(bounded_reading, "_TOLD_SECONDS", 0.0)
    assert readings.read("it", "key", lambda: next(results)) == 4


def test_an_error_reaches_who_waits_and_is_kept_only_for_who_was_told_to_come_back():
    readings, results = Readings(), iter([DataError("no file"), "found"])

    def work():
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    with pytest.raises(DataError, match="no file"):
        readings.read("it", "key", work, keep=FOR_GOOD)
    assert readings.read("it", "key", work, keep=FOR_GOOD) == "found"
    assert readings.read("it", "key", work, keep=FOR_GOOD) == "found"  # a third call: StopIteration

    def fail():
        time.sleep(0.1)
        raise DataError("gone")

    with patience(0.0), pytest.raises(BeingComputed):
        readings.read("it", "other", fail)
    ended(readings, "other")
    for _ in range(2):
        with pytest.raises(DataError, match="gone"):
            readings.read("it", "other", lambda: "not read")


def test_the_others_wait_for_a_place_and_who_waits_too_long_is_told(monkeypatch):
    readings, go = Readings(), threading.Event()
    with patience(0.0):
        for number in range(9):
            with pytest.raises(BeingComputed):
                readings.read("it", number, lambda: go.wait(10))
        monkeypatch.setattr(bounded_reading, "_WAITING_SECONDS", 0.0)
        with pytest.raises(NotAnswering, match="8 slow readings are under way, among them it"):
            readings.read("it", 8, lambda: 0)
    go.set()
    assert readings.read("it", 8, lambda: 0) is True
    assert readings.read("it", 9, lambda: 1) == 1


def test_one_page_waits_once_for_all_of_its_readings():
    readings, go = Readings(), threading.Event()
    with patience(0.2):
        for number in range(5):
            with pytest.raises(BeingComputed):
                readings.read("it", number, lambda: go.wait(60))
            assert bounded_reading._left() == bounded_reading._LEAST, "nothing is left for the others"
    go.set()


def test_who_listens_hears_when_a_reading_has_ended_that_was_promised():
    readings, go, heard = Readings(), threading.Event(), []
    with readings.heard(heard.append) as before:
        assert before == []
        assert readings.read("it", "quick", lambda: 1) == 1
        with patience(0.0), pytest.raises(BeingComputed) as told:
            readings.read("it", "slow", lambda: go.wait(10))
        go.set()
        ended(readings, "slow")
        until = time.monotonic() + 5
        while not heard and time.monotonic() < until:
            time.sleep(0.01)
        assert heard == [told.value.ticket]
    with readings.heard(heard.append) as before:  # it ended before the page listened
        assert before == heard


def test_one_that_ends_at_once_is_not_forgotten_before_it_is_given():
    readings, go = Readings(kept=1), threading.Event()
    with patience(0.0):
        for key in "ab":
            with pytest.raises(BeingComputed):
                readings.read("it", key, lambda: go.wait(60))
    go.set()
    for key in "ab":
        ended(readings, key)
        readings._known[key].told = False
    readings._begin = lambda reading: reading.run()
    assert readings.read("it", "a", lambda: "anew") == "anew"
