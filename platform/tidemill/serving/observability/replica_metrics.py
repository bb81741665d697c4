"""Prometheus metrics of a replica: requests, latencies, errors, features, caches, models, load.

The hooks (`Metrics.answered`, `.failed`, …) are called on the hot path: plain integers under one lock, about
half a microsecond each. Everything else happens when ``GET /metrics`` is asked. Each metric, and what to do
when it moves: docs/metrics.md.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import psutil

from tidemill.features.online.view_freshness import ViewFreshness
from tidemill.features.request_features import FeatureRow
from tidemill.serving.observability.metrics_families import SECONDS, Family, Histogram, labelled, render
from tidemill.serving.observability.metrics_features import FeatureAges
from tidemill.serving.observability.metrics_sharing import SharedMetrics

__all__ = ["Metrics"]

_ROWS = tuple(float(2**power) for power in range(12))
_LABELS = 256  # label sets a counter may have; further ones count as "other"
_MOST_VERSIONS = 64


class _VersionSeries:
    """Counts of one version in one role and protocol."""

    __slots__ = ("rows", "seconds")

    def __init__(self) -> None:
        self.rows = 0
        self.seconds = Histogram(SECONDS)


class Metrics:
    """The metrics of one replica. Threads may share it.

    Labels are bounded: protocols, roles, error kinds and views are few by nature; of versions the latest are
    kept, and what exceeds a counter's room is counted as ``other``.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[ViewFreshness]],
        replica: str = "0",
        board: SharedMetrics | None = None,
    ) -> None:
        """Start at zero.

        Args:
            look: looks at the online store, which is done every 15 seconds at most.
            replica: value of the label ``replica``.
            board: where the replicas of this node see each other's metrics; None: this replica's only.
        """
        self._ages = FeatureAges(look)
        self._replica = replica
        self._board = board
        self._counting = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._errors: Counter[tuple[str, ...]] = Counter()
        self._by_version: dict[tuple[str, str, str], _VersionSeries] = {}
        self._batches = Histogram(_ROWS)
        self._caches: list[Callable[[], Sequence[tuple[str, int, int]]]] = []
        self._flags: Counter[str] = Counter()
        self._in_flight = 0
        self._sources: list[Callable[[], Iterable[Family]]] = []
        self._process = psutil.Process()
        self._started = time.time()

    # What the hot path calls.

    def answered(
        self, protocol: str, role: str, version: str, rows: int, seconds: float, *, further: bool = False
    ) -> None:
        """Count an answered request and its latency.

        Args:
            protocol: `Codec.name`.
            role: ``champion``, ``canary``, ``ab:<name>`` or ``shadow``.
            version: which answered.
            rows: how many predictions of the request it made.
            seconds: from the request's arrival to its answer.
            further: the request was counted already, for the rows that another version answered.
        """
        key = (protocol, role, version)
        with self._counting:
            series = self._by_version.get(key)
            if series is None:
                series = self._new_series(key)
            series.rows += rows
            series.seconds.observe(seconds)
            if not further:
                self._requests[protocol] += 1

    def failed(self, protocol: str, kind: str, version: str = "") -> None:
        """Count a request that got no predictions, by `Failure.kind`; ``version`` if one was to blame."""
        with self._counting:
            self._requests[protocol] += 1
            _bounded_add(self._errors, (protocol, kind, version), ("other", "other", ""), 1)

    def batch(self, rows: int) -> None:
        """Count one call of a model with that many rows."""
        with self._counting:
            self._batches.observe(rows)

    def in_flight(self, requests: int) -> None:
        """Set how many requests are being worked on, those that wait for a batch included."""
        self._in_flight = requests

    @property
    def requests(self) -> int:
        """How many requests are under way now."""
        return self._in_flight

    def flags(self, rows: Iterable[FeatureRow]) -> None:
        """Count the flags of rows that were served."""
        with self._counting:
            for row in rows:
                for flag in row.flags:
                    self._count(flag, 1)

    def flag(self, flag: str, rows: int = 1) -> None:
        """Count a flag of that many answers, such as ``fallback:log``."""
        with self._counting:
            self._count(flag, rows)

    # What is called rarely.

    def add(self, source: Callable[[], Iterable[Family]]) -> None:
        """Ask ``source`` for more families of this replica whenever the metrics are read.

        It must be fast and is called by several threads; its families get the label ``replica``.
        """
        self._sources.append(source)

    def add_cache(self, lookups: Callable[[], Sequence[tuple[str, int, int]]]) -> None:
        """Ask for a cache's lookups whenever the metrics are read: view, rows that it had, and had not."""
        self._caches.append(lookups)

    def start(self) -> None:
        """Begin to share this replica's metrics with the others on the node."""
        if self._board is not None:
            self._board.start(self.own)

    def stop(self) -> None:
        """Stop sharing."""
        if self._board is not None:
            self._board.stop()

    def text(self) -> bytes:
        """Return the metrics of all replicas of this node in Prometheus's text format."""
        others = [] if self._board is None else self._board.others()
        return render([*self._ages.families(), *self.own(), *others])

    def own(self) -> list[Family]:
        """Return this replica's families, with the label ``replica``."""
        with self._counting:
            counted = [*self._of_requests(), *self._of_work()]
        more = [family for source in self._sources for family in source()]
        return labelled([*counted, *more, *self._of_process()], "replica", self._replica)

    def _count(self, flag: str, rows: int) -> None:
        if flag in self._flags or len(self._flags) < _LABELS:
            self._flags[flag] += rows

    def _new_series(self, key: tuple[str, str, str]) -> _VersionSeries:
        if len(self._by_version) >= _MOST_VERSIONS:
            del self._by_version[next(iter(self._by_version))]  # the oldest version's series end
        series = self._by_version[key] = _VersionSeries()
        return series

    def _of_requests(self) -> list[Family]:
        labels = ("protocol", "role", "version")
        return [
            Family(
                "tidemill_requests",
                "counter",
                "Requests for predictions, answered or not.",
                ("protocol",),
                tuple(((protocol,), float(count)) for protocol, count in self._requests.items()),
            ),
            _counter(
                "tidemill_request_errors",
                "Requests that got no predictions, by why.",
                ("protocol", "kind", "version"),
                self._errors,
            ),
            Family(
                "tidemill_request_duration_seconds",
                "histogram",
                "From arrival to answer, of answered requests; one answered by two versions counts for both.",
                labels,
                tuple((key, series.seconds.buckets()) for key, series in self._by_version.items()),
            ),
            Family(
                "tidemill_predictions",
                "counter",
                "Predictions made.",
                labels,
                tuple((key, float(series.rows)) for key, series in self._by_version.items()),
            ),
        ]

    def _of_work(self) -> list[Family]:
        return [
            Family(
                "tidemill_batch_rows",
                "histogram",
                "Rows in one call of a model.",
                (),
                (((), self._batches.buckets()),),
            ),
            _counter(
                "tidemill_feature_cache_lookups",
                "Lookups of a view's rows, by whether the replica's cache had them.",
                ("view", "result"),
                self._of_caches(),
            ),
            _counter(
                "tidemill_feature_flags",
                "Instances with a view that was missing, expired or from the future, or a feature's default.",
                ("flag", "name"),
                {_named(flag): count for flag, count in sorted(self._flags.items())},
            ),
        ]

    def _of_caches(self) -> Counter[tuple[str, ...]]:
        counts: Counter[tuple[str, ...]] = Counter()
        for view, hits, misses in (each for lookups in self._caches for each in lookups()):
            for result, number in (("hit", hits), ("miss", misses)):
                if number:
                    _bounded_add(counts, (view, result), ("other", result), number)
        return counts

    def _of_process(self) -> list[Family]:
        times = self._process.cpu_times()
        return [
            _gauge("tidemill_in_flight_requests", "Requests being worked on.", self._in_flight),
            _gauge(
                "tidemill_replica_start_time_seconds", "When the replica began, Unix time.", self._started
            ),
            _gauge(
                "tidemill_replica_resident_memory_bytes",
                "Memory of the replica's process.",
                self._process.memory_info().rss,
            ),
            Family(
                "tidemill_replica_cpu_seconds",
                "counter",
                "Time of a core that the replica's process took.",
                (),
                (((), times.user + times.system),),
            ),
        ]


def _bounded_add(
    counts: Counter[tuple[str, ...]], key: tuple[str, ...], other: tuple[str, ...], number: int
) -> None:
    counts[key if key in counts or len(counts) < _LABELS else other] += number


def _named(flag: str) -> tuple[str, ...]:
    kind, _, name = flag.partition(":")
    return (kind, name)


def _counter(name: str, text: str, labels: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> Family:
    samples = tuple((key, float(count)) for key, count in counts.items())
    return Family(name, "counter", text, labels, samples)


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (), (((), float(value)),))
