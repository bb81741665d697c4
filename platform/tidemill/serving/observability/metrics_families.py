"""Metrics as plain values: counted on the hot path in a microsecond, rendered when Prometheus scrapes.

prometheus_client's own counters are not used for counting: they take locks of their own and, with Feast
imported, become files on the disk.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

__all__ = ["SECONDS", "Buckets", "Family", "Histogram", "Sample", "labelled", "render"]

SECONDS = (
    0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03,
    0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of latencies: dense where answers lie (0.5 to 30 ms), up to where callers have given up."""


@dataclass(frozen=True)
class Buckets:
    """A histogram at one moment."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """One more than bounds: how many lie in each bucket alone; the last is what exceeds every bound."""
    total: float
    """Sum of what was observed."""


Sample: TypeAlias = tuple[tuple[str, ...], float | Buckets]
"""Values of the family's labels, and what was counted."""


@dataclass(frozen=True)
class Family:
    """One metric with its samples."""

    name: str
    """As it is exposed, a counter's without ``_total``."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]


class Histogram:
    """Counts values into buckets. Not for several threads at once.

    >>> histogram = Histogram((1, 10))
    >>> for value in (1, 2, 50):
    ...     histogram.observe(value)
    >>> histogram.buckets()
    Buckets(bounds=(1, 10), counts=(1, 1, 1), total=53.0)
    """

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Take the upper bounds (inclusive), ascending; what exceeds them all is counted, too."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def buckets(self) -> Buckets:
        """Return what was counted so far."""
        return Buckets(self._bounds, tuple(self._counts), self._total)


def labelled(families: Iterable[Family], name: str, value: str) -> list[Family]:
    """Return the families with one more label, the same in all samples.

    >>> flags = Family("flags", "counter", "Flags.", ("flag",), ((("missing",), 2.0),))
    >>> labelled([flags], "replica", "r1")[0].samples
    ((('missing', 'r1'), 2.0),)
    """
    return [
        Family(
            one.name,
            one.kind,
            one.help,
            (*one.labels, name),
            tuple(((*labels, value), number) for labels, number in one.samples),
        )
        for one in families
    ]


def render(families: Iterable[Family]) -> bytes:
    """Return the families in Prometheus's text format; those of one name and labels become one.

    Format: https://prometheus.io/docs/instrumenting/exposition_formats.

    >>> up = Family("up", "gauge", "Whether it is up.", (), (((), 1.0),))
    >>> print(render([up]).decode().strip())
    # HELP up Whether it is up.
    # TYPE up gauge
    up 1.0
    """
    merged: dict[tuple[str, tuple[str, ...]], list[Family]] = {}
    for family in families:
        merged.setdefault((family.name, family.labels), []).append(family)
    registry = CollectorRegistry()
    registry.register(_FixedMetrics([_metric(parts) for parts in merged.values()]))
    return generate_latest(registry)


class _FixedMetrics(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that names are not checked."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._metrics


def _metric(parts: Sequence[Family]) -> Metric:
    first = parts[0]
    samples = [sample for part in parts for sample in part.samples]
    if first.kind == "histogram":
        histogram = HistogramMetricFamily(first.name, first.help, labels=first.labels)
        for labels, value in samples:
            if isinstance(value, Buckets):
                histogram.add_metric(labels, _cumulative(value), value.total)
        return histogram
    plain = (CounterMetricFamily if first.kind == "counter" else GaugeMetricFamily)(
        first.name, first.help, labels=first.labels
    )
    for labels, value in samples:
        if not isinstance(value, Buckets):
            plain.add_metric(labels, value)
    return plain


def _cumulative(buckets: Buckets) -> list[tuple[str, float]]:
    so_far, pairs = 0, []
    for bound, count in zip((*buckets.bounds, float("inf")), buckets.counts, strict=True):
        so_far += count
        pairs.append(("+Inf" if bound == float("inf") else str(float(bound)), float(so_far)))
    return pairs
