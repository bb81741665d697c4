"""Judges a number that matters to the business: the project's function of decision, label and features."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import ConfigError
from tidemill.monitoring.example_predictions import worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import KpiConfig
from tidemill.monitoring.quality.error_changes import clustering
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted
from tidemill.prediction_log.prediction_log import features_of
from tidemill.project.own_code import exits_as_errors
from tidemill.tasks.task import Task

__all__ = ["judge"]

_RARELY = 2.326
"""Standard deviations that chance exceeds once in a hundred windows."""
_SHARE = 0.1
_NAMED = 3
_ABOVE = "above the ceiling"


def judge(window: WindowRows, config: KpiConfig) -> Judged:
    """Measure the mean over the version's rows; beyond a limit, and more than chance brings, is alarming.

    Raises:
        ConfigError: the project's function is missing, fails, or returns something else than a number a row.
    """
    function = window.project.load(config.function)
    least = window.monitor.min_labelled if config.labels else window.monitor.min_rows
    now = _measured(config, function, window)
    if now is None or now.rows < least:
        what = "labels" if config.labels else "predictions by this version"
        return Judged(unjudged=f"{0 if now is None else now.rows} {what}, {least} are needed")
    value, error, rows = now.value, now.error, now.rows
    said = _beyond(value, error, config)
    relative = config.floor is None and config.ceiling is None
    before, allowed = None, config.max_drop
    if config.max_drop is not None or relative:
        before = _measured(config, function, window.before)
        if before is not None and before.rows < least:
            before = None
        if before is None and relative:
            return Judged(unjudged=f"the window before has no {least} rows to compare with")
    if before is not None:
        allowed = _SHARE * abs(before.value) if config.max_drop is None else config.max_drop
        drop = before.value - value
        if drop > allowed and drop > _RARELY * np.hypot(error, before.error):
            said.append(
                f"{drop:.4g} less than {before.value:.4g} in the window before (allowed: {allowed:.4g})"
            )
    name = config.function.rpartition(":")[2]
    figure = f"{name} is {value:.4g} (± {error:.2g}) on average over {counted(rows, 'prediction')}{now.alike}"
    details: dict[str, Any] = {
        "name": name,
        "value": value,
        "standard_error": error,
        "rows": rows,
        "before": None if before is None else before.value,
        "allowed": allowed,
        "floor": config.floor,
        "ceiling": config.ceiling,
        "about": [name],
    }
    limits = []
    if config.floor is not None:
        limits.append(f"floor {config.floor:g}{_chance(value < config.floor, said)}")
    if config.ceiling is not None:
        limits.append(f"ceiling {config.ceiling:g}{_chance(value > config.ceiling, said)}")
    if before is not None:
        fallen = _chance(allowed is not None and before.value - value > allowed, said)
        limits.append(f"{before.value:.4g} in the window before, {allowed:.3g} less is allowed{fallen}")
    elif config.max_drop is not None:
        limits.append(f"the window before has no {least} rows to compare with: a drop is not judged")
    return Judged(
        found=(Finding("kpi", f"{figure}: {'; '.join(said)}", details),) if said else (),
        results={"kpi": details},
        said="; ".join([figure, *limits]),
        examples={"kpi": now.furthest(high=bool(said) and said[0].startswith(_ABOVE))},
    )


def _chance(beyond: bool, said: Sequence[str]) -> str:
    """Return why a figure beyond its limit is no finding, or an empty text."""
    return ", within chance" if beyond and not said else ""


def _beyond(value: float, error: float, config: KpiConfig) -> list[str]:
    said = []
    if config.floor is not None and value + _RARELY * error < config.floor:
        said.append(f"below the floor of {config.floor:g}")
    if config.ceiling is not None and value - _RARELY * error > config.ceiling:
        said.append(f"{_ABOVE} of {config.ceiling:g}")
    return said


def _measured(config: KpiConfig, function: Any, window: WindowRows) -> "_Measured | None":
    """Return the function's mean over a window's rows; None without rows."""
    rows = window.task.labelled_in_log(window.labelled) if config.labels else window.own
    if rows.is_empty():
        return None
    decisions = [json.loads(text) if text else {} for text in rows["decision"]]
    labels = _labels(window.task, rows) if config.labels else [None] * rows.height
    try:
        with exits_as_errors():
            values = np.asarray(function(decisions, labels, features_of(rows)), dtype=np.float64)
    except Exception as error:  # the project's own code may raise anything
        raise ConfigError(
            f"{config.function} failed for {counted(rows.height, 'row')}: {type(error).__name__}: {error}",
            hint="mend the function; it takes decisions, labels and a frame of features, and returns numbers",
        ) from error
    if values.shape != (rows.height,):
        raise ConfigError(
            f"{config.function} returned shape {values.shape} for {counted(rows.height, 'row')}",
            hint="return one number a row; NaN for rows that do not count",
        )
    counted_in = np.isfinite(values)
    if not counted_in.any():
        return None
    ids, named = rows["prediction_id"].filter(pl.Series(counted_in)), set[str]()
    if window.task.kind in ("binary", "multiclass"):
        named = {label for label in labels if isinstance(label, str)}
    return _Measured(values[counted_in], ids, tuple(sorted(named)[:_NAMED]))


@dataclass(frozen=True)
class _Measured:
    """The function's values in a window."""

    values: npt.NDArray[np.float64]
    ids: pl.Series
    """Of their predictions."""
    named: tuple[str, ...] = ()
    """Classes that are text: some of those that the labels are."""

    @property
    def alike(self) -> str:
        """Return that all values are the same, as where labels are compared with what none of them is."""
        if self.rows == 1 or self.values.min() < self.values.max():
            return ""
        classes = f" (labels are {', '.join(map(repr, self.named))})" if self.named else ""
        return f", the same for each{classes}"

    @property
    def rows(self) -> int:
        """Return how many there are."""
        return len(self.values)

    @property
    def value(self) -> float:
        """Return their mean."""
        return float(self.values.mean())

    @property
    def error(self) -> float:
        """Return the standard error of the mean."""
        spread = float(self.values.std(ddof=1)) if self.rows > 1 else 0.0
        return float(spread / np.sqrt(self.rows) * clustering(self.values))

    def furthest(self, high: bool) -> list[str]:
        """Return the ids of the predictions with the greatest values, or with the least ones."""
        above = self.values - self.values.min() if high else self.values.max() - self.values
        return worst_ids(self.ids, pl.Series(above))


def _labels(task: Task, rows: pl.DataFrame) -> list[Any]:
    """Return labels as the project writes them."""
    if task.kind == "custom":
        return list(task.truth_of_log(rows))
    return task.written(task.labels_of_log(rows["label"], rows["target"]).values).to_list()
