"""Reads from runs of monitors what the card of a version says of its service."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tidemill.registry.cards.model_card import CardCalibration, CardGroup, LiveFigure
from tidemill.state.record_reader import Row
from tidemill.tasks.natural_metric import metric_of

__all__ = ["calibration_in", "groups_in", "live_in"]

_NORMAL = 1.645
"""Standard errors on each side that hold 90 %."""


def calibration_in(runs: Sequence[Row]) -> tuple[CardCalibration, ...]:
    """Return the calibration of the last run that measured it; of intervals of custom answers none."""
    for run in runs:
        found = run.results.get("calibration") or {}
        if "frequency" in found:
            on = f"{run.monitor}, window until {run.window_end:%Y-%m-%d}"
            return (CardCalibration(on, found["value"], found.get("chance"), found["rows"]),)
    return ()


def groups_in(
    runs: Sequence[Row], slices: tuple[datetime, Mapping[str, Any]] | None
) -> tuple[CardGroup, ...]:
    """Return the slices and the groups of the last runs that compared any."""
    at, found = slices or (None, {})
    groups = [] if at is None else [_slice(one, found.get("metric"), at) for one in found.get("slices", ())]
    for run in runs:
        if compared := (run.results.get("fairness") or {}).get("groups"):
            groups += [_group(one, run.at) for one in compared]
            break
    return tuple(groups)


def live_in(runs: Sequence[Row]) -> tuple[LiveFigure, ...]:
    """Return the quality that each monitor measured last, and that it estimated last."""
    found: dict[tuple[str, str], LiveFigure] = {}
    for run in runs:
        for one in _measured(run):
            found.setdefault((one.monitor, one.how), one)
    return tuple(found[key] for key in sorted(found))


def _measured(run: Row) -> Iterator[LiveFigure]:
    quality = run.results.get("quality") or {}
    value, error = quality.get("value"), quality.get("standard_error")
    if value is not None:
        ends = () if error is None else (value - _NORMAL * error, value + _NORMAL * error)
        rows = (quality.get("overall") or {}).get("rows", run.labelled)
        yield _figure(run, "measured", quality["metric"], value, ends, rows)
    estimated = run.results.get("estimated_quality") or {}
    if estimated.get("value") is not None:
        ends = tuple(end for end in (estimated.get("low"), estimated.get("high")) if end is not None)
        yield _figure(run, "estimated", estimated["metric"], estimated["value"], ends, estimated["rows"])


def _figure(run: Row, how: str, recorded: str, value: float, ends: Sequence[float], rows: int) -> LiveFigure:
    metric = metric_of(recorded)
    low, high = sorted(metric.sign * end for end in ends) if len(ends) == 2 else (None, None)
    window = run.window_start, run.window_end
    return LiveFigure(run.monitor, how, metric.name, metric.sign * value + 0.0, low, high, rows, *window)


def _slice(found: Mapping[str, Any], of_all: str | None, at: datetime) -> CardGroup:
    metric = metric_of(str(found.get("metric") or of_all))
    value, expected = (metric.shown(found.get(name)) for name in ("value", "expected"))
    rows = found.get("rows", found.get("labelled"))
    return CardGroup("slice", str(found.get("name")), metric.name, value, expected, rows, at)


def _group(found: Mapping[str, Any], at: datetime) -> CardGroup:
    metric = metric_of(str(found["what"]))
    value, others = (metric.shown(found.get(name)) for name in ("value", "others"))
    return CardGroup(
        "fairness", f"{found['column']} {found['group']}", metric.name, value, others, found.get("rows"), at
    )
