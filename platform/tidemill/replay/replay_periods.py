"""Sums a replay up by day or month: traffic, labels, quality, drift, alerts, turns."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tidemill.replay.traffic_replay import PlayedSpan
from tidemill.state.tables import Alert, MonitorRun, Turn
from tidemill.tasks.task import Task

__all__ = ["Facts", "periods"]

Facts = dict[str, Any]
"""Values for JSON."""

_MOST_DAYS = timedelta(days=45)
_INSTANT = timedelta(microseconds=1)


def periods(
    task: Task,
    spans: Sequence[PlayedSpan],
    answered: pl.DataFrame,
    turns: Sequence[Turn],
    runs: Sequence[MonitorRun],
    alerts: Sequence[Alert],
) -> list[Facts]:
    """Return what happened in each period: days if they are at most 45, else months.

    Days begin when the replay does. What happens at the end of a day belongs to that day.

    Args:
        task: whose metrics say how good the answers were.
        spans: the traffic.
        answered: the labelled predictions, as `read_labelled` gives them.
        turns: all turns.
        runs: all monitor runs.
        alerts: all alerts.
    """
    if not spans:
        return []
    named = _names(spans)
    answers = _by_period(answered, spans, named)
    found = []
    for name in dict.fromkeys(named(span.begins) for span in spans):
        of_period = [span for span in spans if named(span.begins) == name]
        rows = answers.get(name)
        watched = [run for run in runs if named(run.window_end - _INSTANT) == name]
        found.append(
            {
                "period": name,
                "predictions": sum(span.sent for span in of_period),
                "failed": sum(span.failed for span in of_period),
                "labels": sum(span.labels for span in of_period),
                "labelled": 0 if rows is None else rows.height,
                "versions": [] if rows is None else sorted(rows["version"].unique(), key=int),
                "metrics": {} if rows is None else _metrics(task, rows),
                "drift": _drift(watched),
                "alerts": [one.kind for one in alerts if named(one.raised_at - _INSTANT) == name],
                "turns": [
                    {"version": turn.version, "status": turn.status, "trigger": turn.trigger}
                    for turn in turns
                    if named(turn.as_of - _INSTANT) == name
                ],
            }
        )
    return found


def _names(spans: Sequence[PlayedSpan]) -> Callable[[datetime], str]:
    """Return a function that names the period of a moment; earlier moments belong to the first period."""
    start, end = spans[0].begins, spans[-1].ends
    offset = start - start.replace(hour=0, minute=0, second=0, microsecond=0)
    form = "%Y-%m-%d" if end - start <= _MOST_DAYS else "%Y-%m"
    return lambda moment: f"{max(moment, start) - offset:{form}}"


def _by_period(
    answered: pl.DataFrame, spans: Sequence[PlayedSpan], named: Callable[[datetime], str]
) -> Mapping[str, pl.DataFrame]:
    if answered.is_empty():
        return {}
    begins = pl.DataFrame(
        {"at": [span.begins for span in spans], "period": [named(span.begins) for span in spans]},
        schema_overrides={"at": answered.schema["at"]},
    )
    rows = answered.sort("at").join_asof(begins, on="at")
    return {str(name): group for (name,), group in rows.group_by("period", maintain_order=True)}


def _metrics(task: Task, rows: pl.DataFrame) -> dict[str, float | None]:
    found = task.evaluate(task.truth_of_log(rows), task.given_in_log(rows))
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _drift(runs: Sequence[MonitorRun]) -> Facts | None:
    """Return the largest number of features that drifted in one run of a monitor; None if none judged."""
    judged = [run.results for run in runs if "findings" in run.results]
    if not judged:
        return None
    features = [drift for results in judged if (drift := results.get("data_drift")) is not None]
    most = max(features, key=lambda drift: len(drift["drifted"]), default=None)
    kinds = {finding["kind"] for results in judged for finding in results["findings"]}
    return {
        "drifted": [] if most is None else most["drifted"],
        "features": 0 if most is None else len(most["columns"]),
        "answers": "prediction_drift" in kinds,
        "alarming": sorted(kinds),
    }
