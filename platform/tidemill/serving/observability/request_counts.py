"""Reads how many requests the living replicas have counted, and how many got no predictions and why.

It reads what they publish for Prometheus (`metrics_sharing`), each counted since its replica started.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tidemill.serving.observability.metrics_sharing import SILENCE

__all__ = ["RequestCounts", "counted_since", "read_request_counts"]


@dataclass(frozen=True)
class RequestCounts:
    """Requests for predictions."""

    requests: int = 0
    """All, answered or not."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Those that got no predictions, by kind (docs/metrics.md)."""


def read_request_counts(home: Path) -> dict[str, RequestCounts]:
    """Return by replica what those have counted that have written in the last seconds.

    Args:
        home: the project's ``.tidemill``.
    """
    found: dict[str, RequestCounts] = {}
    for file in sorted((home / "metrics").glob("*/*.json")):
        try:
            if time.time() - file.stat().st_mtime > SILENCE:
                continue
            families = {each["name"]: each for each in orjson.loads(file.read_bytes())}
            for replica, _, count in _samples(families, "tidemill_requests"):
                before = found.get(replica, RequestCounts())
                found[replica] = RequestCounts(before.requests + count, before.refused)
            for replica, kind, count in _samples(families, "tidemill_request_errors"):
                before = found.get(replica, RequestCounts())
                refused = Counter(before.refused) + Counter({kind: count})
                found[replica] = RequestCounts(before.requests, dict(refused))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # just removed, or written by another version
    return found


def counted_since(before: Mapping[str, RequestCounts], now: Mapping[str, RequestCounts]) -> RequestCounts:
    """Return what all replicas together have counted since ``before``; one that started again, since then.

    >>> before = {"r1": RequestCounts(10, {"malformed": 1}), "r2": RequestCounts(90)}
    >>> now = {"r1": RequestCounts(15, {"malformed": 1, "timeout": 2}), "r2": RequestCounts(4)}
    >>> counted_since(before, now)
    RequestCounts(requests=9, refused={'timeout': 2})
    """
    requests, refused = 0, Counter[str]()
    for replica, counts in now.items():
        old = before.get(replica, RequestCounts())
        if old.requests > counts.requests:
            old = RequestCounts()
        requests += counts.requests - old.requests
        refused += Counter(counts.refused) - Counter(old.refused)
    return RequestCounts(requests, dict(refused))


def _samples(families: Mapping[str, Any], name: str) -> Iterator[tuple[str, str, int]]:
    """Yield replica, kind (empty without one) and count of a counter's samples."""
    family = families.get(name, {"labels": (), "samples": ()})
    for values, count in family["samples"]:
        labels = dict(zip(family["labels"], values, strict=True))
        yield labels["replica"], labels.get("kind", ""), int(count)
