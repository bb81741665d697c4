"""A task: what the target is, what an answer is, and how answers are judged."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import ConfigError, DataError
from tidemill.tasks.answer_fields import AnswerField
from tidemill.tasks.cost_table import check_costs
from tidemill.tasks.own_metrics import ProjectMetric, load_metric, resampled
from tidemill.tasks.target_labels import Labels
from tidemill.tasks.task_names import METRICS, TaskName, metric_name
from tidemill.tasks.weighted_metrics import Measure

__all__ = ["Answers", "ProjectMetric", "Task"]

Answers = npt.NDArray[Any]
"""The answers of a model, one a row: float64, shape (rows,) for binary (probability of the positive class)
and regression (the value), (rows, classes) for several classes; objects, shape (rows,), for a custom task."""


@dataclass(frozen=True)
class Task(ABC):
    """What a prediction is. Values of one task are equal if their targets are."""

    kind: ClassVar[TaskName]
    is_probability: ClassVar[bool] = False
    """Whether an answer is one probability."""
    metric: str
    """The metric by which trials, gates and monitors judge, as `task_names.metric_name` returns it."""
    own: Mapping[str, ProjectMetric] = field(default_factory=dict, compare=False, repr=False)
    """The project's own metrics, by ``module:function``."""
    load: Callable[[str], Any] | None = field(default=None, compare=False, repr=False, kw_only=True)
    """Imports ``module:function`` of the project."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that `evaluate` returns; higher is better for each."""
        return tuple(dict.fromkeys((*METRICS[self.kind], self.metric)))

    @property
    @abstractmethod
    def label_schema(self) -> dict[str, Any]:
        """What a label must be, as a JSON Schema for clients that send one."""

    @property
    @abstractmethod
    def meant(self) -> str:
        """What a label must be, in a phrase for messages."""

    @abstractmethod
    def labels(self, column: pl.Series) -> Labels:
        """Return labels as numbers (of classes, for classes); wrong ones are null, and counted."""

    def written(self, labels: pl.Series) -> pl.Series:
        """Return the ``values`` of `labels` as they are kept beside features: classes as text again."""
        return labels

    def unlearnable(self, labels: pl.Series) -> str | None:
        """Return why nothing can be learnt from these labels; None if something can.

        Args:
            labels: a column as `written` gives it.
        """
        return None

    @abstractmethod
    def answers(self, estimator: Any, features: Any) -> Answers:
        """Return what a fitted estimator answers to a frame of features.

        Raises:
            DataError: the estimator cannot answer for this task.
        """

    def from_output(self, output: Any) -> Answers:
        """Return the answers in what a model of unknown make gives for some rows: a frame, an array, a list.

        Raises:
            ValueError: its shape is not that of this task's answers.
        """
        found = np.asarray(output, dtype=np.float64)
        if found.size != len(found):
            raise ValueError(f"the model gave shape {found.shape}, not one number a row")
        return found.reshape(len(found))

    @abstractmethod
    def scores(self, answers: Answers) -> npt.NDArray[np.float64]:
        """Return one number an answer, shape (rows,), for the log and for drift; NaN if there is none."""

    @property
    @abstractmethod
    def answer_fields(self) -> tuple[AnswerField, ...]:
        """The values that `shown` returns, in order."""

    @abstractmethod
    def shown(self, answer: Any) -> dict[str, Any]:
        """Return one answer (a row of `Answers`) as JSON values, for people and protocols."""

    def columns(self, answers: Answers) -> dict[str, Any]:
        """Return answers as columns, by the names of `answer_fields.column_names`."""
        return {self.answer_fields[0].name: answers}

    def decided_on(self, answer: Any) -> Any:
        """Return what a project's business logic is given of one answer: the number, or else `shown`."""
        return answer

    def score(self, answer: Any) -> float | None:
        """Return the number that `scores` gives for one answer; None if there is none."""
        found: float = answer
        return found

    def is_sound(self, answers: Sequence[Any]) -> bool:
        """Return whether the numbers of all answers (rows of `Answers`, as lists) are finite."""
        return all(map(math.isfinite, answers))

    def sound(self, answers: Answers) -> npt.NDArray[np.bool_]:
        """Return which answers are finite, shape (rows,)."""
        return np.asarray(np.isfinite(answers).all(axis=tuple(range(1, answers.ndim))))

    def tolerance(self, answers: Answers) -> float:
        """Return the largest difference between two programs' answers that counts as none.

        XGBoost itself sums in 32 bits, which changes the seventh digit.

        Args:
            answers: one program's, to some real rows.
        """
        return 1e-5

    def logged(self, answer: Any) -> str | None:
        """Return what the prediction log keeps of one answer beside its score, as JSON; None for nothing."""
        return None

    def answers_of_log(self, scores: pl.Series, answers: pl.Series | None) -> Answers:
        """Return the answers of logged predictions.

        Args:
            scores: the column ``score``.
            answers: the column ``answer``, if it was read.
        """
        return np.asarray(scores.to_numpy(), dtype=np.float64)

    @abstractmethod
    def label_given(self, value: object) -> tuple[int | None, str | None]:
        """Return a label as a client sends it in the form in which it is logged, ``label`` and ``target``.

        Args:
            value: a number, text or truth value; any JSON value for a custom task.

        Raises:
            ValueError: it is not a label of the task; the message says what it must be.
        """

    def labels_of_log(self, labels: pl.Series, targets: pl.Series) -> Labels:
        """Return the labels of logged predictions.

        Args:
            labels: the column ``label``: 0 or 1, where the classes are two.
            targets: the column ``target``: the label as text, for all other tasks.
        """
        return self.labels(targets)

    def truth_of_log(self, rows: pl.DataFrame) -> npt.NDArray[Any]:
        """Return the labels of logged rows, as the task means them; NaN where there is none or a wrong one.

        Args:
            rows: with ``label``, and ``target`` if it was read.
        """
        none = pl.Series("target", [None] * rows.height, pl.String)
        values = self.labels_of_log(rows["label"], rows.get_column("target", default=none)).values
        return np.asarray(values.to_numpy()) if self.kind == "custom" else values.cast(pl.Float64).to_numpy()

    def labelled_in_log(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the logged rows that have a label of this task.

        Args:
            rows: with ``label`` and ``target``.
        """
        return rows.filter(self.labels_of_log(rows["label"], rows["target"]).values.is_not_null())

    def categories(self, answers: Answers) -> pl.Series | None:
        """Return the category of each answer as text; None where answers are no categories."""
        return None

    def given_in_log(self, rows: pl.DataFrame) -> Answers:
        """Return the answers of logged rows, with ``score``, and ``answer`` if it was read."""
        return self.answers_of_log(rows["score"], rows.get_column("answer", default=None))

    @abstractmethod
    def losses(self, truth: npt.NDArray[Any], answers: Answers) -> npt.NDArray[np.float64]:
        """Return the loss of each row, shape (rows,), lower is better; NaN where it is undefined."""

    def mistakes(self, truth: npt.NDArray[Any], answers: Answers, usual: float) -> npt.NDArray[np.bool_]:
        """Return which answers are of a wrong class; of numbers, which have a larger loss than ``usual``."""
        return self.losses(truth, answers) > usual

    @abstractmethod
    def _measure(self, metric: str, truth: npt.NDArray[np.float64], answers: Answers) -> Measure: ...

    def facts(self, truth: npt.NDArray[Any], answers: Answers) -> dict[str, float]:
        """Return what else `evaluate` tells about the rows, by name."""
        return {}

    def truth(self, rows: pl.DataFrame, label: str) -> npt.NDArray[Any]:
        """Return the labels of rows that all have one, shape (rows,).

        Raises:
            DataError: there is no such column, or a label is null or wrong.
        """
        if label not in rows.columns:
            raise DataError(
                f"there is no column {label}: the columns are {', '.join(rows.columns)}",
                hint="dataset.label in params.yaml must name the column with the label",
            )
        hint = f"a label must be {self.meant}: change what makes them, or leave those rows out"
        return np.asarray(self.labels(rows[label]).required(f"column {label}", self.meant, hint).to_numpy())

    def judged_by(self, given: str | None) -> Self:
        """Return the task with another metric that judges; the task itself where none is given.

        Args:
            given: any metric of the task, or ``module:function`` of the project.

        Raises:
            ConfigError: the task has no such metric, or what it needs is not declared.
        """
        if given is None:
            return self
        try:
            metric = metric_name(self.kind, given)
        except ValueError as error:
            raise ConfigError(str(error), hint="correct the name of the metric") from error
        if metric == "neg_cost":
            check_costs(getattr(self, "costs", ()), len(getattr(self, "classes", ())))
        own = self.own
        if ":" in metric and metric not in own and self.load is not None:
            own = {**own, metric: load_metric(metric, self.load, "the metric")}
        return replace(self, metric=metric, own=own)

    def measure(self, metric: str, truth: npt.ArrayLike, answers: Answers) -> Measure:
        """Return a function from weights, shape (resamples, rows), to the metric under each.

        Args:
            metric: one of the task, as `task_names.metric_name` returns it.
            truth: as `truth` returns it.
            answers: as `answers` returns it.
        """
        if metric in self.own:
            known = np.asarray(truth)
            if self.kind in ("binary", "multiclass") and known.dtype.kind == "f" and np.isfinite(known).all():
                known = known.astype(np.int32)  # numbers of classes, in logs as in training
            return resampled(metric, self.own[metric], known, answers)
        if ":" in metric:
            raise ConfigError(
                f"the function {metric} was not loaded: nothing can be measured by it",
                hint="name a function of the project, `module:function`",
            )
        return self._measure(metric, np.asarray(truth, dtype=np.float64), answers)

    def evaluate(self, truth: npt.ArrayLike, answers: Answers) -> dict[str, float]:
        """Compare answers with the truth.

        Returns:
            The task's `metrics` (NaN where one is undefined: no rows, an answer that is not finite, classes
            that are missing), ``rows``, and `facts`.
        """
        known = np.asarray(truth)
        found = dict.fromkeys(self.metrics, float("nan"))
        if len(known) and _finite(answers):
            one = np.ones((1, len(known)))
            with np.errstate(invalid="ignore", divide="ignore"):
                found = {name: float(self.measure(name, known, answers)(one)[0]) for name in self.metrics}
        return {**found, "rows": float(len(known)), **self.facts(known, answers)}

    def by_month(
        self, times: pl.Series, truth: npt.ArrayLike, answers: Answers
    ) -> Mapping[str, dict[str, float]]:
        """Return the results of `evaluate` by month (``2013-03``, calendar months in UTC), in order.

        Args:
            times: the aware time of each row.
            truth: of each row.
            answers: of each row.
        """
        months = times.dt.convert_time_zone("UTC").dt.strftime("%Y-%m").to_numpy()
        known = np.asarray(truth)
        return {
            str(month): self.evaluate(known[months == month], answers[months == month])
            for month in np.unique(months)
        }


def _finite(answers: Answers) -> bool:
    return answers.dtype == object or bool(np.isfinite(answers).all())
