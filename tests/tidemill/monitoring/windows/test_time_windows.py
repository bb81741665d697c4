from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tidemill.monitoring.windows.time_windows import due_at, last_due_time, window_before

moments = st.timedeltas(timedelta(0), timedelta(days=70 * 365)).map(datetime(1990, 1, 1, tzinfo=UTC).__add__)
steps = st.timedeltas(timedelta(minutes=1), timedelta(days=60))


@given(moments, steps)
def test_a_window_never_reaches_past_now(now: datetime, length: timedelta):
    window = window_before(now, length)
    assert window.end == now
    assert now not in window
    assert now - timedelta(microseconds=1) in window
    assert window.end - window.start == length


@given(moments, steps, st.integers(2, 20))
def test_windows_of_a_schedule_tile_time(start: datetime, every: timedelta, runs: int):
    due = [last_due_time(every, start + step * every) for step in range(runs)]
    windows = [window_before(moment, every) for moment in due]
    assert all(before.end == after.start for before, after in pairwise(windows))


@given(moments, steps)
def test_the_last_due_time_is_the_latest_one_that_is_past(now: datetime, every: timedelta):
    due = last_due_time(every, now)
    assert due <= now < due + every
    assert last_due_time(every, due) == due
    assert last_due_time(every, due + every - timedelta(microseconds=1)) == due


@given(moments, steps, st.lists(st.timedeltas(timedelta(0), timedelta(days=90)), max_size=8))
def test_however_often_the_clock_is_looked_at_no_due_time_is_run_twice(
    now: datetime, every: timedelta, waits: list[timedelta]
):
    last, runs = None, []
    for wait in waits:
        now += wait
        due = due_at(every, last, now)
        if due is not None:
            assert due <= now
            runs.append(due)
            last = due
        assert due_at(every, last, now) is None
    assert runs == sorted(set(runs))


def test_a_weekly_monitor_runs_on_mondays_and_a_daily_one_at_midnight_utc():
    now = datetime(2013, 4, 17, 9, 30, tzinfo=UTC)
    assert last_due_time(timedelta(days=7), now) == datetime(2013, 4, 15, tzinfo=UTC)
    assert last_due_time(timedelta(days=1), now) == datetime(2013, 4, 17, tzinfo=UTC)


def test_a_clock_that_stands_before_the_last_run_has_nothing_due():
    last, now = datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)
    assert due_at(timedelta(days=1), last, now) is None
