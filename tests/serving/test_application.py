"""The flights project's application: what a request may be, and what an answer advises."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.application import HIGH_RISK, MEDIUM_RISK, Flight, decide, feature_row

FLIGHT = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "tailnum": "N14228",
    "scheduled_departure": "2013-04-01T10:15:00-04:00",
}
REPO = Path(__file__).parents[2] / "feature_repo"
BANDS = ["low", "medium", "high"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("carrier", "united"),
        ("carrier", None),
        ("origin", "Newark"),
        ("dest", ""),
        ("tailnum", "N 14228"),
        ("scheduled_departure", "2013-04-01T10:15:00"),
        ("scheduled_departure", "soon"),
        ("scheduled_departure", "0001-01-01T00:00:00+12:00"),
        ("scheduled_departure", "9999-12-31T23:59:59-12:00"),
        ("dep_delay", 12),
    ],
)
def test_what_is_wrong_is_named(field, value):
    with pytest.raises(ValidationError) as refused:
        Flight.model_validate(FLIGHT | {field: value})
    assert refused.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize("change", [{"tailnum": None}, {"carrier": "ZZ", "dest": "XXX"}])
def test_what_is_unknown_is_still_a_flight(change):
    flight = Flight.model_validate(FLIGHT | change)
    assert {name: getattr(flight, name) for name in change} == change


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_probability_is_never_a_lower_risk(one, other):
    flight = Flight.model_validate(FLIGHT)
    low, high = sorted((one, other))
    assert BANDS.index(decide(flight, low)["risk"]) <= BANDS.index(decide(flight, high)["risk"])


@pytest.mark.parametrize(
    ("probability", "risk"), [(0, "low"), (MEDIUM_RISK, "medium"), (HIGH_RISK, "high"), (1, "high")]
)
def test_the_bands_begin_at_their_thresholds(probability, risk):
    assert decide(Flight.model_validate(FLIGHT), probability)["risk"] == risk


@pytest.mark.engine
def test_the_features_are_looked_up_by_what_the_views_need():
    from feast import Entity, RequestSource

    from tidemill.features.feature_definitions import load_definitions

    found = load_definitions(REPO)
    keys = {item.join_key for item in found if isinstance(item, Entity)}
    asked = {
        field.name
        for item in found
        for source in getattr(item, "source_request_sources", {}).values()
        if isinstance(source, RequestSource)
        for field in source.schema
    }
    assert keys
    assert keys | asked <= set(feature_row(Flight.model_validate(FLIGHT)))


def readme_prediction():
    """Return what the README asks of the demo's stack, for when, and the end of what the demo knows."""
    root = REPO.parent
    asked = re.search(r"tidemill predict '(\{.*?\})' --at (\S+)", (root / "README.md").read_text(), re.DOTALL)
    later = yaml.safe_load((root / "params.yaml").read_text())["demo"]["later"]
    at = datetime.fromisoformat(asked[2]).replace(tzinfo=UTC)
    return Flight.model_validate_json(asked[1]), at, datetime.fromisoformat(later["end"])


def test_the_readmes_prediction_is_asked_while_what_the_demo_leaves_online_is_fresh():
    flight, at, end = readme_prediction()
    assert end <= at < end + timedelta(hours=3), "the departures of an airport expire three hours later"
    assert at < flight.scheduled_departure < at + timedelta(days=1)


@pytest.mark.engine
def test_the_readmes_prediction_needs_nothing_that_has_expired_or_was_never_known():
    """Its answer then has no flag of either kind, in any of the views."""
    from feast import Entity, FeatureView

    from pipelines.source import read_flights, source_folder
    from tidemill.features.feature_definitions import load_definitions

    flight, at, end = readme_prediction()
    flown = read_flights(source_folder(None, REPO.parent)).with_columns(
        pl.col("time_hour").str.to_datetime(time_zone="UTC")
    )
    found = load_definitions(REPO)
    keys = {item.name: item.join_key for item in found if isinstance(item, Entity)}
    views = [item for item in found if type(item) is FeatureView]
    assert len(views) == 6
    for view in views:
        (key,) = (keys[name] for name in view.entities)
        events = flown.filter(pl.col(key) == getattr(flight, key), pl.col("time_hour") < end)["time_hour"]
        assert not events.is_empty(), (view.name, key)
        assert not view.ttl or at - events.max() < view.ttl, view.name
