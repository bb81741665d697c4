"""A task of the project's own: any JSON for an answer, judged by a function of the project."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from tidemill.errors import ConfigError
from tidemill.tasks.answer_fields import AnswerField
from tidemill.tasks.target_labels import Labels, as_json, iso_text
from tidemill.tasks.task import Answers, Task
from tidemill.tasks.task_names import TaskName
from tidemill.tasks.weighted_metrics import Measure

__all__ = ["Custom"]


@dataclass(frozen=True)
class Custom(Task):
    """Any answer; the metric is the project's own.

    >>> def overlap(truth, answers):
    ...     return float(np.mean([want in given for want, given in zip(truth, answers)]))
    >>> task = Custom("pipelines.ranking:overlap", {"pipelines.ranking:overlap": overlap})
    >>> answers = np.array([None, None], dtype=object)
    >>> answers[:] = [["a", "b"], ["c"]]
    >>> task.evaluate(np.array(["a", "b"], dtype=object), answers)["pipelines.ranking:overlap"]
    0.5
    """

    kind: ClassVar[TaskName] = "custom"

    @property
    def label_schema(self) -> dict[str, Any]:
        """Anything but null, which is no label."""
        return {"not": {"type": "null"}}

    @property
    def meant(self) -> str:
        """What a label must be."""
        return "any value"

    def labels(self, column: pl.Series) -> Labels:
        """Return the labels as they are, dates and moments as text in ISO 8601."""
        return as_json(column)

    def truth(self, rows: pl.DataFrame, label: str) -> npt.NDArray[Any]:
        """Return the labels of rows that all have one, shape (rows,); lists as the log has them."""
        if label in rows.columns and rows[label].dtype.is_nested() and not rows[label].null_count():
            return _objects([_without_dates(value) for value in rows[label].to_list()])
        return super().truth(rows, label)

    def answers(self, estimator: Any, features: Any) -> Answers:
        """Return what ``predict`` gives, one JSON value a row, shape (rows,) of objects."""
        return self.from_output(estimator.predict(features))

    def from_output(self, output: Any) -> Answers:
        """Return one value a row: of a frame with several columns, or of a mapping of columns, an object.

        Frames and series may be Polars', too. NumPy's numbers and arrays become Python's, at any depth.

        >>> list(Custom("m:f").from_output({"low": np.float32([1, 2]), "words": [["a"], []]}))
        [{'low': 1.0, 'words': ['a']}, {'low': 2.0, 'words': []}]
        >>> list(Custom("m:f").from_output(pl.DataFrame({"low": [1.5], "words": [["a"]]})))
        [{'low': 1.5, 'words': ['a']}]
        >>> list(Custom("m:f").from_output(pl.Series([["a"], []])))
        [['a'], []]
        """
        if hasattr(output, "to_dict") and hasattr(output, "columns"):
            values = output.to_dicts() if hasattr(output, "to_dicts") else output.to_dict("records")
            if len(output.columns) == 1:
                values = [next(iter(row.values())) for row in values]
        elif isinstance(output, Mapping):
            columns = [_plain(column) for column in output.values()]
            values = [dict(zip(output, row, strict=True)) for row in zip(*columns, strict=True)]
        else:
            values = output.tolist() if hasattr(output, "tolist") else list(output)
        return _objects(list(map(_plain, values)))

    def scores(self, answers: Answers) -> npt.NDArray[np.float64]:
        """Return the answers that are numbers; NaN for others."""
        return np.array([np.nan if (x := self.score(one)) is None else x for one in answers], np.float64)

    def score(self, answer: Any) -> float | None:
        """Return the answer, if it is a number."""
        is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
        return float(answer) if is_number and math.isfinite(answer) else None

    def is_sound(self, answers: Sequence[Any]) -> bool:
        """Return whether all answers can be written as JSON."""
        return all(map(_is_json, answers))

    def sound(self, answers: Answers) -> npt.NDArray[np.bool_]:
        """Return which answers can be written as JSON, shape (rows,)."""
        return np.fromiter(map(_is_json, answers), np.bool_, len(answers))

    @property
    def answer_fields(self) -> tuple[AnswerField, ...]:
        """The answer itself."""
        return (AnswerField("answer", "json", example="any JSON value"),)

    def columns(self, answers: Answers) -> dict[str, Any]:
        """Return the answers as JSON."""
        return {"answer": [self.logged(answer) if _is_json(answer) else None for answer in answers]}

    def decided_on(self, answer: Any) -> dict[str, Any]:
        """Return the answer, named."""
        return self.shown(answer)

    def shown(self, answer: Any) -> dict[str, Any]:
        """Return the answer itself."""
        return {"answer": answer}

    def logged(self, answer: Any) -> str | None:
        """Return the answer as JSON."""
        return json.dumps(answer, ensure_ascii=False)

    def answers_of_log(self, scores: pl.Series, answers: pl.Series | None) -> Answers:
        """Return the answers, shape (rows,) of objects."""
        return _of_json(answers)

    def label_given(self, value: object) -> tuple[int | None, str | None]:
        """Return the value as JSON; a date or a moment is text in ISO 8601.

        Raises:
            ValueError: it is None, which is no label, or has no form in JSON.

        >>> Custom("m:f").label_given(["a", 1])
        (None, '["a", 1]')
        """
        if value is None:
            raise ValueError("must be a JSON value other than null")
        try:
            label = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, default=iso_text)
            label.encode()
            return None, label
        except UnicodeEncodeError as error:
            raise ValueError("must be a JSON value: its text has half a surrogate pair") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"must be a JSON value: {error}") from error

    def truth_of_log(self, rows: pl.DataFrame) -> npt.NDArray[Any]:
        """Return the labels of logged rows, shape (rows,) of objects; None where there is none."""
        return _of_json(rows["target"])

    def categories(self, answers: Answers) -> pl.Series | None:
        """Return the words of the answers, if each has some: text, truth values, and what is made of them.

        Numbers beside them are left out: what varies from row to row is no category.

        >>> answers = _objects([{"best": ["a", "b"], "chance": 0.75}, {"best": ["b"], "chance": 0.5}])
        >>> Custom("m:f").categories(answers).to_list()
        ['{"best": ["a", "b"]}', '{"best": ["b"]}']
        """
        found = [_words(one) for one in answers]
        if not found or None in found:
            return None
        texts = [one if isinstance(one, str) else json.dumps(one, sort_keys=True) for one in found]
        return pl.Series("answer", texts, pl.String)

    def losses(self, truth: npt.NDArray[Any], answers: Answers) -> npt.NDArray[np.float64]:
        """Return NaN: a custom task has no loss a row."""
        return np.full(len(answers), np.nan)

    def measure(self, metric: str, truth: npt.ArrayLike, answers: Answers) -> Measure:
        """Return the measure of the project's own metric."""
        if metric not in self.own:
            raise ConfigError(
                f"the custom task has no metric {metric!r}",
                hint="set train.metric in params.yaml to a function of the project, `module:function`",
            )
        return super().measure(metric, truth, answers)

    def _measure(self, metric: str, truth: npt.NDArray[np.float64], answers: Answers) -> Measure:
        raise NotImplementedError(metric)  # every metric of a custom task is the project's own


