"""Count what each version does in each role on one replica, and record it with the heartbeat.

Durations are counted in buckets whose ends grow by a quarter: a quantile read from them is at most 25 % too
high, and counts of several replicas, or of two moments, can be added and subtracted.
"""

import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.state import State
from tidemill.state.tables import VersionCount

__all__ = [
    "Count",
    "Key",
    "VersionCounters",
    "as_baseline",
    "calls_above",
    "quantile",
    "read_counts",
    "record_counts",
    "since",
]

_FIRST = 1e-6  # seconds
_GROWTH = 1.25
_LOG_GROWTH = math.log(_GROWTH)
_ERROR = 500
"""Characters of an error that are kept."""

Key = tuple[str, str]
"""Role and version."""


@dataclass
class Count:
    """Counts of one version in one role."""

    answered: int = 0
    """Rows it scored."""
    failed: int = 0
    """Rows it could not score."""
    dropped: int = 0
    """Copies for a shadow that were not taken."""
    seconds: Counter[int] = field(default_factory=Counter)
    """Bucket → calls of the model."""
    error: str | None = None
    """The last one."""

    @property
    def error_rate(self) -> float:
        """Share of the rows that it could not score; 0 if it was never asked."""
        asked = self.answered + self.failed
        return self.failed / asked if asked else 0.0


class VersionCounters:
    """Counts on one replica; threads may share it.

    >>> counters = VersionCounters()
    >>> counters.scored("canary", "7", rows=3, seconds=0.001)
    >>> counters.failed("canary", "7", rows=1, error=ValueError("no"))
    >>> count = counters.counts()["canary", "7"]
    >>> count.answered, count.failed, count.error_rate, count.error
    (3, 1, 0.25, 'ValueError: no')
    """

    def __init__(self) -> None:
        self._counts: dict[Key, Count] = {}
        self._changed: set[Key] = set()
        self._lock = threading.Lock()

    def scored(self, role: str, version: str, rows: int, seconds: float) -> None:
        """Count one call of a model that went well, and how long it took."""
        bucket = _bucket(seconds)
        with self._lock:
            count = self._count(role, version)
            count.answered += rows
            count.seconds[bucket] += 1

    def failed(self, role: str, version: str, rows: int, error: Exception) -> None:
        """Count rows that a version could not score."""
        with self._lock:
            count = self._count(role, version)
            count.failed += rows
            count.error = f"{type(error).__name__}: {error}"[:_ERROR]

    def dropped(self, role: str, version: str, rows: int) -> None:
        """Count copies that a shadow did not get."""
        with self._lock:
            self._count(role, version).dropped += rows

    def counts(self) -> dict[Key, Count]:
        """Return a copy of everything counted so far."""
        with self._lock:
            return {key: _copy(count) for key, count in self._counts.items()}

    @contextmanager
    def recording(self) -> Iterator[dict[Key, Count]]:
        """Yield the counts that changed since they were last recorded: totals, not differences.

        The block records them. If it fails, they are given again the next time.
        """
        with self._lock:
            keys, self._changed = self._changed, set()
            changed = {key: _copy(self._counts[key]) for key in keys}
        try:
            yield changed
        except BaseException:
            with self._lock:
                self._changed |= keys
            raise

    def _count(self, role: str, version: str) -> Count:
        key = (role, version)
        self._changed.add(key)
        found = self._counts.get(key)
        if found is None:
            found = self._counts[key] = Count()
        return found


def quantile(seconds: Mapping[int, int], share: float) -> float | None:
    """Return the duration, in seconds, that ``share`` of the calls stayed below; None without calls.

    >>> counters = VersionCounters()
    >>> for milliseconds in range(1, 101):
    ...     counters.scored("canary", "7", 1, milliseconds / 1000)
    >>> 0.090 < quantile(counters.counts()["canary", "7"].seconds, 0.9) < 0.090 * 1.25
    True
    """
    total, seen = sum(seconds.values()), 0
    for bucket in sorted(seconds):
        seen += seconds[bucket]
        if seen >= share * total and total:
            return float(_FIRST * _GROWTH ** (bucket + 1))
    return None


def calls_above(seconds: Mapping[int, int], limit: float) -> int:
    """Return how many calls took longer than ``limit`` seconds, each as long as its bucket's end.

    >>> counters = VersionCounters()
    >>> for milliseconds in (1, 1, 80):
    ...     counters.scored("canary", "7", 1, milliseconds / 1000)
    >>> calls_above(counters.counts()["canary", "7"].seconds, 0.02)
    1
    """
    return sum(calls for bucket, calls in seconds.items() if _FIRST * _GROWTH ** (bucket + 1) > limit)


def record_counts(
    session: Session, model: str, replica: str, counts: Mapping[Key, Count], now: datetime
) -> None:
    """Put a replica's counts on record in place of those that are there.

    Args:
        session: its transaction is committed by the caller, inside `VersionCounters.recording`.
        model: name of the registered model.
        replica: whose counts these are.
        counts: those that changed.
        now: wall-clock time.
    """
    for (role, version), count in counts.items():
        session.merge(
            VersionCount(
                replica=replica,
                model=model,
                role=role,
                version=version,
                answered=count.answered,
                failed=count.failed,
                dropped=count.dropped,
                seconds={str(bucket): calls for bucket, calls in count.seconds.items()},
                error=count.error,
                seen_at=now,
            )
        )


def read_counts(state: State, model: str) -> dict[Key, Count]:
    """Return by role and version what all replicas, those that are gone included, have ever counted."""
    with state.transaction() as session:
        rows = list(
            session.scalars(
                select(VersionCount).where(VersionCount.model == model).order_by(VersionCount.seen_at)
            )
        )
    found: dict[Key, Count] = {}
    for row in rows:
        count = found.setdefault((row.role, row.version), Count())
        count.answered += row.answered
        count.failed += row.failed
        count.dropped += row.dropped
        count.seconds.update({int(bucket): int(calls) for bucket, calls in row.seconds.items()})
        count.error = row.error or count.error
    return found


def as_baseline(counts: Mapping[Key, Count]) -> dict[str, Any]:
    """Return counts as JSON, to be subtracted later by `since`."""
    return {
        f"{role} {version}": {
            "answered": count.answered,
            "failed": count.failed,
            "seconds": {str(bucket): calls for bucket, calls in count.seconds.items()},
        }
        for (role, version), count in counts.items()
    }


def since(baseline: Mapping[str, Any], counts: Mapping[Key, Count]) -> dict[Key, Count]:
    """Return what was counted since a baseline was taken.

    >>> before = {("canary", "7"): Count(answered=2)}
    >>> since(as_baseline(before), {("canary", "7"): Count(answered=5, failed=1)})["canary", "7"].answered
    3
    """
    found = {}
    for (role, version), count in counts.items():
        before = baseline.get(f"{role} {version}", {"answered": 0, "failed": 0, "seconds": {}})
        spent = Counter(count.seconds)
        spent.subtract({int(bucket): calls for bucket, calls in before["seconds"].items()})
        found[role, version] = Count(
            answered=max(count.answered - before["answered"], 0),
            failed=max(count.failed - before["failed"], 0),
            dropped=count.dropped,
            seconds=+spent,
            error=count.error,
        )
    return found


def _bucket(seconds: float) -> int:
    return max(int(math.log(seconds / _FIRST) / _LOG_GROWTH), 0) if seconds > _FIRST else 0


def _copy(count: Count) -> Count:
    return Count(count.answered, count.failed, count.dropped, Counter(count.seconds), count.error)
