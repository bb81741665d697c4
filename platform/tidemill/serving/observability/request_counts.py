"""Reads how many requests replicas have counted, and how many got no predictions and why.

It reads what they publish for Prometheus (`metrics_sharing`), each counted since its replica started. Of one
that has ended, the last counts stay; one that was killed may have counted for a second more.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tidemill.serving.observability.metrics_sharing import ENDED, REQUESTS, SILENCE

__all__ = ["RequestCounts", "counted_since", "read_request_counts"]


@dataclass(frozen=True)
class RequestCounts:
    """Requests for predictions."""

    requests: int = 0
    """All, answered or not."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Those that got no predictions, by kind (docs/metrics.md)."""


def read_request_counts(home: Path, ended: bool = True) -> dict[str, RequestCounts]:
    """Return by replica what those have counted that run, and those that have ended.

    Args:
        home: the project's ``.tidemill``.
        ended: whether the latter count.
    """
    found: dict[str, RequestCounts] = {}
    folder = home / "metrics"
    # An ended replica's file may be made while we look: so living ones are listed first, and win.
    living, past = (sorted(folder.glob(f"*/*{end}")) for end in (".json", ENDED))
    names = {(file.parent, file.stem) for file in living}
    left = [file for file in past if (file.parent, file.stem) not in names]
    for file in [*living, *left] if ended else living:
        try:
            if not ended and time.time() - file.stat().st_mtime > SILENCE:
                continue
            if not file.exists():
                file = file.with_suffix(ENDED)
            families = {each["name"]: each for each in orjson.loads(file.read_bytes())}
            for replica, _, count in _samples(families, REQUESTS[0]):
                before = found.get(replica, RequestCounts())
                found[replica] = RequestCounts(before.requests + count, before.refused)
            for replica, kind, count in _samples(families, REQUESTS[1]):
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
