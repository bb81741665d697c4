"""Measures the drift of each column of a window from a reference, and finds broken columns. Pure.

How a column is compared, in this order:

==================================================  =================================================
the column                                          is
==================================================  =================================================
is not in the reference, or not in the window       not compared; has drifted (the schema changed)
has no value in the reference and none in the window  not compared; has not drifted
has no value in one of them                         not compared; has drifted
holds numbers in one and text in the other          not compared; has drifted
has values of which no text can be made, in both    not compared; has not drifted
holds numbers, more than 20 different ones          Wasserstein distance in standard deviations
holds fewer different numbers, or text              Jensen–Shannon distance
holds lists of the same length                      `list_values.list_distance`
holds lists of another length than in the reference  not compared; has drifted
==================================================  =================================================

In addition, a column that can be compared has drifted when its share of missing values (null, NaN, infinite)
moved by the threshold for that: the distances look only at the values that are there. A column that is
constant in the reference has few different values: while the window holds the same value, its distance is 0.

A column is broken, and one broken column is enough for an alert, when

- it has drifted and cannot be compared;
- its distance, or the change in its share of missing values, is ``severe`` times the threshold;
- it is constant in the window, at a value that at most four fifths of the reference's rows have;
- at least a tenth of the window's rows have values that no row of the reference has, among columns that are
  compared by Jensen–Shannon. Where the reference has many values once, as many are expected to be new
  (I. J. Good, Biometrika 40, 1953), and a tenth more are needed;
- its numbers are typically ten times as large or small as in the reference, or further apart than the
  reference's own sizes: another unit, which a few very large values would hide from the distance;
- its numbers are those of the reference times a factor of 1.5 or more (or its inverse), further than the
  threshold allows or told by single numbers that recur: another unit, such as miles for kilometres
  (`unit_change`). Where they are the reference's own numbers all the same, or windows before show that they
  grew bit by bit (`slow_moves`), the column is not at fault.

None of this counts while chance alone may have brought it about (`chance`): few rows differ from many, the
more the rarer a column has values and the further they stray.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tidemill.monitoring.drift.column_pair import FEW, ColumnPair, Method
from tidemill.monitoring.drift.knowing_versions import knowing
from tidemill.monitoring.kind_sections import DataDriftConfig

__all__ = [
    "USUAL_IN_TRAINING",
    "ColumnDrift",
    "Comparison",
    "compare",
    "compare_categories",
    "compare_column",
    "compare_lists",
    "compare_scores",
    "scores_config",
    "threshold_of",
]


_FAULTY = ("missing", "constant", "typical size", "spread as")
"""How notes begin that say what is wrong with values (`ColumnPair`)."""
USUAL_IN_TRAINING = "usual in training: "
"""How the note of a column begins that differs from earlier predictions, and not from training rows."""


@dataclass(frozen=True)
class ColumnDrift:
    """The drift of one column."""

    name: str
    method: Method | None
    """None if it could not be compared; see ``note``."""
    value: float | None
    """The distance."""
    threshold: float
    drifted: bool
    reference_mean: float | None
    """Mean of numbers; None for categories."""
    current_mean: float | None
    reference_missing: float
    """Share of missing values, 0 to 1."""
    current_missing: float
    note: str | None
    """Why there is no distance, or what else has changed."""
    broken: str | None = None
    """Why this column alone is alarming; None if it is not."""
    attribution: float | None = None
    """How far the model's answers move when its values are shuffled, in their standard deviations."""
    loss_change: float | None = None
    """By how much its drift alone changes the mean loss, by the hold-out; None where that cannot be told."""
    impact: float | None = None
    """Distance in thresholds × attribution; negative where the drift makes the loss smaller (`impact`)."""

    @property
    def at_fault(self) -> bool:
        """Return whether its values themselves look wrong: missing, one only, of another type or unit.

        Far values and new categories may be what the world is like by now. Values that were missing and are
        there now are no fault, nor are those that training rows have, too.
        """
        if self.broken is None or self.broken.startswith(USUAL_IN_TRAINING):
            return False
        if self.value is None:
            return self.reference_missing < 1
        if self.broken.startswith("missing"):
            return self.current_missing > self.reference_missing
        return self.broken.startswith(_FAULTY)


