"""Defines the features of a flight, once for both training and serving.

Sources are what the stage ``features`` writes; each row's ``event_timestamp`` is when it became known.
"""

from datetime import timedelta
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, UnixTimestamp
from feast.value_type import ValueType

origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING)
destination = Entity(name="destination", join_keys=["dest"], value_type=ValueType.STRING)
aircraft = Entity(
    name="aircraft",
    join_keys=["tailnum"],
    value_type=ValueType.STRING,
    tags={"personal": "true"},  # a private aircraft's registration names its owner
)

FAIR_WEATHER = {"precipitation": 0.0, "precipitation_6h": 0.0, "visibility": 10.0}
"""What is assumed, in training and in serving, where the last weather report is missing or older than six
hours: it is dry and clear, as it mostly is. All other features are left missing then."""


SHARED = {"cache_seconds": "10"}
"""Many flights share a carrier or an airport: a replica keeps what it read of those for ten seconds. Aircraft
hardly repeat in that time."""


def _view(
    name: str,
    entity: Entity,
    ttl: timedelta,
    features: tuple[str, ...],
    tags: dict[str, str] | None = None,
) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=ttl,
        schema=[_field(feature) for feature in features],
        source=FileSource(
            name=f"{name}_source",
            path=f"../data/features/{name}.parquet",
            timestamp_field="event_timestamp",
        ),
        tags=tags,
    )


def _field(name: str) -> Field:
    tags = {"default": str(FAIR_WEATHER[name])} if name in FAIR_WEATHER else {}
    return Field(name=name, dtype=Float64, tags=tags)


origin_weather = _view(
    "origin_weather",
    origin,
    timedelta(hours=6),
    (
        *("temperature", "humidity", "wind_speed", "wind_east", "wind_north", "precipitation"),
        *("precipitation_6h", "pressure", "pressure_change_3h", "visibility"),
    ),
    SHARED,
)
origin_departures = _view(
    "origin_departures",
    origin,
    timedelta(hours=3),
    ("departures_3h", "departures_late_share_3h", "departures_delay_3h"),
    SHARED,
)
carrier_lateness = _view(
    "carrier_lateness",
    carrier,
    timedelta(days=2),
    ("carrier_late_share_1d", "carrier_late_share_7d", "carrier_late_share_28d", "carrier_delay_1d"),
    SHARED,
)
destination_lateness = _view(
    "destination_lateness",
    destination,
    timedelta(days=2),
    (
        *("destination_late_share_1d", "destination_late_share_7d", "destination_late_share_28d"),
        *("destination_delay_1d", "destination_distance"),
    ),
    SHARED,
)
aircraft_lateness = _view(
    "aircraft_lateness",
    aircraft,
    timedelta(days=28),
    ("aircraft_late_share_30", "aircraft_delay_10", "aircraft_new_flights"),
)
aircraft_profile = _view("aircraft_profile", aircraft, timedelta(0), ("aircraft_seats", "aircraft_age"))

schedule_request = RequestSource(
    name="schedule_request", schema=[Field(name="scheduled_departure", dtype=UnixTimestamp)]
)


@on_demand_feature_view(
    sources=[schedule_request],
    schema=[Field(name="departure_minute", dtype=Float64), Field(name="departure_weekday", dtype=Float64)],
    mode="python",
)
def flight_schedule(inputs: dict[str, Any]) -> dict[str, Any]:
    """Minute of the day (0 to 1439) and day of the week (Monday is 1) of the departure, in New York."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("America/New_York")
    local = [None if moment is None else moment.astimezone(zone) for moment in inputs["scheduled_departure"]]
    return {
        "departure_minute": [None if at is None else float(at.hour * 60 + at.minute) for at in local],
        "departure_weekday": [None if at is None else float(at.isoweekday()) for at in local],
    }


flight_delay = FeatureService(
    name="flight_delay",
    features=[
        flight_schedule,
        origin_weather,
        origin_departures,
        carrier_lateness,
        destination_lateness,
        aircraft_lateness,
        aircraft_profile,
    ],
)
