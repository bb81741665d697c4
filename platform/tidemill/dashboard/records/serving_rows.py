"""Reads the records of replicas and jobs that the pages of serving show."""

from datetime import datetime, timedelta

from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.state.record_reader import Records, Row

__all__ = ["ALIVE", "jobs", "replicas"]

ALIVE = timedelta(seconds=20)
"""A replica without a heartbeat for so long has ended."""
_SHOWN = timedelta(hours=1)
_MOST = 100


def replicas(records: Records, model: str, now: datetime) -> list[Row]:
    """Return the replicas with a heartbeat in the last hour, the latest first."""
    where = "model = ? AND seen_at > ?"
    return records.select("replicas", where, model, now - _SHOWN, order="seen_at DESC, id", limit=_MOST)


def jobs(records: Records, model: str, number: int) -> tuple[list[Row], Part]:
    """Return one page of the jobs of a model, the latest first."""
    return read_part(records, "jobs", "model = ?", model, order="requested_at DESC, id DESC", number=number)
