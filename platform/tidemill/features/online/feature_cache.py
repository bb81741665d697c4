"""Cache rows of the online store that many requests share, for a declared time.

A view declares it: ``FeatureView(tags={"cache_seconds": "30"})``. A row that was read for one request serves
another if both the wall clock and the other's own moment lie within that time of the read's: so a replay of
history, which moves through days within seconds, never sees what was read for another day. A row that has
expired since it was read is read again. Everything else is judged for each request, as for a row just read.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from feast import FeatureView

from tidemill.errors import FeatureError

__all__ = ["FeatureCache", "cache_seconds"]

_TAG = "cache_seconds"
Row = TypeVar("Row")


def cache_seconds(view: FeatureView) -> float | None:
    """Return for how many seconds rows of a view may be cached, or None if they may not.

    Raises:
        FeatureError: the tag is not a positive number, or longer than the view's TTL.
    """
    text = view.tags.get(_TAG)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise FeatureError(
            f"view {view.name!r}: {_TAG} is {text!r}, and not a number of seconds",
            hint='write it as tags={"cache_seconds": "30"}',
        )
    ttl = view.ttl.total_seconds() if view.ttl else 0.0
    if ttl and seconds > ttl:
        raise FeatureError(
            f"view {view.name!r}: {_TAG} is {text}, longer than its TTL of {ttl:g} s",
            hint="a row must not be kept for longer than it is valid",
        )
    return seconds


class _CachedRow(NamedTuple, Generic[Row]):
    row: Row | None
    """None: there is nothing under this key."""
    read: float
    """By the wall clock, seconds."""
    moment: int
    """Of the request that it was read for, event time, microseconds."""
    expires: int | None
    """The last moment at which the row is valid, event time; none for always."""

    def serves(self, moment: int, span: int) -> bool:
        """Return whether a request of that moment may use this row."""
        if abs(moment - self.moment) > span:
            return False
        return self.expires is None or not self.moment <= self.expires < moment


class FeatureCache(Generic[Row]):
    """A least-recently-used cache of rows of several views. Threads may share it."""

    def __init__(
        self, seconds: Sequence[float | None], rows: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty.

        Args:
            seconds: for how long rows of each view may be kept; none: never.
            rows: how many rows to keep, of all views together.
            clock: wall-clock time, seconds from anywhere; never goes back.
        """
        self._seconds = tuple(seconds)
        self._rows = rows
        self._clock = clock
        self._kept: OrderedDict[tuple[int, bytes], _CachedRow[Row]] = OrderedDict()
        self._lock = threading.Lock()
        self.lookups = [[0, 0] for _ in seconds]
        """Of each view how many rows were found here, and how many were not."""

    def __len__(self) -> int:
        """Return how many rows are kept."""
        return len(self._kept)

    def keeps(self, view: int) -> bool:
        """Return whether rows of a view are cached at all."""
        return self._seconds[view] is not None

    def find(
        self,
        keys: Sequence[Sequence[bytes | None]],
        moments: Sequence[int],
        known: Sequence[list[Row | None]],
    ) -> list[list[int]]:
        """Fill in the cached rows of all views; return for each view the positions of the missing ones.

        Args:
            keys: for each view the entity keys of some rows; None is not looked up.
            moments: that the rows are asked for, event time, microseconds.
            known: for each view a place for each row.
        """
        missed, now = [], self._clock()
        with self._lock:
            kept_rows = self._kept
            for view, (seconds, of_view) in enumerate(zip(self._seconds, keys, strict=True)):
                if seconds is None:
                    missed.append([place for place, key in enumerate(of_view) if key is not None])
                    continue
                span, oldest, column, gone = int(seconds * 1_000_000), now - seconds, known[view], []
                hits = 0
                for place, key in enumerate(of_view):
                    if key is None:
                        continue
                    kept = kept_rows.get((view, key))
                    if kept is None or kept.read < oldest or not kept.serves(moments[place], span):
                        gone.append(place)
                    else:
                        kept_rows.move_to_end((view, key))
                        column[place] = kept.row
                        hits += 1
                missed.append(gone)
                counts = self.lookups[view]
                counts[0] += hits
                counts[1] += len(gone)
        return missed

    def began(self) -> float:
        """Return the moment, by the wall clock, at which a read begins."""
        return self._clock()

    def keep(
        self,
        view: int,
        began: float,
        moments: Mapping[bytes, int],
        rows: Mapping[bytes, Row],
        expires: Callable[[Row], int | None],
    ) -> None:
        """Cache the rows that were read.

        Args:
            view: position of the view.
            began: when the read began, by `began`: what was written since may not be in it.
            moments: keys that were asked for, each with the moment of a request.
            rows: what was found.
            expires: tells the last moment at which a row is valid.
        """
        with self._lock:
            for key, moment in moments.items():
                row = rows.get(key)
                last = None if row is None else expires(row)
                self._kept[view, key] = _CachedRow(row, began, moment, last)
                self._kept.move_to_end((view, key))
            while len(self._kept) > self._rows:
                self._kept.popitem(last=False)
