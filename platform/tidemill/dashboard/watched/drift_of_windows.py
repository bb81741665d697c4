"""Arranges the drift of features in windows as rows of a heat map."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.dashboard.charts.heat_map import HeatCell, HeatRow
from tidemill.dashboard.watched.metric_words import number_in

__all__ = ["cell_of", "columns_in", "drift_rows"]

Facts = Mapping[str, Any]


def columns_in(results: Facts) -> dict[str, Facts]:
    """Return what a run has on record of each feature, in its order: the worst first."""
    found = results.get("data_drift")
    columns = found.get("columns") if isinstance(found, Mapping) else None
    return {str(each["name"]): each for each in columns or () if isinstance(each, Mapping) and "name" in each}


def drift_rows(runs: Sequence[Any], most: int) -> tuple[list[HeatRow], int]:
    """Return the rows of a heat map, ordered by impact, and how many features there are.

    Args:
        runs: one a column, in order of time.
        most: how many rows.
    """
    windows = [columns_in(run.results) for run in runs]
    names = dict.fromkeys(name for columns in windows for name in columns)
    order = sorted(names, key=lambda name: _weight(name, windows), reverse=True)
    rows = [
        HeatRow(name, [cell_of(columns[name]) if name in columns else None for columns in windows])
        for name in order[:most]
    ]
    return rows, len(order)


def cell_of(column: Facts) -> HeatCell:
    """Return one feature's drift in one window.

    >>> cell_of({"name": "wind", "value": 0.3, "threshold": 0.1, "drifted": True, "broken": None}).said
    '0.3, limit 0.1: drifted'
    """
    value, threshold = number_in(column, "value"), number_in(column, "threshold")
    ratio = value / threshold if value is not None and threshold else None
    drifted, broken = bool(column.get("drifted")), column.get("broken") is not None
    if value is None:
        said = str(column.get("note") or "not compared")
    else:
        said = f"{value:.3g}" + (f", limit {threshold:.3g}" if threshold is not None else "")
        said += ": far off" if broken else ": drifted" if drifted else ""
    impact = number_in(column, "impact")
    return HeatCell(ratio, drifted, broken, said + ("" if impact is None else f", impact {impact:.2g}"))


def _weight(name: str, windows: Sequence[Mapping[str, Facts]]) -> tuple[float, float]:
    """Return a feature's greatest impact on the model in these windows, then its greatest distance."""
    cells = [columns[name] for columns in windows if name in columns]
    impacts = [abs(impact) for each in cells if (impact := number_in(each, "impact")) is not None]
    ratios = [cell.ratio if cell.ratio is not None else 1.0 for cell in map(cell_of, cells)]
    return max(impacts, default=0.0), max(ratios)
