"""How old the values of views are, from a record of the views and the online store alone. No engine.

The record says which views the service reads, where the SQLite store has their values, and how far their
sources reach. It holds as long as the definitions, the registry and the sources are the same files.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tidemill.files.atomic import replace_file
from tidemill.files.read_only_sqlite import open_to_read
from tidemill.project import ProjectFolder

__all__ = [
    "RecordedView",
    "ViewFreshness",
    "freshness_on_record",
    "marks_of",
    "measured",
    "of_request",
    "state_of",
    "summary",
    "write_views",
]

State = Literal["fresh", "stale", "empty", "unknown", "request"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMAT = 2
_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class ViewFreshness:
    """The age of one view's values in the online store."""

    view: str
    state: State
    """``stale``: even the newest value has expired; ``unknown``: the store cannot say; ``request``: it comes
    in the request by ``features.from``, so the store is not asked."""
    keys: int | None
    newest: datetime | None
    """Event time of the newest value."""
    age_seconds: float | None
    """Of the newest value; negative if it is from after the moment asked for."""
    ttl_seconds: float | None
    """None: values do not expire."""
    expired: float | None
    """Share of the keys whose value has expired."""
    source_newest: datetime | None
    """Event time of the newest row in the offline source, up to the moment; none if not asked for."""


@dataclass(frozen=True)
class RecordedView:
    """What is on record of a view."""

    view: str
    table: str | None
    """In the SQLite store, quoted; None where the view comes in the request."""
    ttl_seconds: float | None
    source_newest: str | None
    """Event time of the newest row in the offline source (ISO 8601); None for a source without rows."""


def summary(table: str) -> str:
    """Return the query for the number of keys, the latest event time, and how many are not before ``?``."""
    return f'SELECT count(*), max("event_us"), sum("event_us" >= ?) FROM {table}'  # noqa: S608


def state_of(keys: int | None, age: timedelta | None, ttl: timedelta | None) -> State:
    """Name the state of a view.

    >>> state_of(3, timedelta(hours=2), timedelta(hours=1))
    'stale'
    """
    if keys is None:
        return "unknown"
    if age is None:
        return "empty"
    return "stale" if ttl and age > ttl else "fresh"


def measured(
    view: str,
    at: datetime,
    ttl: timedelta | None,
    found: tuple[int, int | None, int] | None,
    source_newest: datetime | None,
) -> ViewFreshness:
    """Return the age of a view's values at a moment.

    Args:
        view: its name.
        at: event time.
        ttl: how long its values hold; None for ever.
        found: the number of keys, the latest event time in microseconds, and how many keys have not expired;
            None where the store cannot say.
        source_newest: event time of the newest row in the offline source.
    """
    keys, latest, fresh = found or (None, None, 0)
    newest = None if latest is None else _EPOCH + timedelta(microseconds=latest)
    age = None if newest is None else at - newest
    return ViewFreshness(
        view=view,
        state=state_of(keys, age, ttl),
        keys=keys,
        newest=newest,
        age_seconds=None if age is None else age.total_seconds(),
        ttl_seconds=ttl.total_seconds() if ttl else None,
        expired=1 - fresh / keys if keys else None,
        source_newest=source_newest,
    )


def of_request(view: str) -> ViewFreshness:
    """Return what is said of a view that comes in the request: it has no age.

    >>> of_request("sizes").state
    'request'
    """
    return ViewFreshness(view, "request", None, None, None, None, None, None)


def freshness_on_record(
    project: ProjectFolder, repo: Path, service: str, at: datetime, given: object = "store"
) -> list[ViewFreshness] | None:
    """Return how old a service's features are, or None if no record holds, or it does not say enough.

    Args:
        project: the project.
        repo: the folder of its feature definitions.
        service: name of the service whose views are meant.
        at: event time.
        given: ``features.from`` of the project.
    """
    try:
        record = json.loads(_file(project).read_bytes())
        made_for = [record[name] for name in ("format", "repo", "service", "given")]
        if made_for != [_FORMAT, str(repo), service, given]:
            return None
        if marks_of(record["marks"]) != record["marks"]:
            return None
        views = [RecordedView(**view) for view in record["views"]]
        newest = [datetime.fromisoformat(v.source_newest) if v.source_newest else None for v in views]
        if any(moment is not None and moment > at for moment in newest):
            return None  # how far the source reaches up to an earlier moment takes a look into it
        with closing(open_to_read(Path(record["online"]), wait_seconds=_WAIT_SECONDS)) as database:
            return [_look(database, *pair, at) for pair in zip(views, newest, strict=True)]
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error):
        return None  # none yet, of another release, or a store whose error Feast's own way reports


def write_views(
    project: ProjectFolder,
    repo: Path,
    service: str,
    online: Path,
    marks: Mapping[str, str | None],
    views: Sequence[RecordedView],
    given: object,
) -> None:
    """Put a service's views on record, where the project can be written to.

    Args:
        project: the project.
        repo: the folder of its feature definitions.
        service: name of the service.
        online: file of the SQLite store.
        marks: the files that the record depends on, as they were before they were read.
        views: what is to be recorded.
        given: ``features.from`` of the project.
    """
    record: dict[str, Any] = {"format": _FORMAT, "repo": str(repo), "service": service, "online": str(online)}
    record |= {"marks": dict(marks), "views": [vars(view) for view in views], "given": given}
    with suppress(OSError):  # without the record the next look takes longer, and that is all
        replace_file(_file(project), json.dumps(record), flush=False)


def marks_of(paths: Iterable[str]) -> dict[str, str | None]:
    """Return what tells, for each file or folder, whether it has changed; None for what does not exist."""
    return {path: _mark(Path(path)) for path in paths}


def _mark(path: Path) -> str | None:
    if path.is_dir():
        below = sorted(str(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)
        states = "".join(f"{name}\0{_mark(Path(name))}\0" for name in below)
        return hashlib.sha256(os.fsencode(states)).hexdigest()
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return f"{state.st_ino}-{state.st_size}-{state.st_mtime_ns}"


def _look(
    database: sqlite3.Connection, view: RecordedView, newest: datetime | None, at: datetime
) -> ViewFreshness:
    if view.table is None:
        return of_request(view.view)
    ttl = None if view.ttl_seconds is None else timedelta(seconds=view.ttl_seconds)
    after = (at - ttl - _EPOCH) // timedelta(microseconds=1) if ttl else None
    [(count, latest, fresh)] = database.execute(summary(view.table), (after,)).fetchall()
    return measured(view.view, at, ttl, (count, latest, count if after is None else fresh or 0), newest)


def _file(project: ProjectFolder) -> Path:
    return project.home / "features.json"
