"""The outputs that the Open Inference Protocol offers, and how each is made of predictions."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from tidemill.serving.inference.calls import (
    Failure,
    Prediction,
    Refused,
)
from tidemill.tasks.answer_fields import AnswerField
from tidemill.tasks.task import Task

__all__ = ["Output", "outputs_of"]


class Output(NamedTuple):
    """One output: its datatype, and how it is made of predictions."""

    datatype: str
    make: Callable[[Prediction], Any]
    width: int | None = None
    """Of shape [N, width]; None: of shape [N]."""


_FURTHER: Mapping[str, Output] = {
    "prediction_id": Output("BYTES", lambda one: one.prediction_id),
    "model_version": Output("BYTES", lambda one: one.version),
    "flags": Output("BYTES", lambda one: ",".join(one.flags)),
    "decision": Output("BYTES", lambda one: orjson.dumps(one.decision, default=str).decode()),
    "explanation": Output("BYTES", lambda one: orjson.dumps(one.explanation or {}).decode()),
}
"""Outputs of every task; the explanation only where it was asked for."""

_KINDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "number": ("FP64", lambda value: value),
    "text": ("BYTES", lambda value: value),
    "numbers": ("FP64", lambda value: list(value.values())),
    "json": ("BYTES", lambda value: orjson.dumps(value).decode()),
}


@functools.cache
def outputs_of(task: Task) -> Mapping[str, Output]:
    """Return the outputs of a task's models, in order.

    >>> from tidemill.tasks.multiclass import Multiclass
    >>> [(name, one.width) for name, one in outputs_of(Multiclass("", classes=("a", "b"))).items()][:2]
    [('class', None), ('probabilities', 2)]
    """
    return {**{field.name: _output(field) for field in task.answer_fields}, **_FURTHER}


def _output(field: AnswerField) -> Output:
    datatype, make = _KINDS[field.kind]
    width = len(field.keys) if field.kind == "numbers" else None

    def made(one: Prediction) -> Any:
        shown = one.task.shown(one.answer)
        if field.name not in shown or (width is not None and len(shown[field.name]) != width):
            raise Refused(Failure("unsupported", f"version {one.version} has no output {field.name!r}"))
        return make(shown[field.name])

    return Output(datatype, made, width)
