"""What replicas count of each version adds up over replicas and moments."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from tidemill.errors import StateError
from tidemill.serving.observability.version_counters import (
    Count,
    VersionCounters,
    as_baseline,
    quantile,
    read_counts,
    record_counts,
    since,
)
from tidemill.serving.routing.replicas import forget_replica, record_status
from tidemill.serving.routing.version_watcher import Status
from tidemill.state import open_state

NOW = datetime(2013, 4, 1, tzinfo=UTC)


def record(state, replica, counters):
    with counters.recording() as changed, state.transaction() as session:
        record_counts(session, "m", replica, changed, NOW)


def test_counts_of_replicas_add_up_and_a_baseline_is_taken_off(tmp_path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    one, two = VersionCounters(), VersionCounters()
    one.scored("canary", "2", rows=3, seconds=0.001)
    two.scored("canary", "2", rows=4, seconds=0.1)
    two.failed("canary", "2", rows=1, error=ValueError("no"))
    record(state, "r1", one)
    record(state, "r2", two)
    before = as_baseline(read_counts(state, "m"))
    one.scored("canary", "2", rows=5, seconds=0.002)
    one.dropped("shadow", "3", rows=7)
    record(state, "r1", one)
    counts = read_counts(state, "m")
    assert (counts["canary", "2"].answered, counts["canary", "2"].failed) == (12, 1)
    assert counts["canary", "2"].error == "ValueError: no"
    new = since(before, counts)
    assert (new["canary", "2"].answered, new["canary", "2"].failed) == (5, 0)
    assert sum(new["canary", "2"].seconds.values()) == 1
    assert new["shadow", "3"].dropped == 7
    assert read_counts(state, "other") == {}
    state.close()


def test_only_what_changed_is_written():
    counters = VersionCounters()
    counters.scored("champion", "1", 1, 0.001)
    with counters.recording() as changed:
        assert set(changed) == {("champion", "1")}
    with counters.recording() as changed:
        assert changed == {}
    counters.scored("champion", "1", 1, 0.001)
    with counters.recording() as changed:
        assert changed["champion", "1"].answered == 2


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_a_bucket_above_the_true_one(seconds, share):
    counters = VersionCounters()
    for one in seconds:
        counters.scored("champion", "1", 1, one)
    rank = max(-(-share * len(seconds) // 1), 1)
    true = sorted(seconds)[int(rank) - 1]
    found = quantile(counters.counts()["champion", "1"].seconds, share)
    assert true * 0.999 <= found <= true * 1.26


@pytest.mark.parametrize("write", [record_status, forget_replica])
def test_counts_of_a_heartbeat_that_could_not_be_written_are_written_by_the_next(tmp_path, write):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    status = () if write is forget_replica else (Status("1", "1"),)
    counters = VersionCounters()
    counters.scored("canary", "2", rows=3, seconds=0.001)
    counters.failed("canary", "2", rows=1, error=ValueError("no"))
    with state.transaction() as session:
        session.execute(text("ALTER TABLE replicas RENAME TO gone"))
    with pytest.raises(StateError):
        write(state, "m", "r1", *status, NOW, counters)
    assert read_counts(state, "m") == {}
    counters.scored("champion", "1", rows=2, seconds=0.001)
    with state.transaction() as session:
        session.execute(text("ALTER TABLE gone RENAME TO replicas"))
    write(state, "m", "r1", *status, NOW, counters)
    counts = read_counts(state, "m")
    assert (counts["canary", "2"].answered, counts["canary", "2"].failed) == (3, 1)
    assert counts["champion", "1"].answered == 2
    state.close()


def test_nothing_has_no_quantile():
    assert quantile(Count().seconds, 0.99) is None
