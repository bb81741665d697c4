"""Compares errors of a window with those on the hold-out for inputs such as the window's. Pure.

Inputs that move make errors larger or smaller by themselves: a model is seldom as good everywhere. So a model
learns from the hold-out how large errors are for which features and answers, and what each row's loss is
beyond that is compared; rows of the hold-out count the more, the more their inputs are like the window's
(doubly robust estimation: Bang and Robins, Biometrics 61, 2005). Rows with inputs that the hold-out hardly
has tell nothing: no error is known for them.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tidemill.threads import one_thread_to_compute

__all__ = ["LikeInputs", "like_inputs"]

Floats = npt.NDArray[np.float64]

_FOLDS = 4
_NEW = 0.9
"""A row that is the window's with this probability, of as many rows of both, has inputs of its own."""
_CALENDAR = 0.8
"""A column in which as many of the window's rows are beyond all of the hold-out's tells nothing of either."""


class LikeInputs(NamedTuple):
    """Losses beyond what the inputs alone bring, each with the mean loss that they bring added."""

    holdout: Floats
    """Of rows of the hold-out, drawn by how much they are like the window's."""
    window: Floats
    """Of the window's rows with inputs that the hold-out has, in their order."""
    known: npt.NDArray[np.bool_]
    """Which rows of the window these are."""


def like_inputs(
    before: Floats, holdout: Floats, now: Floats, window: Floats, categories: list[int]
) -> LikeInputs:
    """Return the losses of both as they would be for the same inputs.

    Args:
        before: features and answers as numbers, shape (rows, columns), of the hold-out.
        holdout: its losses.
        now: features and answers of the window, in the order of time.
        window: its losses.
        categories: places of the columns that are categories.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kept = _lasting(before, now, categories)
    before, now = before[:, kept], now[:, kept]
    places = [number for number, place in enumerate(kept) if place in categories]
    usual, expected = np.zeros(len(before)), np.zeros(len(now))
    odds, said = np.zeros(len(before)), np.zeros(len(now))

    def model(kind: Any, rows: Floats, target: npt.NDArray[Any]) -> Any:
        made = kind(max_iter=60, max_leaf_nodes=15, categorical_features=places, random_state=0)
        return made.fit(np.where(np.isnan(rows).all(axis=0), 0.0, rows), target)  # it takes no empty column

    with one_thread_to_compute():
        for fold in range(_FOLDS):
            apart = [np.arange(len(side)) * _FOLDS // len(side) == fold for side in (before, now)]
            fitted = before[~apart[0]], now[~apart[1]]
            sizes = model(HistGradientBoostingRegressor, fitted[0], holdout[~apart[0]])
            usual[apart[0]] = sizes.predict(before[apart[0]])
            expected += sizes.predict(now) / _FOLDS
            is_now = np.repeat([0, 1], [len(side) for side in fitted])
            tells = model(HistGradientBoostingClassifier, np.concatenate(fitted), is_now)
            for chances, rows, inside in ((odds, before, apart[0]), (said, now, apart[1])):
                chances[inside] = _of_as_many(tells.predict_proba(rows[inside])[:, 1], is_now.mean())
    known, odds = said <= _NEW, np.minimum(odds, _NEW)
    weights = odds / (1 - odds)
    weights /= weights.sum()
    mean = float(weights @ usual)
    alike = max(int(1 / (weights**2).sum()), 1)  # so many rows of equal weight say as much (L. Kish)
    drawn = np.random.default_rng(0).choice(len(holdout), alike, p=weights)
    return LikeInputs((holdout - usual)[drawn] + mean, (window - expected)[known] + mean, known)


def _of_as_many(chances: Floats, share: float) -> Floats:
    """Return probabilities of a class as they are where half of the rows are of it, not a share.

    Weights of the rows do the same, and scikit-learn takes twice as long to fit them.

    >>> _of_as_many(np.array([0.2, 0.5]), 0.2).round(3).tolist()
    [0.5, 0.8]
    """
    yes, no = chances * (1 - share), (1 - chances) * share
    return yes / (yes + no)


def _lasting(before: Floats, now: Floats, categories: list[int]) -> list[int]:
    """Return the places of columns without those that go on with time, as a year does, or are missing."""
    found = []
    for place in range(before.shape[1]):
        known, values = before[:, place], now[:, place]
        missing = float(np.isnan(known).mean())
        if missing == 1:
            continue
        beyond = np.isnan(values) & (missing < 1 - _CALENDAR)
        if place not in categories:
            beyond |= (values > np.nanmax(known)) | (values < np.nanmin(known))
        if beyond.mean() < _CALENDAR:
            found.append(place)
    return found