@dataclass(frozen=True)
class Comparison:
    """The drift of a window from the reference."""

    columns: tuple[ColumnDrift, ...]
    prediction: ColumnDrift | None
    reference_rows: int
    current_rows: int
    categories: ColumnDrift | None = None
    """Of the predicted classes, where answers are classes."""

    @property
    def of_answers(self) -> tuple[ColumnDrift, ...]:
        """Return the drift of the scores, and of the predicted classes."""
        return tuple(each for each in (self.prediction, self.categories) if each is not None)

    @property
    def by_excess(self) -> tuple[ColumnDrift, ...]:
        """Return the columns: broken ones, drifted ones and others, each by impact, or else by distance."""
        return tuple(sorted(self.columns, key=_excess, reverse=True))

    @property
    def drifted(self) -> tuple[str, ...]:
        """Return the names of the columns that have drifted, in the order of `by_excess`."""
        return tuple(column.name for column in self.by_excess if column.drifted)

    @property
    def not_compared(self) -> dict[str, str]:
        """Return the names of the columns that could not be compared, and why."""
        return {column.name: column.note or "" for column in self.columns if column.method is None}

    @property
    def broken(self) -> tuple[ColumnDrift, ...]:
        """Return the columns that are alarming alone, in the order of `by_excess`."""
        return tuple(column for column in self.by_excess if column.broken is not None)

    @property
    def share(self) -> float:
        """Return the share of the columns that have drifted; 0 when there are none."""
        return len(self.drifted) / len(self.columns) if self.columns else 0.0


def _excess(column: ColumnDrift) -> tuple[bool, bool, float, float]:
    distance = column.value / column.threshold if column.value is not None else float("inf")
    impact = float("inf") if column.impact is None else column.impact
    return column.broken is not None, column.drifted, impact, distance


def compare(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    config: DataDriftConfig,
    served_by: pl.Series,
    own: str,
    times: int = 1,
    served_before: pl.Series | None = None,
    quiet: Mapping[str, ColumnDrift] | None = None,
) -> tuple[ColumnDrift, ...]:
    """Compare the columns that the reference has, except the excluded ones.

    Args:
        reference: the features of rows of the training set.
        current: the features of the predictions of a window.
        config: thresholds.
        served_by: the version that answered each row of ``current``. A version without any value in a column
            was made for other features: its rows do not count as missing there.
        own: the version that is monitored; its rows always count.
        times: how many such comparisons are made, each of which chance must be allowed for.
        served_before: the version that answered each row of ``reference``, if those were predictions. Columns
            that none of them was made for are not compared.
        quiet: columns that are known not to have drifted, which ``current`` need not have.

    >>> before = pl.DataFrame({"wind": [float(n) for n in range(100)]})
    >>> ones = pl.Series(["1"] * 100)
    >>> [column.drifted for column in compare(before, before + 1000.0, DataDriftConfig(), ones, "1")]
    [True]
    """
    found, alone = [], bool((served_by.cast(pl.String) == own).all())
    for name in reference.columns:
        if quiet and name in quiet and name not in config.exclude:
            found.append(quiet[name])
        elif name not in config.exclude:
            now = current.get_column(name, default=None)
            if now is not None:
                now = now.alias("now")  # Polars would read a name like ^score$ as a pattern
            if now is not None and not alone:
                now = now.filter(knowing(now, served_by, own))
            before = reference[name].alias("before")
            if served_before is not None:
                before = before.filter(knowing(before, served_before, own))
                if before.is_empty() and len(served_before):
                    continue
            found.append(compare_column(name, before, now, config, columns=times * len(reference.columns)))
    return tuple(found)


