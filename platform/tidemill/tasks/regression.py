"""Regression: the answer is a number."""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.tasks import weighted_metrics
from tidemill.tasks.answer_fields import AnswerField
from tidemill.tasks.target_labels import Labels, as_numbers
from tidemill.tasks.task import Answers, Task
from tidemill.tasks.task_names import TaskName
from tidemill.tasks.weighted_metrics import Measure

__all__ = ["Regression"]

_NORMAL = 1.349
"""The middle half of a normal distribution is so many standard deviations wide."""


@dataclass(frozen=True)
class Regression(Task):
    """A number to predict.

    >>> task = Regression("neg_mae")
    >>> found = task.evaluate([1.0, 2.0, 3.0], np.array([1.0, 2.0, 6.0]))
    >>> found["neg_mae"], found["r2"]
    (-1.0, -3.5)
    """

    kind: ClassVar[TaskName] = "regression"

    @property
    def label_schema(self) -> dict[str, Any]:
        """Any number."""
        return {"type": "number"}

    @property
    def meant(self) -> str:
        """What a label must be."""
        return "a finite number"

    def labels(self, column: pl.Series) -> Labels:
        """Return labels as Float64."""
        return as_numbers(column)

    def unlearnable(self, labels: pl.Series) -> str | None:
        """Return a reason if all labels are the same."""
        return None if labels.n_unique() > 1 else "one and the same label in all of them"

    def answers(self, estimator: Any, features: Any) -> Answers:
        """Return the values, shape (rows,)."""
        return np.asarray(estimator.predict(features), dtype=np.float64).reshape(len(features))

    def scores(self, answers: Answers) -> npt.NDArray[np.float64]:
        """Return the values."""
        return answers

    @property
    def answer_fields(self) -> tuple[AnswerField, ...]:
        """The value."""
        return (AnswerField("value", "number", example=12.5),)

    def shown(self, answer: Any) -> dict[str, Any]:
        """Return the value."""
        return {"value": float(answer)}

    def label_given(self, value: object) -> tuple[int | None, str | None]:
        """Return the number as text that reads back as the same number.

        >>> Regression("neg_mae").label_given("12"), Regression("neg_mae").label_given(0.1)
        ((None, '12.0'), (None, '0.1'))
        """
        text = value if isinstance(value, str) else ""
        has_other = "_" in text or not text.isascii()  # Python's float reads 1_0, which no data file means
        if isinstance(value, int | float | str) and not isinstance(value, bool) and not has_other:
            with suppress(ValueError, OverflowError):  # refused below
                number = float(value)
                if math.isfinite(number):
                    return None, repr(number)
        raise ValueError(f"must be {self.meant}")

    def tolerance(self, answers: Answers) -> float:
        """Return a ten-thousandth of the values' spread, or of their size where all are the same.

        The spread is that of the middle half: a few huge answers would make any difference small.

        >>> Regression("neg_mae").tolerance(np.array([1.0, 2.0, 3.0, 4.0, 1e9]))
        0.00014825796886582654
        """
        known = answers[np.isfinite(answers)]
        if not len(known):
            return super().tolerance(answers)
        low, high = np.quantile(known, [0.25, 0.75])
        spread = min(float(high - low) / _NORMAL or math.inf, float(known.std()))
        return 1e-4 * (spread or abs(float(known[0])) or 1.0)

    def losses(self, truth: npt.NDArray[Any], answers: Answers) -> npt.NDArray[np.float64]:
        """Return the absolute error of each row."""
        return np.abs(np.asarray(truth, dtype=np.float64) - answers)

    def facts(self, truth: npt.NDArray[Any], answers: Answers) -> dict[str, float]:
        """Return ``mean_label``, and ``bias``: the mean answer minus the mean label.

        Where labels are 0, ``rows_without_mape`` says how many: ``neg_mape`` leaves these rows out.
        """
        if not len(truth):
            return {"mean_label": float("nan"), "bias": float("nan")}
        mean, zeros = float(np.mean(truth)), int(np.sum(np.asarray(truth, dtype=np.float64) == 0))
        found = {"mean_label": mean, "bias": float(np.mean(answers)) - mean}
        return found | ({"rows_without_mape": float(zeros)} if zeros else {})

    def _measure(self, metric: str, truth: npt.NDArray[np.float64], answers: Answers) -> Measure:
        errors = np.abs(truth - answers)
        if metric == "neg_rmse":
            return weighted_metrics.root_mean_of(errors**2)
        if metric == "r2":
            return weighted_metrics.r_squared(truth, answers)
        if metric == "neg_mape":
            return weighted_metrics.mean_of_known(-_shares(errors, truth))
        if metric == "neg_median_ae":
            return weighted_metrics.weighted_median_of(errors)
        if metric.startswith("neg_pinball_"):
            quantile = int(metric.rpartition("_")[2]) / 100
            below = truth - answers
            return weighted_metrics.mean_of(-np.maximum(quantile * below, (quantile - 1) * below))
        return weighted_metrics.mean_of(-errors)


def _shares(errors: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return errors as shares of the true values; NaN where that is 0: nothing is a share of it."""
    with np.errstate(over="ignore"):
        return np.where(truth == 0, np.nan, errors / np.where(truth == 0, 1.0, np.abs(truth)))
