"""A loaded model version that answers rows, whichever package runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.errors import RegistryError
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task
from tidemill.training.feature_table import column_names, with_elements

__all__ = ["Matrix", "Scorer", "Scores", "Texts"]

Matrix = npt.NDArray[np.float64]
Scores = npt.NDArray[Any]
"""Answers, one a row, in the form of `tidemill.tasks.task.Answers`."""
Texts = Sequence[Sequence[str | None]]
"""The text features of rows, by row; None means "not known"."""


@dataclass(frozen=True)
class Scorer:
    """A loaded model version. Threads may share it."""

    version: str
    features: tuple[str, ...]
    """Its features, in order."""
    score: Callable[[Matrix], Scores] = field(repr=False)
    """Takes a float64 matrix, shape (rows, columns), in the order of ``columns``, NaN for "not known";
    gives the answers, one a row (`tidemill.tasks.task.Answers`). Nothing is looked up and nothing is checked;
    where the original would refuse a row, a compiled model gives NaN."""
    kind: Literal["onnx", "skops", "native", "pyfunc"] = "skops"
    """What runs it: onnxruntime, scikit-learn, the model's own package, or MLflow's pyfunc."""
    reason: str | None = None
    """Why the compiled model is not used; None if it is."""
    estimator: Any = field(default=None, repr=False)
    """The model as its package knows it; none if onnxruntime runs it."""
    by_name: Callable[[pd.DataFrame], Scores] | None = field(default=None, repr=False)
    """For models that take text as well: takes a frame with all ``columns``."""
    task: Task = field(default=Binary(""), repr=False)
    """What it predicts, as it was trained."""
    words: tuple[str, ...] = ()
    """Those of ``features`` that are text, in their order."""
    mixed: Callable[[Matrix, Texts], Scores] | None = field(default=None, repr=False)
    """For models that take text as well: takes a matrix of the features that are numbers, in order, and the
    texts of each row."""
    places: tuple[int, ...] = ()
    """The place of each output of ``estimator`` among the task's classes; empty: they have that order."""
    lists: Mapping[str, int] = field(default_factory=dict)
    """Those of ``features`` that are lists, and the length of each."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What the model itself takes: its features, each element of a list as a number of its own."""
        return column_names(self.features, self.lists) if self.lists else self.features

    def with_lists(self, features: Sequence[str], lists: Mapping[str, int]) -> "Scorer":
        """Return the model with some of its columns as elements of lists.

        Args:
            features: in order; their columns are its columns.
            lists: those that are lists, and the length of each.

        Raises:
            RegistryError: the model has other columns.
        """
        if not lists:
            return self
        columns = column_names(features, lists)
        if columns != self.columns:
            raise RegistryError(
                f"version {self.version} has other columns than the training recorded: "
                f"{len(self.columns)} instead of {len(columns)}",
                hint="restore the files of the version, or train again: `tidemill run`",
            )
        return replace(self, features=tuple(features), lists=dict(lists))

    def frame(self, given: pd.DataFrame) -> pd.DataFrame:
        """Return a frame's columns in the order of ``columns``; lists are taken apart.

        Raises:
            RegistryError: a feature is missing, or a list has another length.
        """
        columns = list(self.columns)
        if self.lists and not set(columns) <= set(given.columns):
            try:
                given = with_elements(given, self.lists)
            except KeyError:
                pass  # it is among the missing
            except (TypeError, ValueError) as error:
                raise RegistryError(
                    f"version {self.version} was given lists that do not fit: {error}",
                    hint="give lists of numbers of the length that the model was trained with",
                ) from error
        try:
            return given[columns]
        except KeyError as error:
            missing = [name for name in self.features if name not in given.columns]
            raise RegistryError(
                f"version {self.version} needs features that are missing: {', '.join(missing)}",
                hint="see the feature service that the version was trained on: `tidemill models show`",
            ) from error

    def predict(self, frame: pd.DataFrame) -> Scores:
        """Return the answers, one a row.

        Args:
            frame: has at least the columns ``features``, in any order, lists as such or by element; None and
                NaN mean "not known".

        Raises:
            RegistryError: a feature is missing, or of another type.
        """
        rows = self.frame(frame)
        if self.by_name is not None:
            return self.by_name(rows)
        try:
            matrix = np.ascontiguousarray(rows.to_numpy(np.float64))
        except (TypeError, ValueError) as error:
            raise RegistryError(
                f"version {self.version} was given features that are not numbers: {error}",
                hint="encode them as numbers, as for the training",
            ) from error
        return self.score(matrix)
