"""Classification into several classes: the answer is the probability of each."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import DataError
from tidemill.tasks import weighted_metrics
from tidemill.tasks.answer_fields import AnswerField, sendable
from tidemill.tasks.binary import log_losses
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

__all__ = ["Multiclass"]


@dataclass(frozen=True)
class Multiclass(Task):
    """Three classes or more.

    >>> task = Multiclass("neg_log_loss", classes=("a", "b", "c"))
    >>> task.labels(pl.Series(["c", "a", "q"])).values.to_list()
    [2, 0, None]
    >>> answers = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    >>> task.evaluate([2, 0], answers)["accuracy"], task.scores(answers).tolist()
    (1.0, [0.7, 0.5])
    >>> task.shown(answers[0])
    {'class': 'c', 'probabilities': {'a': 0.1, 'b': 0.2, 'c': 0.7}}
    """

    kind: ClassVar[TaskName] = "multiclass"
    classes: tuple[str, ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()
    """What deciding for the column costs where the row is true."""

    @property
    def label_schema(self) -> dict[str, Any]:
        """The names of the classes."""
        return {"enum": sendable(self.classes)}

    @property
    def meant(self) -> str:
        """What a label must be."""
        shown = ", ".join(map(shown_class, self.classes[:8]))
        return f"one of {shown}" + (" …" if len(self.classes) > 8 else "")

    def labels(self, column: pl.Series) -> Labels:
        """Return the number of each label's class, as Int32."""
        return as_class_numbers(column, self.classes)

    def written(self, labels: pl.Series) -> pl.Series:
        """Return the names of the classes."""
        return class_names(labels, self.classes)

    def unlearnable(self, labels: pl.Series) -> str | None:
        """Return a reason if there is only one class."""
        return None if labels.n_unique() > 1 else "only one class among them"

    def answers(self, estimator: Any, features: Any) -> Answers:
        """Return the probability of each class, shape (rows, classes); 0 for those it never saw.

        Estimators are fitted on the numbers of classes, and say in ``classes_`` which they saw.
        """
        if not hasattr(estimator, "predict_proba"):
            raise DataError(
                f"{type(estimator).__name__} has no predict_proba: it gives no probabilities",
                hint="use a classifier, or set project.task: regression",
            )
        found = np.asarray(estimator.predict_proba(features), dtype=np.float64)
        seen = getattr(estimator, "classes_", None)
        if seen is None or found.shape[1] == len(self.classes):
            return found
        whole = np.zeros((len(found), len(self.classes)))
        whole[:, np.asarray(seen, dtype=np.int64)] = found
        return whole

    def from_output(self, output: Any) -> Answers:
        """Return the probabilities, shape (rows, classes).

        Raises:
            ValueError: there is not one number for each class.
        """
        found = np.asarray(output, dtype=np.float64)
        if found.ndim != 2 or found.shape[1] != len(self.classes):
            raise ValueError(f"the model gave shape {found.shape}, not one number for each class")
        return found

    def scores(self, answers: Answers) -> npt.NDArray[np.float64]:
        """Return the probability of the most probable class."""
        return np.asarray(answers.max(axis=1, initial=0.0), dtype=np.float64)

    def score(self, answer: Any) -> float | None:
        """Return the probability of the most probable class."""
        return float(max(answer))

    def is_sound(self, answers: Sequence[Any]) -> bool:
        """Return whether all probabilities are finite, one for each class."""
        return all(map(math.isfinite, chain.from_iterable(answers))) and all(
            len(answer) == len(self.classes) for answer in answers
        )

    def columns(self, answers: Answers) -> dict[str, Any]:
        """Return the most probable class, and the probability of each."""
        names = np.array(self.classes, dtype=object)
        chosen = names[np.nan_to_num(answers).argmax(axis=1)] if len(answers) else names[:0]
        of_class = zip(self.classes, answers.T, strict=True)
        return {"class": chosen, **{f"probability_{name}": column for name, column in of_class}}

    def decided_on(self, answer: Any) -> dict[str, Any]:
        """Return the most probable class, and the probability of each."""
        return self.shown(answer)

    @property
    def answer_fields(self) -> tuple[AnswerField, ...]:
        """The most probable class, and the probability of each."""
        chosen = [float(number == 0) for number in range(len(self.classes))]
        return (
            AnswerField("class", "text", self.classes, next(iter(self.classes), "")),
            AnswerField(
                "probabilities", "numbers", self.classes, dict(zip(self.classes, chosen, strict=True))
            ),
        )

    def shown(self, answer: Any) -> dict[str, Any]:
        """Return the most probable class, and the probability of each."""
        values = [float(value) for value in answer]
        best = self.classes[int(np.argmax(values))]
        return {"class": best, "probabilities": dict(zip(self.classes, values, strict=True))}

    def categories(self, answers: Answers) -> pl.Series:
        """Return the most probable class of each answer."""
        chosen = answers.argmax(axis=1) if len(answers) else np.empty(0, dtype=np.int64)
        return class_names(pl.Series("class", chosen), self.classes)

    def logged(self, answer: Any) -> str | None:
        """Return the probability of each class, by name."""
        return json.dumps(dict(zip(self.classes, map(float, answer), strict=True)), ensure_ascii=False)

    def answers_of_log(self, scores: pl.Series, answers: pl.Series | None) -> Answers:
        """Return the probabilities, shape (rows, classes); 0 for a class that the version did not know."""
        given = [] if answers is None else [json.loads(text or "{}") for text in answers]
        rows = [[float(one.get(name, 0.0)) for name in self.classes] for one in given]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.classes))

    def label_given(self, value: object) -> tuple[int | None, str | None]:
        """Return the name of the class.

        >>> Multiclass("accuracy", classes=("1", "2", "3")).label_given(2.0)
        (None, '2')
        """
        return None, self.classes[class_number(value, self.classes, self.meant)]

    def losses(self, truth: npt.NDArray[Any], answers: Answers) -> npt.NDArray[np.float64]:
        """Return the log loss of each row."""
        return log_losses(answers[np.arange(len(truth)), truth.astype(np.int64)])

    def mistakes(self, truth: npt.NDArray[Any], answers: Answers, usual: float) -> npt.NDArray[np.bool_]:
        """Return where the most probable class is a wrong one."""
        return np.asarray(answers.argmax(axis=1) != truth)

    def facts(self, truth: npt.NDArray[Any], answers: Answers) -> dict[str, float]:
        """Return the share of each class, ``share_<class>``, and how much of it is found, ``recall_<class>``.

        Classes without a row have no recall.
        """
        found: dict[str, float] = {}
        chosen = answers.argmax(axis=1) if len(truth) else np.empty(0)
        for number, name in enumerate(self.classes):
            is_true = truth == number
            found[f"share_{name}"] = float(is_true.mean()) if len(truth) else float("nan")
            found[f"recall_{name}"] = float((chosen[is_true] == number).mean()) if is_true.any() else np.nan
        return found

    def _measure(self, metric: str, truth: npt.NDArray[np.float64], answers: Answers) -> Measure:
        if metric == "neg_log_loss":
            return weighted_metrics.mean_of(-self.losses(truth, answers))
        if metric == "neg_brier":
            is_true = np.eye(answers.shape[1])[truth.astype(np.int64)]
            return weighted_metrics.mean_of(-((answers - is_true) ** 2).sum(axis=1))
        if metric == "roc_auc_ovr":
            return weighted_metrics.roc_auc_one_against_rest(truth, answers)
        if metric == "neg_cost":
            return weighted_metrics.classification_cost(truth, answers, np.array(self.costs))
        chosen = answers.argmax(axis=1).astype(np.float64)
        if metric == "accuracy":
            return weighted_metrics.mean_of((chosen == truth).astype(np.float64))
        return weighted_metrics.f1(truth, chosen, len(self.classes), metric.removeprefix("f1_"))
