"""Gathers what happened to a model in a range of time: promotions, data versions, alerts."""

from collections.abc import Iterator
from datetime import datetime

from tidemill.actor_words import told
from tidemill.dashboard.charts.time_series import Happened
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records import watch_records
from tidemill.state.record_reader import Records

__all__ = ["happenings"]


def happenings(records: Records, model: str, start: datetime, end: datetime) -> list[Happened]:
    """Return what happened, the latest first."""
    found = [
        *_moves(records, model, start, end),
        *_data(records, model, start, end),
        *_alerts(records, model, start, end),
    ]
    return sorted(found, key=lambda one: (one.at, one.kind), reverse=True)


def _moves(records: Records, model: str, start: datetime, end: datetime) -> Iterator[Happened]:
    decisions = address_of("models", model, "decisions")
    for one in watch_records.moves_between(records, model, start, end):
        said = f"{one.kind} of version {one.to_version} by {told(one.actor, one.reason)}"
        yield Happened(one.at, "promotion", said, decisions)


def _data(records: Records, model: str, start: datetime, end: datetime) -> Iterator[Happened]:
    before = None
    for one in watch_records.turns_between(records, model, start, end):
        if one.data_revision != before:
            said = f"data version {one.data_revision[:12]}, for version {one.version or 'none'}"
            yield Happened(one.as_of, "data", said, address_of("models", model, "data"))
        before = one.data_revision


def _alerts(records: Records, model: str, start: datetime, end: datetime) -> Iterator[Happened]:
    for one in watch_records.alerts_between(records, model, start, end):
        said = f"{one.severity}, {one.kind.replace('_', ' ')}: {one.message}"
        yield Happened(one.raised_at, "alert", said, address_of("models", model, "alerts", one.id))
