"""Queries of the pages that watch: windows of a range of time, and what happened meanwhile."""

from datetime import datetime

from tidemill.dashboard.records.list_part import require_page
from tidemill.errors import WindowNotFound
from tidemill.state.record_reader import Records, Row

__all__ = [
    "alerts_between",
    "alerts_of_run",
    "champion_move",
    "monitor_names",
    "moves_between",
    "neighbours",
    "severities",
    "turns_between",
    "window",
    "windows",
]

_MANY = 300
"""Records of one kind that are looked at for marks on an axis."""
_OPEN = "status IN ('pending', 'firing', 'acknowledged')"
_LATEST = "at DESC, id DESC"


def windows(
    records: Records,
    model: str,
    monitor: str,
    start: datetime | None,
    end: datetime | None,
    number: int,
    size: int,
) -> tuple[list[Row], int]:
    """Return runs of a monitor, the latest first, and how many there are in that range.

    Raises:
        UsageError: there is no such page.
    """
    where, values = "model = ? AND monitor = ?", list[object]([model, monitor])
    for sign, moment in ((">=", start), ("<=", end)):
        if moment is not None:
            where, values = f"{where} AND at {sign} ?", [*values, moment]
    rows, total = records.page("monitor_runs", where, *values, order=_LATEST, number=number, size=size)
    require_page(number, size, total)
    return rows, total


def monitor_names(records: Records, model: str) -> list[str]:
    """Return the names of the monitors that have run; an index tells them, however many runs there are."""
    return [str(name) for name in records.values("monitor_runs", "monitor", "model = ?", model)]


def window(records: Records, model: str, run_id: str) -> Row:
    """Return a run.

    Raises:
        WindowNotFound: the model has no such run.
    """
    found = records.select("monitor_runs", "id = ? AND model = ?", run_id, model)
    if not found:
        raise WindowNotFound(
            f"there is no window {run_id!r} of {model}",
            hint="the model's page lists its windows; a run that failed is replaced when it is made again",
        )
    return found[0]


def neighbours(records: Records, run: Row) -> tuple[str | None, str | None]:
    """Return the ids of the runs of the same monitor before and after a run."""
    of = "model = ? AND monitor = ? AND"
    about = run.model, run.monitor, run.at
    before = records.select("monitor_runs", f"{of} at < ?", *about, order=_LATEST, limit=1)
    after = records.select("monitor_runs", f"{of} at > ?", *about, order="at, id", limit=1)
    return next((one.id for one in before), None), next((one.id for one in after), None)


def champion_move(records: Records, model: str) -> Row | None:
    """Return the last move of the champion alias; None while there is none."""
    where = "model = ? AND status = 'done'"
    found = records.select("promotions", where, model, order="requested_at DESC, id DESC", limit=1)
    return next(iter(found), None)


def moves_between(records: Records, model: str, start: datetime, end: datetime) -> list[Row]:
    """Return those of the last 300 moves of the champion alias that were in a range of event time."""
    where = "model = ? AND status = 'done'"
    found = records.select("promotions", where, model, order="requested_at DESC, id DESC", limit=_MANY)
    return [one for one in found if start <= one.at <= end]


def turns_between(records: Records, model: str, start: datetime, end: datetime) -> list[Row]:
    """Return those of the last 300 turns that read a data version in a range of event time, in order."""
    found = records.select("turns", "model = ?", model, order="requested_at DESC, id DESC", limit=_MANY)
    return [one for one in found[::-1] if one.data_revision and start <= one.as_of <= end]


def alerts_between(records: Records, model: str, start: datetime, end: datetime) -> list[Row]:
    """Return the last 300 alerts that were raised in a range of event time, the latest first."""
    where = "model = ? AND raised_at >= ? AND raised_at <= ?"
    return records.select("alerts", where, model, start, end, order="raised_at DESC, id DESC", limit=_MANY)


def alerts_of_run(records: Records, run: Row) -> list[Row]:
    """Return the alerts of a run's monitor that the run found: raised by it or before, and seen by it."""
    where = "model = ? AND raised_at <= ? AND monitor = ? AND last_seen_at >= ?"
    about = run.model, run.at, run.monitor, run.at
    return records.select("alerts", where, *about, order="raised_at DESC, id DESC", limit=_MANY)


def severities(records: Records, model: str) -> dict[str, int]:
    """Return how many alerts are not resolved, by severity."""
    return records.counts("alerts", "severity", f"model = ? AND {_OPEN}", model)
