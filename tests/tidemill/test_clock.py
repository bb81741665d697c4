from datetime import UTC, datetime, timedelta

import pytest

from tidemill.clock import ReplayClock, SystemClock, utc


def test_a_replay_never_goes_back():
    clock = ReplayClock(datetime(2013, 4, 2, tzinfo=UTC))
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance_to(datetime(2013, 4, 1, tzinfo=UTC))
    assert clock.now() == datetime(2013, 4, 2, tzinfo=UTC)


def test_the_system_clock_is_aware():
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_utc_keeps_the_instant():
    from zoneinfo import ZoneInfo

    local = datetime(2013, 4, 1, 6, tzinfo=ZoneInfo("America/New_York"))
    assert utc(local) == local
    assert utc(local).hour == 10
