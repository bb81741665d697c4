"""Selects the flights to predict: keys, moment of prediction, label, and when the label is known."""

from datetime import timedelta

import polars as pl

from pipelines.lateness import LATE

__all__ = ["KEYS", "LABEL_DELAY", "LEAD", "flights_to_predict"]

KEYS = ("carrier", "origin", "dest", "tailnum")
"""What the feature views are joined on."""
LEAD = timedelta(hours=2)
"""How long before its scheduled departure a flight is predicted."""
LABEL_DELAY = timedelta(days=2)
"""How long after its scheduled departure the label of a flight is taken to be known."""


def flights_to_predict(flights: pl.DataFrame) -> pl.DataFrame:
    """Return every flight, in the order of the moments of prediction.

    Args:
        flights: the validated table.

    Returns:
        The keys, ``scheduled_departure``, ``event_timestamp`` (the moment of prediction), ``late`` (0 or 1;
        null for a flight that was cancelled or diverted) and ``label_known_at``.
    """
    departure = pl.col("scheduled_departure")
    return flights.select(
        *KEYS,
        "scheduled_departure",
        (departure - LEAD).alias("event_timestamp"),
        (pl.col("arr_delay") > LATE).cast(pl.Int8).alias("late"),
        (departure + LABEL_DELAY).alias("label_known_at"),
    ).sort("event_timestamp", maintain_order=True)