def _is_json(answer: Any) -> bool:
    """Return whether an answer can be sent: JSON, with whole numbers of 64 bits and text that is Unicode."""
    try:
        json.dumps(answer, allow_nan=False)
        orjson.dumps(answer)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _words(answer: Any) -> Any:
    """Return the text and truth values of an answer, in their lists and objects; None if it has none.

    >>> _words([["a", 0.5], ["b", 0.25]]), _words([0.5, None]), _words({"sure": True, "n": 1})
    ([['a'], ['b']], None, {'sure': True})
    """
    if isinstance(answer, str | bool):
        return answer
    if isinstance(answer, Mapping):
        fields = {name: _words(one) for name, one in answer.items()}
        return {name: one for name, one in fields.items() if one is not None} or None
    if isinstance(answer, list):
        return [one for each in answer if (one := _words(each)) is not None] or None
    return None


def _plain(value: Any) -> Any:
    """Return a value with Python's own numbers, lists and dictionaries."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, pl.Series):
        return _plain(value.to_list())
    return _plain(value.tolist()) if isinstance(value, np.ndarray | np.generic) else value


def _without_dates(value: Any) -> Any:
    """Return a value with dates and moments as text, at any depth."""
    if isinstance(value, Mapping):
        return {name: _without_dates(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_dates(one) for one in value]
    return iso_text(value) if isinstance(value, date | time) else value


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    found = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # lists of equal lengths would become a matrix
        found[place] = value
    return found


def _of_json(texts: pl.Series | None) -> npt.NDArray[Any]:
    given = [] if texts is None else texts.to_list()
    return _objects([None if text is None else json.loads(text) for text in given])
