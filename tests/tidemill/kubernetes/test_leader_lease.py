"""Who leads, and when, whatever clocks, hands and the API do. Time is a number here."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.tidemill.kubernetes.api_server import ApiServer, away, later
from tidemill.kubernetes.cluster_api import LEASES, ClusterApi, Resource
from tidemill.kubernetes.leader_lease import LeaderLease


class Time:
    """Seconds that pass for everybody; each has a clock of its own that is wrong."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def lease(
        self, api: ClusterApi, name: str, identity: str, wrong: timedelta = timedelta(0)
    ) -> LeaderLease:
        return LeaderLease(
            api, name, identity, monotonic=lambda: self.seconds,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds) + wrong,
        )  # fmt: skip

    def pass_by(self, *seconds: float, steps: Sequence[LeaderLease]) -> None:
        """Let seconds pass several times, after each of which these make a step."""
        for more in seconds:
            self.seconds += more
            for lease in steps:
                lease.step()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("_", "-")


@pytest.fixture
def first(time: Time, api: ClusterApi, name: str) -> LeaderLease:
    """One that leads."""
    lease = time.lease(api, name, "first")
    lease.step()
    time.pass_by(15, 15, 1, steps=[lease])
    assert lease.may_work
    return lease


def test_the_other_one_waits_until_it_saw_no_renewal_whatever_the_clocks_say(
    time: Time, api: ClusterApi, name: str, first: LeaderLease, server: ApiServer
):
    for hours in (-5, 5):
        other = time.lease(api, name, f"other{hours}", timedelta(hours=hours))
        time.pass_by(15, 15, 15, steps=[first, other])
        assert (first.may_work, other.may_work) == (True, False)
    time.pass_by(14, 15, steps=[other])
    assert not other.may_work
    assert first.stop_by < time.seconds, "whose work has ended by then"
    time.pass_by(2, steps=[other])
    assert other.may_work
    assert server.spec(LEASES, name)["leaseTransitions"] == 1
    time.pass_by(1, steps=[first, other])
    assert (first.may_work, other.may_work) == (False, True)


def test_a_stolen_lease_stops_its_holder_before_anybody_else_begins(
    time: Time, api: ClusterApi, name: str, first: LeaderLease, server: ApiServer
):
    other = time.lease(api, name, "other")
    other.step()
    spec = server.spec(LEASES, name)
    server.put(LEASES, name, spec={**spec, "holderIdentity": "other"})
    for lease in (other, first):
        lease.step()
    assert not other.may_work, "its name was written by somebody else, while the first one worked"
    assert not first.may_work
    assert first.stop_by < time.seconds
    time.pass_by(15, 16, steps=[first, other])
    assert [first.may_work, other.may_work].count(True) == 1


def test_an_emptied_lease_is_no_released_one(
    time: Time, api: ClusterApi, name: str, first: LeaderLease, server: ApiServer
):
    server.put(LEASES, name, spec={**server.spec(LEASES, name), "holderIdentity": ""})
    other = time.lease(api, name, "other")
    other.step()
    assert not other.may_work


def test_a_released_lease_is_taken_at_once(time: Time, api: ClusterApi, name: str, first: LeaderLease):
    other = time.lease(api, name, "other")
    other.step()
    first.release()
    assert not first.may_work
    other.step()
    assert other.may_work
    first.release()  # what is not held stays the other's
    time.pass_by(1, steps=[other])
    assert other.may_work


def test_whoever_makes_a_deleted_lease_waits_for_a_holder_that_nobody_knows(
    time: Time, api: ClusterApi, name: str, first: LeaderLease
):
    api.delete(LEASES, name)
    other = time.lease(api, name, "other")
    other.step()
    assert first.may_work, "it has not seen it yet"
    time.pass_by(1, steps=[other, first])
    assert not first.may_work
    time.pass_by(14, 14, steps=[other])
    assert not other.may_work
    time.pass_by(1, steps=[other])
    assert other.may_work


def test_a_holder_that_cannot_renew_stops_in_time_and_goes_on_if_nobody_took_it(
    time: Time, api: ClusterApi, name: str, first: LeaderLease, server: ApiServer, caplog
):
    term = first.term
    server.refusals += [away] * 4
    time.pass_by(5, 5, 5, 4, steps=[first])
    assert first.may_work
    server.refusals.append(later(30))
    time.pass_by(1, steps=[first])
    assert not first.may_work
    assert first.stop_by == time.seconds + 5
    assert caplog.text.count("etcd has no leader") == 1, "said once, not at each step"
    first.step()
    assert (first.may_work, first.term) == (True, term)


def test_a_version_that_somebody_else_wrote_meanwhile_is_read_again(
    time: Time, server: ApiServer, name: str, first: LeaderLease, monkeypatch: pytest.MonkeyPatch
):
    """Between reading and writing the Lease gets a label, which is no theft; the next step renews it."""
    read = ClusterApi.get

    def read_and_write(self: ClusterApi, resource: Resource, name: str, **more: Any) -> Any:
        found = read(self, resource, name, **more)
        server.put(resource, name)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(ClusterApi, "get", read_and_write)
        time.pass_by(10, 9, steps=[first])
    assert first.may_work
    assert first.stop_by == time.seconds + 6, "no renewal in those seconds"
    time.pass_by(2, steps=[first])
    assert first.may_work
