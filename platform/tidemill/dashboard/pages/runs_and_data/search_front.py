"""What can be chosen from where a search had several metrics: the trials that no other one beats in all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill.dashboard.charts.front_scatter import FrontPoint, front_scatter
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from tidemill.training.tracking.run_values import TrackedRun

__all__ = ["Front", "FrontTrial", "front_of", "short_params"]

_DRAWN = 300
"""Other trials that are drawn beside the front."""


@dataclass(frozen=True)
class FrontTrial:
    """A trial that no other one beats in all metrics of its search."""

    run_id: str
    name: str
    numbers: Sequence[float | None]
    """Of the metrics, in their order."""
    params: Mapping[str, str]


@dataclass(frozen=True)
class Front:
    """The Pareto front."""

    metrics: Sequence[str]
    better: Sequence[str]
    """Of each metric, which side is good."""
    trials: Sequence[FrontTrial]
    drawn: str | None
    """All trials by the first two metrics, SVG."""


def front_of(found: Sequence[Mapping[str, Any]], trials: Sequence["TrackedRun"]) -> Front | None:
    """Return the front as it is shown; None for a search with one metric.

    Args:
        found: as `tidemill.training.tracking.whole_runs.read_front` returns it.
        trials: all of the search.
    """
    if not found:
        return None
    recorded = list(found[0]["metrics"])
    metrics = [metric_of(name) for name in recorded]
    names = {one.run_id: one.name or one.run_id[:8] for one in trials}
    chosen = [
        FrontTrial(
            str(one["run_id"]),
            names.get(one["run_id"], str(one["run_id"])[:8]),
            _shown(one["metrics"], recorded),
            short_params({name: str(value) for name, value in one["params"].items()}),
        )
        for one in found
    ]
    others = {
        one.name or "": _shown(one.metrics, recorded, "validation_")
        for one in trials
        if one.run_id not in {each.run_id for each in chosen}
    }
    points = [(one.name, one.numbers, True) for one in chosen]
    points += [(name, numbers, False) for name, numbers in list(others.items())[:_DRAWN]]
    return Front(
        [one.name for one in metrics], [one.better for one in metrics], chosen, _drawn(points, metrics)
    )


def _drawn(points: Sequence[tuple[str, Sequence[float | None], bool]], metrics: Sequence[Any]) -> str | None:
    across, up = metrics[0].name, metrics[1].name
    known = [
        FrontPoint(name, first, second, in_front)
        for name, (first, second, *_), in_front in points
        if first is not None and second is not None
    ]
    return str(front_scatter(f"Trials by {across} and {up}", across, up, known)) or None


def _shown(values: Mapping[str, Any], names: Sequence[str], rows: str = "") -> list[float | None]:
    """Return values of metrics as people know them; ``rows`` begins their names on record."""
    given = [values.get(f"{rows}{name}") for name in names]
    known = [value if isinstance(value, float | int) and math.isfinite(value) else None for value in given]
    return [metric_of(name).shown(value) for name, value in zip(names, known, strict=True)]


def short_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return parameters with numbers of four digits.

    >>> short_params({"learning_rate": "0.08918419461547462", "family": "boosting", "depth": "3"})
    {'learning_rate': '0.08918', 'family': 'boosting', 'depth': '3'}
    """
    return {
        name: f"{float(text):.4g}" if "." in text and _is_number(text) else text
        for name, text in params.items()
    }


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
