"""Tells whether a model can tell a window's rows from those of a reference, by all columns together. Pure.

Each column may have its old distribution while their joint one has changed: a correlation has turned, say.
A classifier is taught which rows are the window's and asked about others; the area under its ROC curve is 0.5
if both samples come from one source (Lopez-Paz and Oquab, ICLR 2017), and its error is DeLong's (Biometrics
44, 1988). The window is cut into parts by time: a part is judged by what the other parts taught, so that rows
of one day that resemble each other do not count as a change.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.feature_matrices import FeatureMatrices, feature_matrices
from tidemill.threads import one_thread_to_compute

__all__ = ["Separation", "separation"]

Floats = npt.NDArray[np.float64]

_FOLDS = 3
_MOST_ROWS = 4_000
_LEAST_ROWS = 30
"""Of a side; with fewer a third of them says nothing."""
_SHOWN = 5


@dataclass(frozen=True)
class Separation:
    """How well the rows of two samples can be told apart."""

    auc: float | None
    """0.5: not at all; 1: every one. None if it was not measured; see ``note``."""
    low: float | None = None
    """The area is between ``low`` and ``high`` for 95 of 100 such samples."""
    high: float | None = None
    p_value: float | None = None
    """How rarely chance alone brings such an area."""
    rows: tuple[int, int] = (0, 0)
    """Rows of both that were looked at."""
    carried_by: Mapping[str, float] = field(default_factory=dict)
    """Feature → the area that is lost without what it says, the most first; only where the area is great."""
    note: str | None = None
    unlike: tuple[int, ...] = ()
    """Places of the window's rows that are told apart most surely, the surest first; only likewise."""


def separation(before: pl.DataFrame, now: pl.DataFrame, threshold: float) -> Separation:
    """Measure how well the rows of a window can be told from a reference's.

    Args:
        before: features of the reference, in any order.
        now: features of the window, in the order of time.
        threshold: from this area on it is measured which features carry it.

    >>> rng = np.random.default_rng(1)
    >>> sides = [pl.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400)}) for _ in range(2)]
    >>> separation(*sides, 0.6).auc < 0.6, separation(sides[0], sides[1] + 1.0, 0.6).auc > 0.8
    (True, True)
    """
    places = np.sort(_mixed(now.height))
    before, now = _at(before, _mixed(before.height)), _at(now, places)
    rows = before.height, now.height
    if min(rows) < _LEAST_ROWS:
        return Separation(None, rows=rows, note=f"{min(rows)} rows, {_LEAST_ROWS} are needed")
    coded = feature_matrices(before, now, detailed=True)
    if not coded.names:
        return Separation(None, rows=rows, note="no feature that both have can be compared")
    import sklearn.ensemble  # noqa: F401 - it takes a second, and its threads are limited here

    with one_thread_to_compute():
        return _told_apart(coded, places, rows, threshold)


def _told_apart(
    coded: FeatureMatrices, places: npt.NDArray[np.int64], rows: tuple[int, int], threshold: float
) -> Separation:
    parts = [_Part.of(coded.before, coded.now, coded.categories, fold) for fold in range(_FOLDS)]
    areas = [_area(part.of_before, part.of_now) for part in parts]
    auc = float(np.mean([area for area, _ in areas]))
    error = math.sqrt(sum(variance for _, variance in areas)) / _FOLDS
    p_value = NormalDist().cdf(-(auc - 0.5) / error) if error else float(auc <= 0.5)
    carried = _carried(parts, coded.names) if auc >= threshold else {}
    low, high = max(0.0, auc - 1.96 * error), min(1.0, auc + 1.96 * error)
    unlike = places[_surest(parts)] if auc >= threshold else ()
    return Separation(auc, low, high, p_value, rows, carried, unlike=tuple(int(place) for place in unlike))


@dataclass(frozen=True)
class _Part:
    """A part of both samples, and the model that the others taught."""

    model: Any
    before: Floats
    now: Floats
    of_before: Floats
    """What the model says of each row."""
    of_now: Floats

    @classmethod
    def of(cls, before: Floats, now: Floats, categories: tuple[int, ...], fold: int) -> "_Part":
        from sklearn.ensemble import HistGradientBoostingClassifier

        apart = [np.arange(len(side)) * _FOLDS // len(side) == fold for side in (before, now)]
        known = np.concatenate([before[~apart[0]], now[~apart[1]]])
        is_now = np.repeat([0, 1], [int((~each).sum()) for each in apart])
        model = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, categorical_features=list(categories), random_state=0
        )
        model.fit(np.where(np.isnan(known).all(axis=0), 0.0, known), is_now)  # it takes no empty column
        sides = before[apart[0]], now[apart[1]]
        said = [model.predict_proba(side)[:, 1] for side in sides]
        return cls(model, *sides, *said)


def _carried(parts: list[_Part], names: tuple[str, ...]) -> dict[str, float]:
    """Return for each feature how much less is told apart when its values are shuffled, the most first."""
    rng, lost = np.random.default_rng(0), dict[str, float]()
    for name in dict.fromkeys(names):
        places = [place for place, one in enumerate(names) if one == name]
        drops = []
        for part in parts:
            both = np.concatenate([part.before, part.now])
            both[:, places] = both[rng.permutation(len(both))][:, places]
            said = part.model.predict_proba(both)[:, 1]
            cut = len(part.before)
            drops.append(_area(part.of_before, part.of_now)[0] - _area(said[:cut], said[cut:])[0])
        lost[name] = float(np.mean(drops))
    return {name: drop for name, drop in sorted(lost.items(), key=lambda one: -one[1]) if drop > 0.005}


def _area(before: Floats, now: Floats) -> tuple[float, float]:
    """Return the area under the ROC curve, and its variance by DeLong."""
    above = _share_below(before, now)
    below = 1 - _share_below(now, before)
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    return float(above.mean()), float(variance)


def _share_below(of: Floats, values: Floats) -> Floats:
    """Return for each value the share of ``of`` that is smaller; equal ones count half."""
    ordered = np.sort(of)
    smaller = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(smaller / (2 * len(of)), dtype=np.float64)


def _surest(parts: list[_Part]) -> npt.NDArray[np.int64]:
    """Return the places in the window's sample that are told apart most surely, the surest first."""
    return np.argsort(-np.concatenate([part.of_now for part in parts]), kind="stable")[:_SHOWN]


def _mixed(rows: int) -> npt.NDArray[np.int64]:
    """Return the places of at most as many rows as a model needs, mixed."""
    return np.random.default_rng(0).permutation(rows)[:_MOST_ROWS]


def _at(rows: pl.DataFrame, places: npt.NDArray[np.int64]) -> pl.DataFrame:
    return rows[places] if rows.width else rows
