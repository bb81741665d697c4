"""The watcher swaps what answers, keeps what answers when anything fails, and says so."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.tidemill.serving.small_project import add_version, crown
from tidemill.clock import ReplayClock, SystemClock
from tidemill.errors import RegistryError
from tidemill.registry.versions.model_versions import champion_version
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.replicas import record_status
from tidemill.serving.routing.traffic_split import DeployedVersion, DesiredState
from tidemill.serving.routing.version_watcher import DeployedStatus, Status, Watcher
from tidemill.serving.runtime.replica.version_loading import load_model
from tidemill.state import open_state
from tidemill.state.tables import ReplicaState

START = datetime(2013, 4, 1, tzinfo=UTC)


@dataclass
class Registry:
    """Written by hand: an alias, versions that fail to load, and what was reported."""

    alias: str | None = None
    broken: set[str] = field(default_factory=set)
    down: bool = False
    loads: list[str] = field(default_factory=list)
    reports: list[Status] = field(default_factory=list)
    clock: ReplayClock = field(default_factory=lambda: ReplayClock(START))

    lanes: tuple[DeployedVersion, ...] = ()

    def read(self) -> DesiredState:
        if self.down:
            raise RegistryError("no answer")
        return DesiredState(self.alias, self.lanes)

    def load(self, version: str) -> LoadedModel:
        self.loads.append(version)
        if version in self.broken:
            raise ValueError("cannot be loaded")
        return LoadedModel(version, None, None, self.clock.now())

    def watcher(self, report: Callable[[Status], None] | None = None) -> Watcher:
        return Watcher(self.read, self.load, report or self.reports.append, self.clock, poll_seconds=0.01)


def answering(watcher: Watcher) -> str | None:
    current = watcher.current()
    return current.champion.version if current else None


def test_it_follows_the_alias():
    registry = Registry()
    watcher = registry.watcher()
    watcher.refresh()
    assert answering(watcher) is None
    for version in ("1", "2", "1"):
        registry.alias = version
        watcher.refresh()
        watcher.refresh()
        assert answering(watcher) == version
        assert watcher.status == Status(version, version, None, START)
    assert registry.loads == ["1", "2", "1"]


def test_a_version_that_fails_keeps_the_old_one_and_is_on_record():
    registry = Registry(alias="1", broken={"2"})
    watcher = registry.watcher()
    watcher.refresh()
    registry.alias = "2"
    watcher.refresh()
    assert answering(watcher) == "1"
    assert watcher.status == Status("1", "2", "ValueError: cannot be loaded", START)
    assert registry.reports[-1] == watcher.status
    registry.broken.clear()
    for _ in range(4):
        watcher.refresh()
    assert watcher.status == Status("2", "2", None, START)


def test_a_version_that_fails_is_tried_ever_more_rarely_and_a_new_one_at_once():
    registry = Registry(alias="1", broken={"1"})
    watcher = registry.watcher()
    for _ in range(200):
        watcher.refresh()
    assert 5 <= len(registry.loads) <= 9
    registry.alias = "2"
    watcher.refresh()
    assert answering(watcher) == "2"


def test_going_back_from_a_version_that_fails_clears_the_error():
    registry = Registry(alias="1", broken={"2"})
    watcher = registry.watcher()
    for alias in ("1", "2", "1"):
        registry.alias = alias
        watcher.refresh()
    assert watcher.status == Status("1", "1", None, START)


def test_without_registry_serving_goes_on_and_recovers():
    registry = Registry(alias="1")
    watcher = registry.watcher()
    watcher.refresh()
    registry.down = True
    watcher.refresh()
    assert answering(watcher) == "1"
    assert "cannot be asked: no answer" in watcher.status.error
    registry.down, registry.alias = False, "2"
    watcher.refresh()
    assert watcher.status == Status("2", "2", None, START)


def test_an_alias_that_is_gone_takes_no_model_away():
    registry = Registry(alias="1")
    watcher = registry.watcher()
    watcher.refresh()
    registry.alias = None
    watcher.refresh()
    assert answering(watcher) == "1"
    assert watcher.status.wanted is None


def test_lanes_come_and_go_beside_the_champion():
    registry = Registry(alias="1", lanes=(DeployedVersion("canary", "canary", "2", 1.0, "s"),))
    watcher = registry.watcher()
    watcher.refresh()
    assert [(model.version, role) for model, role in [watcher.current().assign("k")]] == [("2", "canary")]
    assert watcher.status.lanes == (DeployedStatus("canary", "2", 1.0, True),)
    registry.lanes = (
        DeployedVersion("canary", "canary", "2", 0.0, "s"),
        DeployedVersion("shadow", "shadow", "3", 1.0, "t"),
    )
    watcher.refresh()
    assert watcher.current().assign("k")[1] == "champion"
    assert [model.version for model in watcher.current().shadows] == ["3"]
    registry.alias, registry.lanes = "2", ()
    watcher.refresh()
    assert registry.loads == ["1", "2", "3"]  # the canary that was promoted is not loaded again
    assert (answering(watcher), watcher.current().lanes, watcher.status.lanes) == ("2", (), ())


def test_a_lane_that_fails_to_load_takes_nothing_away_and_says_why():
    registry = Registry(alias="1", broken={"2"}, lanes=(DeployedVersion("ab", "x", "2", 1.0, "s"),))
    watcher = registry.watcher()
    watcher.refresh()
    assert not watcher.current().splits
    assert watcher.status.error is None
    assert watcher.status.lanes == (DeployedStatus("ab:x", "2", 1.0, False, "ValueError: cannot be loaded"),)
    registry.broken.clear()
    for _ in range(4):
        watcher.refresh()
    assert watcher.current().assign("k")[1] == "ab:x"


def test_what_ends_does_not_wait_for_what_is_loaded():
    canary = DeployedVersion("canary", "canary", "2", 1.0, "s")
    registry = Registry(alias="1", lanes=(canary,))
    seen = []
    watcher = registry.watcher()
    watcher.refresh()
    load, registry.lanes = registry.load, (DeployedVersion("canary", "canary", "3", 1.0, "s"),)
    watcher._load = lambda version: seen.append(watcher.current().splits) or load(version)
    watcher.refresh()
    assert seen == [False]


def test_records_that_cannot_be_written_stop_nothing():
    def fail(status):
        raise OSError("disk full")

    registry = Registry(alias="1")
    watcher = registry.watcher(fail)
    watcher.refresh()
    assert answering(watcher) == "1"


def test_it_gives_a_sign_of_life_every_few_seconds_only():
    registry = Registry(alias="1")
    watcher = registry.watcher()
    for _ in range(100):  # ten seconds
        watcher.refresh()
        registry.clock.advance_to(registry.clock.now() + timedelta(seconds=0.1))
    unchanged = [status for status in registry.reports if status == watcher.status]
    assert 2 <= len(unchanged) <= 3


def test_the_thread_ends_and_leaves_whatever_ails_the_records():
    registry, left, before = Registry(alias="1"), [], set(threading.enumerate())

    def leave():
        left.append(set(threading.enumerate()) - before)
        raise OSError("disk full")

    watcher = Watcher(
        registry.read, registry.load, registry.reports.append, registry.clock, 0.01, leave=leave
    )
    watcher.start()
    assert set(threading.enumerate()) - before
    watcher.stop()
    watcher.stop()
    assert left == [set(), set()]


@pytest.mark.engine
def test_with_the_real_registry_and_records(served_parcels):
    application = served_parcels.load(served_parcels.config.project.application)
    state = open_state(served_parcels.state_url)
    clock = SystemClock()
    watcher = Watcher(
        lambda: DesiredState(champion_version(served_parcels)),
        lambda version: load_model(served_parcels, application, version, clock.now()),
        lambda status: record_status(state, "parcel-delay", "r1", status, clock.now()),
        clock,
        poll_seconds=0.1,
    )
    watcher.refresh()
    crown(served_parcels, add_version(served_parcels, 0.5, features=("wind", "snow")))
    watcher.refresh()

    assert answering(watcher) == "1"
    with state.transaction() as session:
        replica = session.get(ReplicaState, "r1")
        assert (replica.version, replica.wanted) == ("1", "3")
        assert "needs features that are missing: snow" in replica.error
    crown(served_parcels, "2")
    watcher.refresh()
    with state.transaction() as session:
        replica = session.get(ReplicaState, "r1")
        assert (replica.version, replica.wanted, replica.error) == ("2", "2", None)
    state.close()
