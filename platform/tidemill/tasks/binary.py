"""Binary classification: the answer is the probability of the positive class."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import DataError
from tidemill.tasks import weighted_metrics
from tidemill.tasks.answer_fields import AnswerField, sendable
from tidemill.tasks.target_labels import (
    Labels,
    as_class_numbers,
    class_names,
    class_number,
    shown_class,
)
from tidemill.tasks.task import Answers, Task
from tidemill.tasks.task_names import TaskName
from tidemill.tasks.weighted_metrics import Measure

__all__ = ["Binary", "log_losses"]

_TINY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Binary(Task):
    """Two classes.

    >>> task = Binary("roc_auc")
    >>> found = task.evaluate([0, 0, 1, 1], np.array([0.1, 0.4, 0.35, 0.8]))
    >>> found["roc_auc"], found["rows"], found["base_rate"], round(found["neg_brier"], 3)
    (0.75, 4.0, 0.5, -0.158)
    >>> Binary("roc_auc", classes=("no", "yes")).labels(pl.Series(["yes", "no", "maybe"])).values.to_list()
    [1, 0, None]
    """

    kind: ClassVar[TaskName] = "binary"
    is_probability: ClassVar[bool] = True
    classes: tuple[str, str] = ("0", "1")
    """The negative class, and the positive one."""
    costs: tuple[tuple[float, ...], ...] = ()
    """What deciding for the column costs where the row is true."""

    @property
    def label_schema(self) -> dict[str, Any]:
        """The numbers 0 and 1, or the names of the classes."""
        return {"enum": [0, 1] if self.classes == ("0", "1") else sendable(self.classes)}

    @property
    def meant(self) -> str:
        """What a label must be."""
        return " or ".join(map(shown_class, self.classes))

    def labels(self, column: pl.Series) -> Labels:
        """Return labels as Int8: 1 for the positive class, 0 for the other."""
        found = as_class_numbers(column, self.classes)
        return found._replace(values=found.values.cast(pl.Int8))

    def written(self, labels: pl.Series) -> pl.Series:
        """Return 0 and 1 as they are, and other classes as text."""
        return labels if self.classes == ("0", "1") else class_names(labels, self.classes)

    def unlearnable(self, labels: pl.Series) -> str | None:
        """Return a reason if there is only one class."""
        return None if labels.n_unique() == 2 else "not both labels among them"

    def answers(self, estimator: Any, features: Any) -> Answers:
        """Return the probability of the positive class, shape (rows,)."""
        if not hasattr(estimator, "predict_proba"):
            raise DataError(
                f"{type(estimator).__name__} has no predict_proba: it gives no probabilities",
                hint="use a classifier, or set project.task: regression",
            )
        return np.asarray(estimator.predict_proba(features)[:, 1], dtype=np.float64)

    def from_output(self, output: Any) -> Answers:
        """Return the probability of the positive class: the last number of each row."""
        found = np.asarray(output, dtype=np.float64)
        return found.reshape(len(found), -1)[:, -1]

    def scores(self, answers: Answers) -> npt.NDArray[np.float64]:
        """Return the probabilities."""
        return answers

    @property
    def answer_fields(self) -> tuple[AnswerField, ...]:
        """The probability."""
        return (AnswerField("probability", "number", example=0.25),)

    def shown(self, answer: Any) -> dict[str, Any]:
        """Return the probability."""
        return {"probability": float(answer)}

    def label_given(self, value: object) -> tuple[int | None, str | None]:
        """Return 1 for the positive class, 0 for the other.

        >>> Binary("roc_auc", classes=("no", "yes")).label_given("yes"), Binary("roc_auc").label_given(True)
        ((1, None), (1, None))
        """
        return class_number(value, self.classes, self.meant), None

    def labels_of_log(self, labels: pl.Series, targets: pl.Series) -> Labels:
        """Return the logged labels, which are 0 or 1."""
        return as_class_numbers(labels, ("0", "1"))

    def losses(self, truth: npt.NDArray[Any], answers: Answers) -> npt.NDArray[np.float64]:
        """Return the log loss of each row."""
        return log_losses(np.where(truth == 1, answers, 1 - answers))

    def mistakes(self, truth: npt.NDArray[Any], answers: Answers, usual: float) -> npt.NDArray[np.bool_]:
        """Return which answers are of the wrong class, the positive one from 0.5 on.

        >>> Binary("roc_auc").mistakes(np.array([1, 0, 0]), np.array([0.4, 0.5, 0.3]), 0.0).tolist()
        [True, True, False]
        """
        return np.asarray((answers >= 0.5) != (truth == 1))

    def facts(self, truth: npt.NDArray[Any], answers: Answers) -> dict[str, float]:
        """Return ``base_rate``, the share of the positive class."""
        return {"base_rate": float(np.mean(truth)) if len(truth) else float("nan")}

    def _measure(self, metric: str, truth: npt.NDArray[np.float64], answers: Answers) -> Measure:
        if metric == "neg_brier":
            return weighted_metrics.mean_of(-((truth - answers) ** 2))
        if metric == "neg_log_loss":
            return weighted_metrics.mean_of(-self.losses(truth, answers))
        if metric == "accuracy":
            return weighted_metrics.mean_of(((answers >= 0.5) == truth).astype(np.float64))
        if metric == "f1":
            return weighted_metrics.f1(truth, (answers >= 0.5).astype(np.float64), 2, "binary")
        if metric == "neg_cost":
            both = np.column_stack([1 - answers, answers])
            return weighted_metrics.classification_cost(truth, both, np.array(self.costs))
        if metric.startswith("recall_at_precision_"):
            return weighted_metrics.recall_at_precision(truth, answers, int(metric.rpartition("_")[2]) / 100)
        if metric == "average_precision":
            return weighted_metrics.average_precision(truth, answers)
        return weighted_metrics.roc_auc(truth, answers)


def log_losses(probability_of_truth: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the log loss of each row, clipped as scikit-learn clips it."""
    return np.asarray(-np.log(np.clip(probability_of_truth, _TINY, 1 - _TINY)), dtype=np.float64)
