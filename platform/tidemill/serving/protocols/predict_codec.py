"""The project's own protocol: ``POST /predict``, by entity keys."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from tidemill.clock import utc
from tidemill.serving.inference.calls import Answer, Call, Content, Failure, Headers, Prediction, Refused
from tidemill.serving.protocols.json_bodies import parse_json, type_given
from tidemill.serving.protocols.predict_schema import MOST_ERRORS, request_schema, too_many
from tidemill.serving.protocols.query_parameters import wants_explanation

__all__ = ["PLAIN", "PlainErrors", "PredictCodec", "listed", "problems"]


class PlainErrors:
    """The form of errors on paths without a protocol of their own: ``{"detail": …}``."""

    name = "http"

    def error(self, failure: Failure) -> Content:
        """Return the detail."""
        return Content(orjson.dumps({"detail": failure.detail}))


PLAIN = PlainErrors()


class PredictCodec(PlainErrors):
    """Bodies as `tidemill.serving.protocols.predict_schema` declares them for the application."""

    name = "predict"

    def __init__(self, model: str, instance: type[BaseModel], max_instances: int) -> None:
        """Take the registered model's name, the schema of an instance, and how many one request may have."""
        self.schema = request_schema(instance, max_instances)
        self._model = model
        self._validate = TypeAdapter(self.schema).validator.validate_python

    def parse(self, body: bytes, headers: Headers, query: bytes) -> Call:
        """Return what is asked for.

        Raises:
            Refused: the body is not JSON, or not as declared.
        """
        content = parse_json(body, headers)
        try:
            request = self._validate(content)
        except ValidationError as error:
            raise Refused(Failure("malformed", listed(error))) from None
        request_id = headers.get(b"x-request-id")
        return Call(
            instances=request.instances,
            at=None if request.at is None else utc(request.at),
            test=headers.get(b"x-tidemill-test") == b"1",
            explain=wants_explanation(query),
            request_id=None if request_id is None else request_id[:200].decode("latin-1"),
        )

    def render(self, call: Call, answer: Answer) -> Content:
        """Return the predictions."""
        content = {
            "model": self._model,
            "model_version": answer.version,
            "predictions": [_shown(prediction) for prediction in answer.predictions],
        }
        return Content(orjson.dumps(content, default=str))


def listed(error: ValidationError) -> list[dict[str, Any]]:
    """Return the errors of a body, one a field; beyond 1,000 only their number, as listing takes seconds."""
    if error.error_count() > MOST_ERRORS:
        return problems([{"loc": (), "msg": too_many(error).message(), "type": too_many(error).type}])
    return problems(error.errors(include_url=False))


def problems(
    errors: Sequence[Mapping[str, Any]], within: tuple[str | int, ...] = ("body",)
) -> list[dict[str, Any]]:
    """Return the errors of a body, one a field: where it is, what is expected, and which type was given.

    The input itself stays out: it may be personal, and it may be NaN, which JSON cannot say.

    >>> problems([{"loc": ("wind",), "msg": "Input should be a number", "type": "float_type", "input": "x"}])
    [{'loc': ['body', 'wind'], 'msg': 'Input should be a number, and text was given', 'type': 'float_type'}]
    """
    return [{"loc": [*within, *item["loc"]], "msg": _message(item), "type": item["type"]} for item in errors]


def _message(item: Mapping[str, Any]) -> str:
    kind = str(item["type"])
    if "input" not in item or not kind.endswith("_type") or kind == "datetime_type":
        return str(item["msg"])
    return f"{item['msg']}, and {type_given(item['input'])} was given"


def _shown(prediction: Prediction) -> dict[str, Any]:
    shown = {
        "prediction_id": prediction.prediction_id,
        "model_version": prediction.version,
        **prediction.task.shown(prediction.answer),
        "decision": prediction.decision,
        "flags": prediction.flags,
    }
    if prediction.explanation is not None:
        shown["explanation"] = prediction.explanation
    return shown
