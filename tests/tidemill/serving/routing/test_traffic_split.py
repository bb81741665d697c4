"""Who answers a key: sticky, monotone in the share, independent between lanes."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tidemill.features.request_features import RequestFeatures
from tidemill.project.feature_columns import FeatureColumn
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import DeployedVersion, ServingVersions, entity_key, router

NOW = datetime(2013, 4, 1, tzinfo=UTC)
ONE, TWO, THREE = (LoadedModel(version, None, None, NOW) for version in "123")
CANARY = DeployedVersion("canary", "canary", "2", 0.1, "salt of the canary")
TEST = DeployedVersion("ab", "fee", "3", 0.5, "salt of the experiment")
KEYS = [f"key {number}" for number in range(20_000)]


def roles(*lanes):
    serving = ServingVersions(ONE, tuple((lane, TWO if lane.version == "2" else THREE) for lane in lanes))
    return [serving.assign(key)[1] for key in KEYS]


def share(role, found):
    return found.count(role) / len(found)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_share_that_grows_only_moves_keys_towards_the_lane(key, one, other):
    small, large = (
        ServingVersions(ONE, ((replace(CANARY, share=share), TWO),)) for share in sorted((one, other))
    )
    assert small.assign(key) == small.assign(key)
    if small.assign(key)[1] == "canary":
        assert large.assign(key)[1] == "canary"


def test_shares_are_what_was_asked_for():
    found = roles(CANARY, TEST)
    assert abs(share("canary", found) - 0.1) < 0.01
    assert abs(share("ab:fee", found) - 0.45) < 0.015
    assert set(roles(replace(CANARY, share=1.0))) == {"canary"}
    assert set(roles(replace(CANARY, share=0.0))) == {"champion"}


def test_lanes_choose_independently():
    canary, test = roles(CANARY), roles(TEST)
    both = sum(a == "canary" and b == "ab:fee" for a, b in zip(canary, test, strict=True))
    assert abs(both / canary.count("canary") - 0.5) < 0.04


def test_a_key_that_comes_in_the_request_decides_alone():
    """Whatever else the request brings: a customer whose features change stays with one version."""
    columns = [FeatureColumn("wind", "number"), FeatureColumn("rain", "number")]
    keyed = RequestFeatures(columns, [FeatureColumn("customer", "integer")])
    route = router(None, keyed.keys)
    rows = [{"customer": 7, "wind": wind, "rain": 0.5} for wind in range(50)]
    assert {route(None, row) for row in rows} == {'{"customer":7}'}
    without = [{**row, "customer": None} for row in rows]
    assert len({route(None, row) for row in without}) == 50  # not all to one version
    assert len({router(None, RequestFeatures(columns).keys)(None, row) for row in rows}) == 50


def test_shadows_and_challengers_answer_nobody():
    shadow = DeployedVersion("shadow", "shadow", "2", 0.25, "s")
    serving = ServingVersions(ONE, ((shadow, TWO),))
    assert not serving.splits
    assert {serving.assign(key)[0].version for key in KEYS[:100]} == {"1"}
    copies = sum(serving.shadowed(key) == (TWO,) for key in KEYS)
    assert abs(copies / len(KEYS) - 0.25) < 0.015


def test_a_key_has_no_moment_in_it():
    row = {"carrier": "UA", "origin": "EWR", "at": NOW}
    assert entity_key(row) == entity_key({**row, "at": None} | {"at": NOW.replace(year=2014)})
    assert entity_key(row, ["origin", "at"]) == '{"origin":"EWR"}'