def compare_scores(before: pl.Series, now: pl.Series, threshold: float) -> ColumnDrift:
    """Compare a version's scores with those on its reference, always as numbers, even if they are few."""
    return compare_column("score", before, now, scores_config(threshold), few=1)


def scores_config(threshold: float) -> DataDriftConfig:
    """Return thresholds for scores."""
    return DataDriftConfig(numerical=threshold, categorical=min(threshold, 1.0))


def compare_lists(before: pl.Series, now: pl.Series | None, threshold: float) -> ColumnDrift:
    """Compare answers that are lists of numbers with those on the reference."""
    return compare_column("answer", before, now, DataDriftConfig(numerical=threshold))


def compare_categories(before: pl.Series, now: pl.Series, threshold: float) -> ColumnDrift:
    """Compare the classes that a version predicts with those that it predicted on its reference."""
    return compare_column("class", before, now, DataDriftConfig(categorical=threshold))


def compare_column(
    name: str,
    before: pl.Series | None,
    now: pl.Series | None,
    config: DataDriftConfig,
    few: int = FEW,
    columns: int = 1,
) -> ColumnDrift:
    """Compare one column; if it cannot be compared, its note says why.

    Args:
        name: of the column.
        before: its values in the reference; none if it has no such column.
        now: its values in the window; likewise.
        config: thresholds.
        few: numbers with no more different values than this are compared as categories.
        columns: how many columns are compared: the more, the rarer must a difference be that counts.

    >>> column = compare_column("a", pl.Series([1.0, 2.0] * 9), pl.Series([2.0, None] * 9), DataDriftConfig())
    >>> column.method, column.drifted, column.note
    ('jensenshannon', True, 'missing: 0.0% before, 50.0% now')
    """
    pair = ColumnPair.of(before, now)
    method, note = pair.method(few)
    value = pair.distance(method)
    threshold = threshold_of(name, method, config)
    moved = abs(pair.missing_now - pair.missing_before)
    drifted = method is None and not pair.missing_before == pair.missing_now == 1.0
    if drifted and pair.empty:
        drifted = pair.gone(columns)
    if method is not None and moved >= config.missing and pair.gone(columns):
        drifted, note = True, f"missing: {pair.missing_before:.1%} before, {pair.missing_now:.1%} now"
    broken = note if drifted and (method is None or moved >= config.severe * config.missing) else None
    if value is not None:
        broken = broken or pair.constant(columns)
        broken = broken or (pair.unseen(columns) if method == "jensenshannon" else pair.rescaled(columns))
        if broken is None and method == "wasserstein":
            resized = pair.resized
            broken = pair.on_other_scale() if resized or value >= config.severe * threshold else None
            broken = broken or (pair.multiplied(threshold, columns) if resized else None)
        if value >= threshold and pair.far(method, value, columns):
            drifted = True
            if broken is None and value >= config.severe * threshold:
                broken = f"distance {value:.3g}, alert at {config.severe * threshold:.3g}"
    return ColumnDrift(
        name=name,
        method=method,
        value=value,
        threshold=threshold,
        drifted=drifted or broken is not None,
        reference_mean=_mean(pair.before),
        current_mean=_mean(pair.now),
        reference_missing=pair.missing_before,
        current_missing=pair.missing_now,
        note=note or broken,
        broken=broken,
    )


def threshold_of(name: str, method: Method | None, config: DataDriftConfig) -> float:
    """Return the distance at which a column has drifted."""
    default = config.numerical if method == "wasserstein" else config.categorical
    return config.thresholds.get(name, default)


def _mean(column: pl.Series | None) -> float | None:
    mean = column.mean() if column is not None and column.dtype == pl.Float64 else None
    return float(mean) if isinstance(mean, (int, float)) and np.isfinite(mean) else None
