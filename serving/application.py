"""Defines the flights project's prediction API: the request, its feature keys, and the advice of an answer.

The model says how likely a flight is to arrive more than 15 minutes late; an airline's desk needs to know
what to do about it. That rule is business logic: it stands here, beside the model, and changes without
training.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from tidemill import Application, Moment

__all__ = ["Flight", "application", "decide", "feature_row"]

MEDIUM_RISK = 0.20
"""About one flight in four is late: below this a flight is better than most."""
HIGH_RISK = 0.40
"""From here on, holding a connection or calling passengers costs less than not doing it."""

Airport = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Carrier = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2}$")]
Tail = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{2,8}$")]


class Flight(BaseModel):
    """One flight, named by its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    carrier: Carrier
    """Two-letter code of the airline, such as ``UA``."""
    origin: Airport
    """Three-letter code of the airport of departure, such as ``EWR``."""
    dest: Airport
    """Three-letter code of the airport of arrival."""
    tailnum: Tail | None = None
    """The aircraft, if it is known already."""
    scheduled_departure: Moment
    """With its offset from UTC, such as ``2013-04-01T10:15:00-04:00``."""


def feature_row(flight: Flight) -> dict[str, object]:
    """Return what the features of a flight are looked up by.

    >>> departure = "2013-04-01T10:15:00-04:00"
    >>> flight = Flight(carrier="UA", origin="EWR", dest="IAH", scheduled_departure=departure)
    >>> feature_row(flight)["tailnum"] is None
    True
    """
    return {
        "carrier": flight.carrier,
        "origin": flight.origin,
        "dest": flight.dest,
        "tailnum": flight.tailnum,
        "scheduled_departure": flight.scheduled_departure,
    }


def decide(flight: Flight, probability: float) -> dict[str, Any]:
    """Return the risk band of a flight and what to do about it.

    >>> departure = "2013-04-01T10:15:00-04:00"
    >>> flight = Flight(carrier="UA", origin="EWR", dest="IAH", scheduled_departure=departure)
    >>> decide(flight, 0.55)
    {'risk': 'high', 'advice': 'rebook tight connections and assign a standby crew'}
    >>> decide(flight, 0.1)["risk"]
    'low'
    """
    if probability >= HIGH_RISK:
        return {"risk": "high", "advice": "rebook tight connections and assign a standby crew"}
    if probability >= MEDIUM_RISK:
        return {"risk": "medium", "advice": "watch the inbound aircraft and warn tight connections"}
    return {"risk": "low", "advice": "none needed"}


application = Application(request=Flight, feature_row=feature_row, decide=decide)
