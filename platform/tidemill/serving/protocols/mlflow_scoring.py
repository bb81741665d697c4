"""MLflow's scoring protocol, as ``mlflow models serve`` speaks it: ``POST /invocations``.

Protocol: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ and MLflow 3.17's own server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tidemill.serving.inference.calls import (
    Answer,
    Call,
    Content,
    Failure,
    GivenFeatures,
    Headers,
    Kind,
    Prediction,
    Refused,
    sentence,
)
from tidemill.serving.protocols.json_bodies import malformed, parse_json
from tidemill.serving.protocols.mlflow_frames import Frame, parse_csv, parse_frame
from tidemill.serving.protocols.model_inputs import Inputs, moment
from tidemill.serving.protocols.query_parameters import wants_explanation

__all__ = ["IGNORED", "PARAMS", "MlflowErrors", "MlflowScoring"]

IGNORED = "columns:ignored"
"""Flag of a prediction whose row had columns that nothing reads."""
PARAMS = ("at", "test", "explain")
"""What ``params`` may name."""

_CODES: Mapping[Kind, str] = {
    "malformed": "BAD_REQUEST",
    "unsupported": "BAD_REQUEST",
    "unauthenticated": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "not_found": "ENDPOINT_NOT_FOUND",
    "too_large": "INVALID_PARAMETER_VALUE",
    "media_type": "INVALID_PARAMETER_VALUE",
    "over_rate": "REQUEST_LIMIT_EXCEEDED",
    "keys_unknown": "TEMPORARILY_UNAVAILABLE",
    "overloaded": "TEMPORARILY_UNAVAILABLE",
    "no_model": "TEMPORARILY_UNAVAILABLE",
    "features": "TEMPORARILY_UNAVAILABLE",
    "unavailable": "TEMPORARILY_UNAVAILABLE",
    "timeout": "DEADLINE_EXCEEDED",
}


class MlflowErrors:
    """The protocol's form of errors: ``{"error_code": "…", "message": "…"}``."""

    name = "mlflow"

    def error(self, failure: Failure) -> Content:
        """Return the detail as a message."""
        content = {
            "error_code": _CODES.get(failure.kind, "INTERNAL_ERROR"),
            "message": sentence(failure.detail),
        }
        return Content(orjson.dumps(content))


@dataclass(frozen=True)
class MlflowScoring(MlflowErrors):
    """``POST /invocations``: columns are the request's fields, or the model's features as given."""

    inputs: Inputs

    def parse(self, body: bytes, headers: Headers, query: bytes) -> Call:
        """Return what is asked for.

        Raises:
            Refused: the body is not of the protocol, or has other columns than this model.
            NoChampion: features are given, and no model says which there are.
        """
        explain = wants_explanation(query, 'as JSON, "params": {"at": "2013-04-01T10:15:00Z"}')
        params: Mapping[str, Any] = {}
        if _is_csv(headers):
            known = self.inputs.features()
            frame = parse_csv(
                body,
                self.inputs.fields,
                () if known is None else known.words,
                () if known is None else tuple(known.lists),
                self.inputs.formats,
            )
        else:
            content = parse_json(body, headers)
            if not isinstance(content, dict):
                raise malformed("the body must be an object")
            params = _params(content)
            frame = parse_frame(content)
        instances, features = self._asked(frame)
        ignored = frame.rows is not None and self.inputs.has_extra(frame.rows)
        request_id = headers.get(b"x-request-id")
        return Call(
            instances=instances,
            features=features,
            flags=(IGNORED,) if ignored else (),
            at=moment(params["at"], "params.at") if params.get("at") is not None else None,
            test=headers.get(b"x-tidemill-test") == b"1" or params.get("test") is True,
            explain=explain or params.get("explain") is True,
            request_id=None if request_id is None else request_id[:200].decode("latin-1"),
        )

    def render(self, call: Call, answer: Answer) -> Content:
        """Return the predictions as MLflow's server does, and beside them what they lack there."""
        made = answer.predictions
        content: dict[str, Any] = {
            "predictions": [one.answer for one in made],
            **_classes(made),
            "model": self.inputs.model,
            "model_version": answer.version,
            "model_versions": [one.version for one in made],
            "prediction_ids": [one.prediction_id for one in made],
            "flags": [one.flags for one in made],
            "decisions": [one.decision for one in made],
        }
        if call.explain:
            content["explanations"] = [one.explanation for one in made]
        return Content(orjson.dumps(content, default=str))

    def _asked(self, frame: Frame) -> tuple[Any, GivenFeatures | None]:
        if frame.matrix is not None:
            return self.inputs.matrix_call(frame.matrix)
        # MLflow leaves aside columns that the model does not read.
        return self.inputs.call(frame.rows or [], extra=True)


def _classes(made: Sequence[Prediction]) -> dict[str, Any]:
    """Return the classes of the probabilities, and the one chosen in each row, if there are any."""
    found: dict[str, Any] = {}
    for field in made[0].task.answer_fields:
        if field.kind == "text":
            found[field.name] = [one.task.shown(one.answer).get(field.name) for one in made]
        elif field.kind == "numbers":
            found["classes"] = field.keys
    return found


def _is_csv(headers: Headers) -> bool:
    """Return whether the body is CSV.

    Raises:
        Refused: with 415, it is in another encoding than UTF-8.
    """
    name, _, parameters = headers.get(b"content-type", b"").partition(b";")
    if name.strip().lower() != b"text/csv":
        return False
    for parameter in parameters.split(b";"):
        key, _, value = parameter.strip().lower().partition(b"=")
        if key == b"charset" and value.strip(b'"') != b"utf-8":
            raise Refused(Failure("media_type", "CSV must be in UTF-8"))
    return True


def _params(content: Mapping[str, Any]) -> Mapping[str, Any]:
    outside = [name for name in PARAMS if name in content]
    if outside:
        raise malformed(f'{outside[0]} belongs in params: {{"params": {{"{outside[0]}": …}}}}')
    params = content.get("params")
    if params is None:
        return {}
    if not isinstance(params, dict) or not set(params) <= set(PARAMS):
        raise malformed(f"params must be an object with no other names than {', '.join(PARAMS)}")
    for name in ("test", "explain"):
        if not isinstance(params.get(name, False), bool):
            raise malformed(f"params.{name} must be true or false")
    return params
