"""Provides history for the demo: the requests and the new feature values of each hour of 2013."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.features import build_features
from pipelines.flights import KEYS, flights_to_predict
from pipelines.ingest import tables
from pipelines.source import read_aircraft, read_flights, read_weather, source_folder
from pipelines.span import NEW_YORK, YEAR, Span
from tidemill import load_expectations, raise_for_failures, utc, validate_frames

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FlightReplay", "replay"]

_EVERYTHING = Span(date(YEAR, 1, 1), date(YEAR + 1, 1, 1), datetime(YEAR + 1, 2, 1, tzinfo=UTC))


class FlightReplay:
    """The flights of 2013 as requests, and their circumstances as they became known.

    Made by the very functions that make training sets, over the whole year. Nothing is read before it is
    asked for.
    """

    def __init__(self, source: Path | None = None) -> None:
        """Take the CSV files from ``source``, or from the installed data set."""
        self._source = source

    def requests(self, start: datetime, end: datetime, per_day: int, seed: int) -> pl.DataFrame:
        """Return a sample of the flights that were to be predicted in ``[start, end)``, sorted by ``at``.

        A day's sample depends on the day and ``seed`` only, not on the span that is asked for.

        Args:
            start: aware.
            end: aware.
            per_day: flights drawn of each day in New York.
            seed: of the draw.

        Returns:
            ``carrier``, ``origin``, ``dest``, ``tailnum``, ``scheduled_departure``, ``at`` (moment of the
            prediction), ``label`` (1 late, 0 not, null cancelled or diverted) and ``label_at``.
        """
        asked = self._flights.filter(pl.col("at").is_between(utc(start), utc(end), closed="left"))
        chosen = [
            np.random.default_rng([seed, day.toordinal()]).permutation(first + np.arange(count))[:per_day]
            for day, first, count in self._days.filter(
                pl.col("day").is_between(start.astimezone(NEW_YORK).date(), end.astimezone(NEW_YORK).date())
            ).iter_rows()
        ]
        rows = np.concatenate(chosen) if chosen else np.empty(0, np.int64)
        return asked.filter(pl.col("row").is_in(rows)).drop("row")

    def updates(self, start: datetime, end: datetime) -> list[tuple[datetime, str, "pd.DataFrame"]]:
        """Return the rows that became known in ``[start, end)``, by moment: moment, feature view, rows.

        Weather and departures come every hour, lateness once a day.
        """
        found = []
        for view, table in self._features.items():
            known = table.filter(pl.col("event_timestamp").is_between(utc(start), utc(end), closed="left"))
            moments = known["event_timestamp"].rle().struct.unnest()
            rows, begin = known.to_pandas(), 0
            for count, moment in moments.iter_rows():
                found.append(
                    (moment.astimezone(UTC), view, rows.iloc[begin : begin + count].reset_index(drop=True))
                )
                begin += count
        return sorted(found, key=lambda update: update[:2])

    @cached_property
    def _tables(self) -> Mapping[str, pl.DataFrame]:
        folder = source_folder(None, Path()) if self._source is None else self._source
        raw = tables(_EVERYTHING, read_flights(folder), read_weather(folder), read_aircraft(folder))
        parted = validate_frames(raw, load_expectations(Path(__file__).parents[1]))
        raise_for_failures({name: table.report for name, table in parted.items()})
        return {name: table.accepted for name, table in parted.items()}

    @cached_property
    def _features(self) -> Mapping[str, pl.DataFrame]:
        return build_features(self._tables["flights"], self._tables["weather"], self._tables["aircraft"])

    @cached_property
    def _flights(self) -> pl.DataFrame:
        return flights_to_predict(self._tables["flights"]).select(
            *KEYS,
            "scheduled_departure",
            at="event_timestamp",
            label="late",
            label_at="label_known_at",
            row=pl.int_range(pl.len()),
        )

    @cached_property
    def _days(self) -> pl.DataFrame:
        """Each day in New York: its date, its first row, its number of rows."""
        day = pl.col("at").dt.convert_time_zone(NEW_YORK.key).dt.date().alias("day")
        return self._flights.group_by(day, maintain_order=True).agg(pl.col("row").first(), pl.len())


replay = FlightReplay()
