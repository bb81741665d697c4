import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.features import build_features
from pipelines.flights import flights_to_predict
from pipelines.ingest import tables
from pipelines.source import read_aircraft, read_flights, read_weather, source_folder
from pipelines.span import read_span
from tidemill.features.feature_definitions import load_definitions
from tidemill.features.feature_store import apply, materialise, open_store, service_features, training_frame
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.project import load_project

ROOT = Path(__file__).parents[2]
NOON = datetime(2013, 1, 22, 17, tzinfo=UTC)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project, its features as known at noon, applied and materialised."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copytree(
        ROOT / "feature_repo", root / "feature_repo", ignore=shutil.ignore_patterns("online_store")
    )
    (root / "data" / "features").mkdir(parents=True)
    for name, table in build_features(**_known_at(NOON)).items():
        known = table.filter(pl.col("event_timestamp") <= NOON)
        known.write_parquet(root / "data" / "features" / f"{name}.parquet")
    project = load_project(root)
    apply(project)
    materialise(project, NOON)
    return project


def _known_at(moment):
    folder = source_folder(None, ROOT)
    span = read_span({"data": {"first_month": "2013-01", "last_month": "2013-01", "as_of": moment}})
    return tables(span, read_flights(folder), read_weather(folder), read_aircraft(folder))


@pytest.fixture(scope="module")
def flights():
    """Flights that are predicted in the hour after noon, when no view has news."""
    later = _known_at(NOON + timedelta(hours=6))["flights"]
    rows = flights_to_predict(later).filter(
        pl.col("event_timestamp").is_between(NOON, NOON + timedelta(hours=1), closed="left")
    )
    assert rows.height > 30
    return rows


def test_serving_reads_what_training_sees(project, flights):
    joined = training_frame(project, flights).select(service_features(project))
    online = OnlineFeatures(open_store(project), project.feature_service)
    served = online.read(flights.to_dicts(), flights["event_timestamp"].to_list())
    assert [row.values for row in served] == joined.to_dicts()
    assert {flag for row in served for flag in row.flags} <= {
        "missing:aircraft_profile",
        "missing:aircraft_lateness",
    }
    assert joined.drop("aircraft_seats", "aircraft_age").null_count().sum_horizontal().item() < 40


def test_what_is_unknown_or_too_old_is_null_and_flagged(project, flights):
    online = OnlineFeatures(open_store(project), project.feature_service)
    flight = flights.row(0, named=True)
    stranger = flight | {"carrier": "ZZ", "tailnum": None}
    [row] = online.read([stranger], [flight["event_timestamp"]])
    assert set(row.flags) == {
        *("missing:carrier_lateness", "missing:aircraft_lateness", "missing:aircraft_profile")
    }
    assert row.values["carrier_late_share_7d"] is None
    assert row.values["destination_late_share_7d"] is not None
    [row] = online.read([flight], [NOON + timedelta(days=1)])
    assert set(row.flags) == {
        *("expired:origin_weather", "expired:origin_departures"),
        *("default:precipitation", "default:precipitation_6h", "default:visibility"),
    }
    assert row.values["temperature"] is None
    assert (row.values["precipitation"], row.values["visibility"]) == (0.0, 10.0)


@pytest.mark.parametrize(
    ("departure", "minute", "weekday"),
    [
        (datetime(2013, 1, 1, 10, 15, tzinfo=UTC), 315.0, 2.0),
        (datetime(2013, 7, 1, 3, 59, tzinfo=UTC), 1439.0, 7.0),
        (datetime(2013, 7, 1, 4, 0, tzinfo=UTC), 0.0, 1.0),
        (datetime(2013, 11, 3, 5, 30, tzinfo=UTC), 90.0, 7.0),  # summer time
        (datetime(2013, 11, 3, 6, 30, tzinfo=UTC), 90.0, 7.0),  # the same clock, an hour later
    ],
)
def test_the_schedule_is_in_the_time_of_new_york(departure, minute, weekday):
    [view] = [thing for thing in load_definitions(ROOT / "feature_repo") if thing.name == "flight_schedule"]
    one = view.transform_dict({"scheduled_departure": [departure]})
    both = view.transform_dict({"scheduled_departure": [None, departure]})
    assert (one["departure_minute"], one["departure_weekday"]) == ([minute], [weekday])
    assert (both["departure_minute"], both["departure_weekday"]) == ([None, minute], [None, weekday])


def test_names_are_unique_and_enough(project):
    names = service_features(project)
    assert len(names) == len(set(names)) == 29
