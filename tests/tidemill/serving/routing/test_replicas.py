from datetime import UTC, datetime, timedelta

import pytest

from tidemill.serving.observability.version_counters import VersionCounters, read_counts
from tidemill.serving.routing.replicas import forget_replica, live_replicas, record_status
from tidemill.serving.routing.version_watcher import Status
from tidemill.state import open_state
from tidemill.state.tables import ReplicaState

START = datetime(2013, 4, 1, 12, tzinfo=UTC)


@pytest.fixture
def state(tmp_path):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()


def seen(state, name, seconds, model="m", counters=None):
    record_status(state, model, name, Status("1", "1"), START + timedelta(seconds=seconds), counters)


def names(state, seconds):
    with state.transaction() as session:
        return [one.id for one in live_replicas(session, "m", START + timedelta(seconds=seconds))]


def test_replicas_that_fell_silent_are_forgotten(state):
    seen(state, "dead", 0)
    seen(state, "r9", 0, model="other model")
    seen(state, "r1", 30)
    seen(state, "r2", 80)
    with state.transaction() as session:
        assert {one.id for one in session.query(ReplicaState)} == {"r1", "r2", "r9"}


def test_a_killed_replica_does_not_count_long_before_it_is_forgotten(state):
    seen(state, "killed", 0)
    seen(state, "r9", 25, model="other model")
    seen(state, "r1", 15)
    assert names(state, 16) == ["killed", "r1"]
    assert names(state, 25) == ["r1"]


def test_one_that_ends_is_gone_at_once_and_what_it_counted_stays(state):
    counters = VersionCounters()
    seen(state, "r1", 0)
    seen(state, "r2", 0, counters=counters)
    counters.scored("champion", "1", 7, 0.01)
    forget_replica(state, "m", "r2", START + timedelta(seconds=1), counters)
    assert names(state, 1) == ["r1"]
    assert read_counts(state, "m")["champion", "1"].answered == 7
