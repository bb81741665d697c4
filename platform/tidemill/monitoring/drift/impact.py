"""Orders drifted features by what their drift does to a model. Pure.

The impact of a feature is its distance × its attribution × the sign of what it does to the loss.

- The attribution of a feature is how far the model's answers move when its values are shuffled among rows of
  the reference, in standard deviations of the answers (permutation importance, Fisher, Rudin and Dominici,
  JMLR 20, 2019, of the answers themselves).
- What a feature's drift alone does to the loss is estimated by weighing the hold-out's rows so that the
  feature has the window's distribution. Drift that chance does not explain away and that makes the loss
  smaller has a negative impact; anything else counts as harm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.column_pair import FEW, as_comparable
from tidemill.monitoring.drift.drift_columns import ColumnDrift

__all__ = ["answer_attributions", "loss_change", "with_impact"]

Floats = npt.NDArray[np.float64]

_MOST_ROWS = 1_000
_BINS = 10
_UNKNOWN = 0.1
"""With a larger share of values that the hold-out does not have, nothing can be said of the loss."""
_SURE = 2.0
_GONE = 4.0
"""Thresholds that a column counts for that cannot be compared."""


def answer_attributions(
    answer: Callable[[pl.DataFrame], Floats], features: pl.DataFrame, names: Sequence[str]
) -> dict[str, float]:
    """Return how far answers move when a feature's values are shuffled, in their standard deviations.

    Args:
        answer: the model: features to numbers, shape (rows,) or (rows, classes).
        features: of rows of the reference, with all columns that the model takes.
        names: of the features to shuffle.

    >>> rows = pl.DataFrame({"a": [0.0, 1.0] * 50, "b": [0.0, 1.0] * 50})
    >>> found = answer_attributions(lambda rows: rows["a"].to_numpy(), rows, ["a", "b"])
    >>> found["a"] > 0.5, found["b"]
    (True, 0.0)
    """
    chosen = np.random.default_rng(0).permutation(features.height)[:_MOST_ROWS]
    rows = features[np.sort(chosen)]
    places = np.random.default_rng(1).permutation(rows.height)
    said = answer(rows)
    spread = float(np.mean(said.std(axis=0))) or 1.0
    found = {}
    for name in names:
        shuffled = rows.with_columns(rows[name].gather(places))
        found[name] = float(np.abs(answer(shuffled) - said).mean()) / spread
    return found


def loss_change(before: pl.Series, losses: Floats, now: pl.Series) -> float | None:
    """Return by how much a feature's drift alone changes the mean loss; None where that cannot be told.

    It is 0 where it lies within two standard errors.

    Args:
        before: the feature's values in the hold-out.
        losses: of the same rows, finite.
        now: its values in the window.

    >>> wind = pl.Series([float(n % 50) for n in range(1000)])
    >>> losses = wind.to_numpy() / 50
    >>> [round(loss_change(wind, losses, wind.sort().slice(at, 300)), 2) for at in (0, 700)]
    [-0.35, 0.35]
    """
    sides = _binned(before, now)
    if sides is None or not len(losses):
        return None
    old, new = sides
    bins = int(old.max()) + 1
    counts = np.bincount(old, minlength=bins)
    if (new >= bins).mean() > _UNKNOWN:
        return None
    wanted = np.bincount(new[new < bins], minlength=bins)
    if (wanted[counts == 0].sum() / max(wanted.sum(), 1)) > _UNKNOWN:
        return None
    ratio = (wanted / max(wanted.sum(), 1)) / (np.maximum(counts, 1) / len(old))
    weights = ratio[old]
    if not weights.sum():
        return None
    mean = float(np.average(losses, weights=weights))
    of_bins = np.bincount(old, weights=losses, minlength=bins) / np.maximum(counts, 1)
    between = float(np.average((of_bins - mean) ** 2, weights=wanted))
    variance = float((weights**2 * (losses - mean) ** 2).sum()) / float(weights.sum()) ** 2
    error = float(np.sqrt(variance + between / len(new)))
    change = mean - float(losses.mean())
    return change if abs(change) > _SURE * error else 0.0


def _binned(before: pl.Series, now: pl.Series) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Return the number of each value's bin; values that ``before`` does not have are beyond all bins."""
    old, new = as_comparable(before), as_comparable(now)
    if old.dtype != new.dtype or old.null_count() == len(old) or not len(new):
        return None
    if old.dtype == pl.Float64 and old.n_unique() > FEW:
        known = old.drop_nulls().to_numpy()
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
        sides = []
        for side in (old, new):
            values = side.fill_null(float("nan")).to_numpy()
            place = np.clip(np.searchsorted(edges, values, side="right"), 1, len(edges) - 1)
            outside = (values < edges[0]) | (values > edges[-1])
            sides.append(np.where(np.isnan(values), 0, np.where(outside, len(edges), place)))
        return sides[0], sides[1]
    codes = old.drop_nulls().unique().sort().to_frame("value").with_row_index("bin", offset=1)
    found = []
    for side in (old, new):
        joined = side.to_frame("value").join(codes, on="value", how="left", maintain_order="left")
        unseen = pl.when(pl.col("value").is_null()).then(0).otherwise(codes.height + 1)
        found.append(joined.select(pl.coalesce("bin", unseen)).to_series().cast(pl.Int64).to_numpy())
    return found[0], found[1]


def with_impact(
    columns: Sequence[ColumnDrift],
    attributions: Mapping[str, float],
    changes: Mapping[str, float | None],
) -> tuple[ColumnDrift, ...]:
    """Return columns with their impact, where an attribution is known.

    Args:
        columns: as they were compared.
        attributions: of features, as `answer_attributions` gives them.
        changes: of the loss, as `loss_change` gives them.
    """
    return tuple(_with_impact(column, attributions, changes) for column in columns)


def _with_impact(
    column: ColumnDrift, attributions: Mapping[str, float], changes: Mapping[str, float | None]
) -> ColumnDrift:
    if column.name not in attributions:
        return column
    attribution, change = attributions[column.name], changes.get(column.name)
    far = _GONE if column.value is None else column.value / column.threshold
    sign = -1.0 if change is not None and change < 0 else 1.0
    return replace(column, attribution=attribution, loss_change=change, impact=sign * far * attribution)
