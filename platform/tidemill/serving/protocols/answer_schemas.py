"""The schemas of answers and labels, as the project's task makes them precise."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticCustomError

from tidemill.serving.protocols.json_bodies import type_given
from tidemill.serving.protocols.predict_schema import (
    Feedback,
    LabelIn,
    PredictionOut,
    PredictionResponse,
)
from tidemill.tasks.answer_fields import AnswerField
from tidemill.tasks.task import Task

__all__ = ["feedback_schema", "field_types", "prediction_schema", "raw_type", "response_schema"]

_RAW: Mapping[str, Any] = {"number": float, "numbers": list[float], "json": Any}


@functools.cache
def prediction_schema(task: Task) -> type[PredictionOut]:
    """Return the schema of one prediction.

    >>> from tidemill.tasks.regression import Regression
    >>> sorted(prediction_schema(Regression("neg_mae")).model_json_schema()["properties"])[-2:]
    ['prediction_id', 'value']
    """
    return create_model(
        "PredictionOut", __base__=PredictionOut, __doc__=PredictionOut.__doc__, **field_types(task)
    )


def response_schema(task: Task) -> type[PredictionResponse]:
    """Return the schema of the answer to ``POST /predict``, with an example."""
    one = {
        "prediction_id": "pred_01HR3W8D7Y",
        "model_version": "3",
        **{field.name: field.example for field in task.answer_fields},
        "decision": {},
        "flags": [],
    }
    example: Any = {"model": "my-model", "model_version": "3", "predictions": [one]}
    base = create_model("PredictionResponse", __base__=PredictionResponse, __config__=None)
    base.model_config = ConfigDict(json_schema_extra={"example": example})
    return create_model(
        "PredictionResponse",
        __base__=base,
        __doc__=PredictionResponse.__doc__,
        predictions=(list[prediction_schema(task)], ...),  # type: ignore[arg-type, misc]
    )


def field_types(task: Task) -> dict[str, Any]:
    """Return the values that an answer is shown as, as fields of a schema."""
    return {field.name: (_type(field), ...) for field in task.answer_fields}


def raw_type(task: Task) -> Any:
    """Return the type of one answer as the model gives it: a number, a list of numbers, or any JSON value."""
    return _RAW[task.answer_fields[-1].kind]


def feedback_schema(task: Task) -> type[Feedback]:
    """Return the schema of labels; ``label`` becomes the pair that `Task.label_given` returns."""

    def given(value: Any) -> tuple[int | None, str | None]:
        try:
            return task.label_given(value)
        except (ValueError, OverflowError, RecursionError) as error:
            said = {"why": str(error), "given": type_given(value)}
            raise PydanticCustomError("label", "Input {why}, and {given} was given", said) from None

    kind = Annotated[Any, WithJsonSchema(task.label_schema), AfterValidator(given)]
    label = create_model("LabelIn", __base__=LabelIn, __doc__=LabelIn.__doc__, label=(kind, ...))
    labels = Annotated[list[label], Field(min_length=1, max_length=100_000)]  # type: ignore[valid-type]
    return create_model("Feedback", __base__=Feedback, __doc__=Feedback.__doc__, labels=(labels, ...))


def _type(field: AnswerField) -> Any:
    if field.kind == "numbers":
        values: dict[str, Any] = dict.fromkeys(field.keys, (float, ...))
        return create_model("Probabilities", __base__=BaseModel, **_named(values))
    if field.kind == "text":
        return Literal[field.keys] if field.keys else str
    return float if field.kind == "number" else Any


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields by names that pydantic takes, each with the class as its alias."""
    return {f"class_{n}": (kind, Field(alias=name)) for n, (name, (kind, _)) in enumerate(values.items())}
