"""The project's own protocol: ``POST /predict``, by entity keys."""

import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from tidemill.clock import utc
from tidemill.serving.inference.calls import Answer, Call, Content, Failure, Headers, Prediction, Refused
from tidemill.serving.protocols.json_bodies import parse_json, type_given
from tidemill.serving.protocols.predict_schema import MOST_ERRORS, request_schema, too_many
from tidemill.serving.protocols.query_parameters import wants_explanation

__all__ = ["PLAIN", "PlainErrors", "PredictCodec", "listed", "name_fields", "problems"]

_MOST_MEANT = 10
"""Names for which the nearest field is looked for in one body: a comparison of texts takes time."""
_MOST_NAMED = 40
_LONGEST = 100
_OBJECTS = {"dict_type", "mapping_type", "model_attributes_type", "model_type"}
_UNREADABLE = {"datetime_from_date_parsing", "datetime_parsing"}
_MOMENT_IN_BODY = '{"instances": [...], "at": "2013-04-01T10:15:00Z"}'
_A_MOMENT = "Input should be a moment such as 2013-04-01T10:15:00Z"


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
            Refused: the body is not JSON, or not as declared; or the query asks for what there is not.
        """
        explain = wants_explanation(query, _MOMENT_IN_BODY)
        content = parse_json(body, headers)
        try:
            request = self._validate(content)
        except ValidationError as error:
            raise Refused(Failure("malformed", listed(error, self.schema))) from None
        request_id = headers.get(b"x-request-id")
        return Call(
            instances=request.instances,
            at=None if request.at is None else utc(request.at),
            test=headers.get(b"x-tidemill-test") == b"1",
            explain=explain,
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


def listed(error: ValidationError, schema: type[BaseModel]) -> list[dict[str, Any]]:
    """Return the errors of a body, one a field; beyond 1,000 only their number, as listing takes seconds."""
    if error.error_count() > MOST_ERRORS:
        return problems([{"loc": (), "msg": too_many(error).message(), "type": too_many(error).type}])
    found = problems(error.errors(include_url=False))
    name_fields(found, schema)
    return found


def problems(
    errors: Sequence[Mapping[str, Any]], within: tuple[str | int, ...] = ("body",)
) -> list[dict[str, Any]]:
    """Return the errors of a body, one a field: where it is, what is expected, and which type was given.

    The input itself stays out: it may be personal, and it may be NaN, which JSON cannot say.

    >>> problems([{"loc": ("wind",), "msg": "Input should be a number", "type": "float_type", "input": "x"}])
    [{'loc': ['body', 'wind'], 'msg': 'Input should be a number, and text was given', 'type': 'float_type'}]
    """
    return [{"loc": [*within, *item["loc"]], "msg": _message(item), "type": item["type"]} for item in errors]


def name_fields(found: Sequence[dict[str, Any]], schema: Any, within: int = 1) -> None:
    """Add to the errors about unknown fields which one is meant, or which there are.

    Args:
        found: errors as `problems` returns them.
        schema: of the body.
        within: how many parts of an error's place lead to the body.
    """
    said: dict[tuple[Any, str], str] = {}
    for item in found:
        if item["type"] != "extra_forbidden":
            continue
        *inside, name = item["loc"][within:]
        model = _schema_at(schema, inside)
        item["msg"] = "There is no such field"
        if model is None:
            continue
        if (model, name) not in said and len(said) < _MOST_MEANT:
            said[model, name] = _which_field(str(name), _names_of(model))
        item["msg"] = said.get((model, name), item["msg"])


def _schema_at(schema: Any, place: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model at a place in a body; None if it is of another type, such as ``Any``, or of several.

    >>> class Flight(BaseModel):
    ...     origin: str
    >>> _schema_at(request_schema(Flight, 9), ["instances", 3]).__name__
    'Flight'
    """
    for part in place:
        if isinstance(part, int):
            schema = next(iter(get_args(schema)), None)
        elif _is_model(schema):
            fields = schema.model_fields.items()
            schema = next((field.annotation for name, field in fields if part in (name, field.alias)), None)
        else:
            return None
        models = [one for one in get_args(schema) if _is_model(one)]
        if get_origin(schema) in (Union, UnionType) and len(models) == 1:  # which may be null
            schema = models[0]
    return schema if _is_model(schema) else None


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _names_of(schema: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in schema.model_fields.items()]


def _which_field(name: str, names: Sequence[str]) -> str:
    r"""Return a message about an unknown field.

    >>> _which_field("Petal_Length", ["petal length", "petal width"])
    "There is no such field; is 'petal length' meant?"
    >>> _which_field("colour", ["petal length", "petal width"])
    'There is no such field; there are: petal length, petal width'
    >>> print(_which_field("size \N{LATIN SMALL LETTER E WITH ACUTE}", ["size e\N{COMBINING ACUTE ACCENT}"]))
    There is no such field: 'size é' looks like it, and has other code points ('size e\u0301')
    """
    lowered = {each.lower(): each for each in reversed(names)}
    composed = unicodedata.normalize("NFC", name[:_LONGEST])
    if twin := next((one for one in names if unicodedata.normalize("NFC", one) == composed), None):
        return f"There is no such field: {twin!r} looks like it, and has other code points ({twin!a})"
    near = get_close_matches(name[:_LONGEST].lower(), lowered, n=1)
    if near:
        return f"There is no such field; is {lowered[near[0]]!r} meant?"
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"There is no such field; there are: {', '.join(names[:_MOST_NAMED])}{more}"


def _message(item: Mapping[str, Any]) -> str:
    kind, said = str(item["type"]), str(item["msg"])
    if kind == "json_invalid":
        return f"the body is not JSON: {item.get('ctx', {}).get('error', said)}"
    if kind in _UNREADABLE:
        return f"{_A_MOMENT}, and text was given: {said.partition(', ')[2]}"
    if kind == "timezone_aware":
        return f"{_A_MOMENT}, and one without its offset from UTC was given: with Z at its end it is in UTC"
    if "input" not in item or not kind.endswith("_type") or kind == "datetime_type":
        return said
    given = type_given(item["input"])
    if kind == "int_type" and isinstance(item["input"], float):
        given += " with a fraction"
    return f"{'Input should be an object' if kind in _OBJECTS else said}, and {given} was given"


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
