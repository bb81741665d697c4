"""What families of trees do in a round: grow their ensemble on, or begin a greater one anew."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.distributed import Saved
from tidemill.training.families.kept_estimators import restored, state_of
from tidemill.training.families.preparation import fit_each

__all__ = ["begin_anew", "grow_on"]

_Rounds = Iterator[tuple[Pipeline, Callable[[], bytes]]]


def grow_on(
    task: TaskName,
    begin: Callable[..., Any],
    size: str,
    sizes: Sequence[int],
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    saved: Saved | None,
) -> _Rounds:
    """Grow one ensemble of scikit-learn's by more trees each round, as `tidemill.training.model_spec.Steps`.

    Args:
        task: what is predicted.
        begin: makes the ensemble of parameters; it has ``warm_start``.
        size: the parameter that says how many trees it has.
        sizes: how many, by round.
        params: the others.
        features: as for `prepare_rows`.
        labels: of the rows.
        saved: what was kept of it; None: it begins.
    """
    ensemble = begin(**params) if saved is None else restored(saved.state).set_params(**params)
    grown = (ensemble.set_params(**{size: trees}) for trees in _to_come(sizes, saved))
    return fit_each(task, features, labels, grown, state_of)


def begin_anew(
    task: TaskName,
    kind: Callable[[], Any],
    fixed: Mapping[str, Any],
    size: str,
    sizes: Sequence[int],
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    saved: Saved | None,
) -> _Rounds:
    """Fit an ensemble of more trees each round, as `tidemill.training.model_spec.Steps`.

    Args:
        task: what is predicted.
        kind: returns the ensemble's class, once it is needed: its package may be an optional one.
        fixed: parameters that no search changes.
        size: the parameter that says how many trees it has.
        sizes: how many, by round.
        params: the others.
        features: as for `prepare_rows`.
        labels: of the rows.
        saved: tells how many rounds have been made.
    """
    models = (kind()(**params, **fixed, **{size: trees}) for trees in _to_come(sizes, saved))
    return fit_each(task, features, labels, models)


def _to_come(sizes: Sequence[int], saved: Saved | None) -> Sequence[int]:
    return sizes if saved is None else sizes[saved.rounds :]
