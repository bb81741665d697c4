"""The columns of the output that hold what a version answers, by its task."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tidemill.tasks.answer_fields import AnswerField, column_names
from tidemill.tasks.task import Task

__all__ = ["added_columns", "answer_columns", "answer_types", "number_columns", "recorded_fields"]

_TYPES = {"number": pa.float64(), "numbers": pa.float64(), "text": pa.string(), "json": pa.string()}


def recorded_fields(task: Task) -> tuple[AnswerField, ...]:
    """Return what of a task decides on the columns of an output."""
    return tuple(field._replace(example=None) for field in task.answer_fields)


def answer_types(fields: Sequence[AnswerField]) -> dict[str, pa.DataType]:
    """Return the columns of answers and their types.

    >>> answer_types([AnswerField("class", "text"), AnswerField("probabilities", "numbers", ("a", "b"))])
    {'class': DataType(string), 'probability_a': DataType(double), 'probability_b': DataType(double)}
    """
    return {name: _TYPES[field.kind] for field in fields for name in column_names(field)}


def added_columns(fields: Sequence[AnswerField]) -> tuple[str, ...]:
    """Return the names of all columns that scoring adds."""
    return ("prediction_id", "model_version", *answer_types(fields), "decision", "flags")


def number_columns(fields: Sequence[AnswerField]) -> tuple[str, ...]:
    """Return the names of the columns of answers whose values hardly repeat."""
    return tuple(name for name, kind in answer_types(fields).items() if kind == pa.float64())


def answer_columns(task: Task, fields: Sequence[AnswerField], answers: Any) -> list[pa.Array]:
    """Return the columns of answers; those that are not sound may hold anything."""
    found = task.columns(answers)
    return [pa.array(found[name], kind) for name, kind in answer_types(fields).items()]
