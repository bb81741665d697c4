"""A run that another tool recorded."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.clock import FIRST_YEAR, LAST_YEAR
from tidemill.training.tracking.run_values import IMPORT_PREFIX

__all__ = [
    "ForeignRun",
    "Point",
    "digest_of",
    "flat",
    "milliseconds",
    "numbers",
    "run_tags",
    "step_number",
]

_TAG = 4000  # MLflow allows 8000 characters
_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (FIRST_YEAR, LAST_YEAR))


class Point(NamedTuple):
    """One value of a metric."""

    metric: str
    value: float
    step: int
    milliseconds: int
    """Since 1970."""


@dataclass(frozen=True)
class ForeignRun:
    """What another tool recorded of one run."""

    name: str
    tool: str
    source: Path
    sha256: str
    """Of the files that it was read from."""
    points: Sequence[Point]
    params: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """As MLflow names them; `run_tags` makes them."""
    status: str = "FINISHED"
    """As MLflow has it: also FAILED or KILLED."""
    began: int | None = None
    """Milliseconds since 1970; None: by the first point."""
    ended: int | None = None
    last_only: bool = False
    """Of each metric only the last value is known, by no step of its own."""


def run_tags(
    *, labels: Sequence[object] = (), note: object = None, user: object = None, **more: object
) -> dict[str, str]:
    """Return tags of MLflow for what another tool says of a run; what is empty has none.

    >>> run_tags(labels=["base", "night"], note="", sweep="x9")
    {'tidemill_import.tags': 'base, night', 'tidemill_import.sweep': 'x9'}
    """
    named = {
        f"{IMPORT_PREFIX}tags": ", ".join(map(str, labels)),
        "mlflow.note.content": note,
        "mlflow.user": user,
    }
    named |= {f"{IMPORT_PREFIX}{name}": value for name, value in more.items()}
    return {name: str(value)[:_TAG] for name, value in named.items() if value not in (None, "")}


def numbers(values: Mapping[str, Any], step: int, at: int) -> Iterator[Point]:
    """Yield those of the values that are numbers, but not NaN, and not what a tool counts for itself.

    >>> [point.metric for point in numbers({"loss": 1, "val": {"f1": 0.5}, "_runtime": 3, "ok": "yes"}, 2, 0)]
    ['loss', 'val.f1']
    """
    for key, value in flat(values):
        if isinstance(value, int | float) and value == value and not key.startswith("_"):
            yield Point(key, float(value), step, at)


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and values; what wandb describes by a type of its own, a picture say, is one value.

    >>> list(flat({"a": 1, "b": {"c": 2}, "d": {"_type": "image-file", "width": 3}}))
    [('a', 1), ('b.c', 2), ('d', {'_type': 'image-file', 'width': 3})]
    """
    for key, value in values.items():
        if isinstance(value, Mapping) and "_type" not in value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def digest_of(*content: object) -> str:
    """Return a SHA-256 of values that JSON has, by which the same run is known in another file.

    >>> digest_of("wandb", {"a": 1})[:8] == digest_of("wandb", {"a": 1.0})[:8]
    False
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def milliseconds(seconds: float) -> int:
    """Return a moment of a file as MLflow counts it.

    Raises:
        ValueError: it is no moment that records hold.

    >>> milliseconds(1.5)
    1500
    """
    if not _EARLIEST <= seconds < _LATEST:  # nor if it is not a number
        raise ValueError(f"{seconds!r} s since 1970 is not in the years {FIRST_YEAR} to {LAST_YEAR}")
    return int(seconds * 1000)


def step_number(step: float) -> int:
    """Return the number of a step.

    Raises:
        ValueError: it is none, or has more than 64 bits.

    >>> step_number(12.0)
    12
    """
    if not -(2**63) <= step < 2**63:
        raise ValueError(f"{step!r} is not the number of a step")
    return int(step)
