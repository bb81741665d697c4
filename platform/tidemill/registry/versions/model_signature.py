"""What a saved model takes and gives: its features, and the order of its outputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from tidemill.registry.versions.loaded_model import Matrix, Scorer, Scores, Texts
from tidemill.tasks.task import Answers, Task

__all__ = ["Kind", "ModelSignature"]

Kind = Literal["onnx", "skops", "native", "pyfunc"]


@dataclass(frozen=True)
class ModelSignature:
    """The features of a saved model, and what its outputs mean.

    >>> from tidemill.tasks.binary import Binary
    >>> found = ModelSignature(("wind",), (), Binary("", classes=("no", "yes")), places=(1, 0))
    >>> found.answers([[0.75, 0.25]]).tolist()  # the first output is that of "yes"
    [0.75]
    """

    features: tuple[str, ...]
    words: tuple[str, ...]
    """Those that are text."""
    task: Task
    places: tuple[int, ...] = ()
    """The place of each output among the task's classes; empty where they have that order."""

    def answers(self, output: Any) -> Answers:
        """Return the task's answers in what the model gives for some rows.

        Raises:
            ValueError: its shape is not that of the task's answers.
        """
        if not self.places:
            return self.task.from_output(output)
        found = np.asarray(output, dtype=np.float64)
        found = found.reshape(len(found), -1)
        if found.shape[1] == 1 and len(self.places) == 2:
            found = np.column_stack([1 - found, found])
        whole = np.zeros((len(found), len(getattr(self.task, "classes", ()))))
        whole[:, list(self.places)] = found
        return self.task.from_output(whole)

    def scorer(
        self, version: str, by_name: Callable[[pd.DataFrame], Scores], kind: Kind, model: Any
    ) -> Scorer:
        """Return the scorer of a model that takes frames."""
        names, words = list(self.features), list(self.words)
        numbers = [name for name in names if name not in self.words]

        def score(matrix: Matrix) -> Scores:
            return by_name(pd.DataFrame(matrix, columns=names, copy=False))

        def mixed(matrix: Matrix, texts: Texts) -> Scores:
            frame = pd.DataFrame(matrix, columns=numbers, copy=False)
            given = pd.DataFrame(np.array(texts, dtype=object), columns=words)
            return by_name(pd.concat([frame, given], axis=1)[names])

        found = Scorer(version, self.features, score, kind, None, model, task=self.task, places=self.places)
        return replace(found, by_name=by_name, words=self.words, mixed=mixed) if words else found
