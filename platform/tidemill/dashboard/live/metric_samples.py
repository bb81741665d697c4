"""Reads what the prediction API exposes for Prometheus, and works rates and latencies out of two readings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Figures", "ServingSample", "figures", "parse_sample", "steps"]

_OURS = frozenset({"internal", "model", "features", "log", "timeout", "no_model"})
"""Kinds of errors that are not the client's, as in the rules for Prometheus."""


@dataclass(frozen=True)
class ServingSample:
    """One reading; counters are sums over all replicas."""

    at: float
    """Wall-clock time, in seconds."""
    requests: float
    errors: float
    """Of the server's doing."""
    overloaded: float
    """Refused because too many were in flight."""
    buckets: Mapping[float, float]
    """Upper bound in seconds → answered requests that took at most so long."""
    versions: Mapping[str, float]
    """Version → predictions."""
    in_flight: float
    degraded: tuple[str, ...]
    """Parts of the platform that a replica works without."""


@dataclass(frozen=True)
class Figures:
    """What happened between two readings."""

    rate: float
    """Requests a second."""
    errors: float
    """Share of the requests that ended in an error of the server; 0 without requests."""
    overloaded: float
    """Requests a second that were refused because there were too many."""
    p50: float | None
    """Seconds; None if nothing was answered."""
    p99: float | None
    versions: Mapping[str, float]
    """Version → predictions a second."""


def parse_sample(text: str, at: float) -> ServingSample:
    """Return the reading in an answer of ``/metrics``.

    Raises:
        ValueError: it is not in Prometheus's format.

    >>> parse_sample('tidemill_requests_total{protocol="predict"} 4\\n', 0.0).requests
    4.0
    """
    sums = {"requests": 0.0, "errors": 0.0, "overloaded": 0.0, "in_flight": 0.0}
    buckets: dict[float, float] = {}
    versions: dict[str, float] = {}
    degraded: set[str] = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels, value = sample.labels, float(sample.value)
            match sample.name:
                case "tidemill_requests_total":
                    sums["requests"] += value
                case "tidemill_request_errors_total":
                    kind = labels.get("kind", "")
                    name = "overloaded" if kind == "overloaded" else "errors" if kind in _OURS else ""
                    if name:
                        sums[name] += value
                case "tidemill_request_duration_seconds_bucket" if labels.get("role") != "shadow":
                    bound = float(labels["le"])
                    buckets[bound] = buckets.get(bound, 0.0) + value
                case "tidemill_predictions_total":
                    version = labels.get("version", "")
                    versions[version] = versions.get(version, 0.0) + value
                case "tidemill_in_flight_requests":
                    sums["in_flight"] += value
                case "tidemill_degraded" if value:
                    degraded.add(labels.get("part", ""))
                case _:
                    pass
    return ServingSample(at=at, **sums, buckets=buckets, versions=versions, degraded=tuple(sorted(degraded)))


def figures(samples: Sequence[ServingSample], seconds: float) -> Figures | None:
    """Return what happened in the last seconds that were read; None before two readings.

    A counter that fell, as a replica ended or began again, counts as nothing meanwhile.
    """
    if len(samples) < 2:
        return None
    since = samples[-1].at - seconds
    span = [one for one in samples if one.at >= since]
    span = span if len(span) > 1 else list(samples[-2:])
    passed = span[-1].at - span[0].at
    if passed <= 0:
        return None
    requests = _grown([one.requests for one in span])
    errors = _grown([one.errors for one in span])
    counts = {bound: _grown([one.buckets.get(bound, 0.0) for one in span]) for bound in span[-1].buckets}
    versions = {
        name: _grown([one.versions.get(name, 0.0) for one in span]) / passed for name in span[-1].versions
    }
    return Figures(
        requests / passed,
        min(errors / requests, 1.0) if requests else float(errors > 0),
        _grown([one.overloaded for one in span]) / passed,
        _quantile(counts, 0.5),
        _quantile(counts, 0.99),
        {name: rate for name, rate in versions.items() if rate > 0},
    )


def steps(samples: Sequence[ServingSample], most: int) -> list[tuple[float, Figures]]:
    """Return the figures of at most so many spans of equal length, each with the moment of its end."""
    size = max(1, -(-(len(samples) - 1) // most))
    found = []
    for end in range(len(samples) - 1, 0, -size):
        span = samples[max(0, end - size) : end + 1]
        each = figures(span, span[-1].at - span[0].at)
        if each is not None:
            found.append((span[-1].at, each))
    return found[::-1]


def _grown(values: Sequence[float]) -> float:
    return sum(max(0.0, later - before) for before, later in pairwise(values))


def _quantile(counts: Mapping[float, float], share: float) -> float | None:
    """Return a quantile as Prometheus's ``histogram_quantile`` does.

    >>> _quantile({0.1: 50.0, 0.2: 100.0, float("inf"): 100.0}, 0.75)
    0.15
    """
    bounds = sorted(counts)
    total = counts[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    wanted, low, below = share * total, 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= wanted:
            if bound == float("inf"):
                return low
            inside = counts[bound] - below
            return round(low + (bound - low) * ((wanted - below) / inside if inside else 1.0), 9)
        low, below = bound, counts[bound]
    return low
