"""The rows of a version's hold-out that its reference keeps, with labels and answers."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_names
from tidemill.tasks.task import Answers, Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["LEAST", "HeldOut", "taken"]

LEAST = 200
"""Rows below which nothing is compared with a hold-out."""


@dataclass(frozen=True)
class HeldOut:
    """Rows of the reference that the model was not fitted on, with a label and a finite answer."""

    features: pl.DataFrame
    truth: npt.NDArray[np.float64]
    answers: Answers

    @classmethod
    def of(
        cls, reference: ReferenceRows, task: Task, names: Collection[str] | None = None
    ) -> "HeldOut | None":
        """Return them; None if they are too few, or the reference is of an earlier release.

        Args:
            reference: of the version.
            task: what is predicted, not a custom one.
            names: the only features to keep; None: all.
        """
        if reference.held_out is None or reference.held_out_labels is None:
            return None
        labels = task.labels(reference.held_out_labels).values.cast(pl.Float64).to_numpy()
        answers = task.answers_of_log(reference.scores, reference.answers)
        usable = np.isfinite(labels) & task.sound(answers)
        if usable.sum() < LEAST:
            return None
        features = reference.held_out
        if names is not None:
            features = features.select(literal_names(name for name in features.columns if name in names))
        return cls(taken(features, usable), labels[usable], answers[usable])


def taken(features: pl.DataFrame, places: npt.NDArray[Any]) -> pl.DataFrame:
    """Return the rows at ``places``, or where it is true; a frame without columns has none to choose from."""
    return (
        features[np.flatnonzero(places) if places.dtype == bool else places] if features.width else features
    )
