"""What Prometheus reads from a replica: how old the features are, and what was wrong with those it served.

Text format: https://prometheus.io/docs/instrumenting/exposition_formats.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidemill.errors import FeatureError
from tidemill.features.freshness import ViewFreshness
from tidemill.features.online import FeatureRow

__all__ = ["Metrics"]

_SECONDS = 15.0  # between two looks at the online store
_SHARE = 0.02  # of one core's time that looking may take
_log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one replica. Threads may share it."""

    def __init__(self, look: Callable[[], Sequence[ViewFreshness]]) -> None:
        """Take the way to look at the online store, which is gone every 15 seconds at most."""
        self._flags = _Flags()
        self._registry = CollectorRegistry()
        self._registry.register(_FeatureAges(look))
        self._registry.register(self._flags)

    def count(self, rows: Iterable[FeatureRow]) -> None:
        """Count the flags of rows that were served."""
        self._flags.count(flag for row in rows for flag in row.flags)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class _Flags(Collector):
    """Counts by flag. Not prometheus_client's counters: with Feast imported, those are files on the disk."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    def count(self, flags: Iterable[str]) -> None:
        with self._counting:
            self._counts.update(flags)

    def collect(self) -> Iterator[Metric]:
        """Yield one counter."""
        family = CounterMetricFamily(
            "tidemill_feature_flags",
            "Instances with a view that was missing, expired or from the future, or a feature's default.",
            labels=["flag", "name"],
        )
        with self._counting:
            counts = dict(self._counts)
        for flag, count in sorted(counts.items()):
            kind, _, name = flag.partition(":")
            family.add_metric([kind, name], count)
        yield family


class _FeatureAges(Collector):
    """Gauges of the online store. One thread looks at a time; the others get what was seen last."""

    def __init__(self, look: Callable[[], Sequence[ViewFreshness]]) -> None:
        self._look = look
        self._looking = threading.Lock()
        self._seen: tuple[Sequence[ViewFreshness], bool, float] = ((), False, time.monotonic())
        self._again = 0.0

    def describe(self) -> Iterable[Metric]:
        """Say nothing: or registering would look at the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; ages go on growing between two looks."""
        if time.monotonic() >= self._again and self._looking.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._looking.release()
        views, readable, since = self._seen
        passed = time.monotonic() - since
        age = GaugeMetricFamily(
            "tidemill_feature_age_seconds", "Age of the newest value in the online store.", labels=["view"]
        )
        keys = GaugeMetricFamily("tidemill_feature_keys", "Keys in the online store.", labels=["view"])
        expired = GaugeMetricFamily(
            "tidemill_feature_expired_ratio", "Share of the keys whose value has expired.", labels=["view"]
        )
        for view in views:
            for gauge, value in (
                (age, None if view.age_seconds is None else view.age_seconds + passed),
                (keys, view.keys),
                (expired, view.expired),
            ):
                if value is not None:
                    gauge.add_metric([view.view], value)
        up = GaugeMetricFamily("tidemill_feature_store_up", "Whether the online store could be read.")
        up.add_metric([], float(readable))
        yield from (age, keys, expired, up)

    def _refresh(self) -> None:
        began = time.monotonic()
        try:
            self._seen = (self._look(), True, began)
        except FeatureError as error:
            _log.warning("the online store cannot be looked at: %s", error)
            self._seen = ((), False, began)
        ended = time.monotonic()
        self._again = ended + max(_SECONDS, (ended - began) / _SHARE)
