"""Names metrics as people do. On record higher is always better: there losses have their sign changed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tidemill.tasks.task_names import loss_name

__all__ = ["Metric", "metric_of", "natural_values"]

_ROWS = ("holdout_", "validation_", "expected ")
"""What names of recorded metrics begin with: the rows that they are of, or that it is an estimate."""

_OTHER_END = {"_low": "_high", "_high": "_low"}
"""What names of the ends of intervals end with."""

_LONGEST = 1e15
"""From here on a float holds no digit behind the point."""


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    name: str
    sign: int
    """-1 where the record has a loss with its sign changed."""

    @property
    def better(self) -> str:
        """Return which side is good."""
        return "lower is better" if self.sign < 0 else "higher is better"

    @property
    def remark(self) -> str:
        """Return what a sentence says beside two values where less is better: nothing for the others."""
        return " (lower is better)" if self.sign < 0 else ""

    def shown(self, value: float | None) -> float | None:
        """Return a value as it is shown."""
        return None if value is None else self.sign * value + 0.0  # never -0

    def said(self, value: float, digits: int = 4) -> str:
        """Return the name and a value, given as it is on record.

        >>> metric_of("neg_mae").said(-12.3456), metric_of("holdout_roc_auc").said(0.7, 2)
        ('mae 12.3456', 'holdout_roc_auc 0.70')
        """
        return f"{self.name} {self.number(value, digits)}"

    def number(self, value: float, digits: int = 4) -> str:
        """Return a value, given as it is on record, with so many digits behind the point.

        One that would look like zero, or like a row of digits, has a power of ten.

        >>> [metric_of("neg_mae").number(value) for value in (-12.3456, 0.0, -3.2e-9, -1e300)]
        ['12.3456', '0.0000', '3.2e-09', '1e+300']
        """
        shown = self.sign * value + 0.0
        fits = shown == 0 or 0.5 * 10**-digits <= abs(shown) < _LONGEST or not math.isfinite(shown)
        return f"{shown:.{digits}f}" if fits else f"{shown:.{max(digits, 6)}g}"


def metric_of(name: str) -> Metric:
    """Return how a metric is shown, by its name on record: without the sign, and without its module.

    >>> metric_of("neg_mae"), metric_of("roc_auc").better, metric_of("metrics:profit").name
    (Metric(name='mae', sign=-1), 'higher is better', 'profit')
    >>> metric_of("holdout_neg_mae").name, metric_of("validation_pipelines.ranking:overlap").name
    ('holdout_mae', 'validation_overlap')
    >>> metric_of("expected neg_brier").name
    'expected brier'
    """
    rows = next((each for each in _ROWS if name.startswith(each)), "")
    short = name.removeprefix(rows).rpartition(":")[2]
    loss = loss_name(short)
    return Metric(rows + short, 1) if loss is None else Metric(rows + loss, -1)


def natural_values(found: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return recorded metrics by the names and with the signs that people know, in the order of their names.

    One whose name another metric has keeps that of the record. Of the interval of a loss, whose sign changes,
    the ends change places.

    >>> natural_values({"holdout_r2": 0.5, "holdout_neg_mae": -12.0})
    {'holdout_mae': 12.0, 'holdout_r2': 0.5}
    >>> natural_values({"neg_mae": -12.0, "mae": 3.0})
    {'mae': 3.0, 'neg_mae': -12.0}
    >>> natural_values({"neg_mae_low": -13.0, "neg_mae_high": -11.0, "r2_low": 0.1})
    {'mae_high': 13.0, 'mae_low': 11.0, 'r2_low': 0.1}
    """
    shown: dict[str, float | None] = {}
    for recorded, value in found.items():
        metric, name = metric_of(recorded), recorded
        if metric.sign < 0 and recorded.endswith(tuple(_OTHER_END)):
            end = "_" + recorded.rpartition("_")[2]
            name = recorded.removesuffix(end) + _OTHER_END[end]
            metric = metric_of(name)
        if metric.name != name and (metric.name in found or metric.name in shown):
            shown[recorded] = value
        else:
            shown[metric.name] = metric.shown(value)
    return dict(sorted(shown.items()))
