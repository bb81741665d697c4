"""Asks a version's own model which of the drifted features matter to it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import MonitoringError, TidemillError
from tidemill.monitoring.drift.drift_columns import ColumnDrift
from tidemill.monitoring.drift.impact import answer_attributions, loss_change, with_impact
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.project import Project
from tidemill.registry.versions.model_versions import load_scorer
from tidemill.tasks.task import Task
from tidemill.threads import one_thread_to_compute
from tidemill.training.feature_table import as_features
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["attributions_of", "columns_by_impact"]

Floats = npt.NDArray[np.float64]


def attributions_of(
    project: Project, version: str, reference: ReferenceRows, names: Sequence[str]
) -> dict[str, float]:
    """Return how far a version's answers move with each feature, as `impact.answer_attributions` does.

    Args:
        project: whose model it is.
        version: of the model.
        reference: of the version, with all of its features.
        names: of the features.

    Raises:
        TidemillError: the model cannot be loaded, or asked.
    """
    scorer = load_scorer(project, version)
    if scorer.task.kind == "custom":
        raise MonitoringError("answers of a custom task are no numbers", hint="they are ordered by distance")
    if missing := [name for name in scorer.features if name not in reference.features.columns]:
        raise MonitoringError(
            f"the reference lacks features of the model: {', '.join(missing)}", hint="train again"
        )
    lists = {  # arrays, as a reference of training has them, are taken apart by themselves
        name: length
        for name, length in scorer.lists.items()
        if not isinstance(reference.features[name].dtype, pl.Array)
    }
    with one_thread_to_compute():
        return answer_attributions(
            lambda rows: np.asarray(scorer.predict(as_features(rows, scorer.features, lists))),
            reference.features,
            [name for name in names if name in scorer.features],
        )


def columns_by_impact(
    window: WindowRows, columns: Sequence[ColumnDrift]
) -> tuple[tuple[ColumnDrift, ...], str | None]:
    """Return columns with the impact of those that have drifted, and why there is none, if so.

    Args:
        window: whose model is asked, only if columns have drifted.
        columns: of its features, as they were compared.
    """
    names = [each.name for each in columns if each.drifted]
    if not names:
        return tuple(columns), None
    if window.attributions is None:
        return tuple(columns), "the model is not asked"
    try:
        attributions = window.attributions(names)
    except TidemillError as error:
        return tuple(columns), str(error)
    changes = _loss_changes(window.task, window.reference, window.features, names)
    return with_impact(columns, attributions, changes), None


def _loss_changes(
    task: Task, reference: ReferenceRows, now: pl.DataFrame, names: Sequence[str]
) -> dict[str, float | None]:
    """Return what each feature's drift alone does to the loss, as far as the hold-out's rows can tell."""
    if reference.held_out is None or reference.held_out_labels is None:
        return {}
    truth = task.labels(reference.held_out_labels).values.cast(pl.Float64).to_numpy()
    answers = task.answers_of_log(reference.scores, reference.answers)
    usable = np.isfinite(truth) & task.sound(answers)
    losses: Floats = np.full(len(truth), np.nan)
    losses[usable] = task.losses(truth[usable], answers[usable])
    known = np.isfinite(losses)
    held_out = reference.held_out.filter(pl.Series(known))
    return {
        name: loss_change(held_out[name], losses[known], now[name])
        for name in names
        if name in held_out.columns and name in now.columns
    }
