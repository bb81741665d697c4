"""The paths of the Open Inference Protocol: health, metadata and predictions."""

import functools
from typing import Any

import orjson
from fastapi import APIRouter, Path, Response

from tidemill.serving.http.openapi import COMMON, PredictionRoute, predicting
from tidemill.serving.http.predictions import Predictions
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.protocols.open_inference import (
    FEATURES,
    OpenInference,
    datatype_of,
)
from tidemill.serving.protocols.open_inference_outputs import outputs_of
from tidemill.serving.protocols.open_inference_paths import Now, features_of, no_version, versions_of
from tidemill.serving.protocols.protocol_schemas import (
    InferenceError,
    ModelMetadata,
    ModelReady,
    ProtocolSchemas,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.version import __version__

__all__ = ["open_inference_router", "responses"]

_VERSION = Path(pattern="^[^/]+$")
_STATUSES = (400, 401, 403, 404, 408, 413, 415, 421, 429, 500, 502, 503, 504)


def responses(error: type[Any]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of error answers."""
    return {status: {"model": error} for status in _STATUSES}


def open_inference_router(
    codec: OpenInference, now: Now, predictions: Predictions, schemas: ProtocolSchemas
) -> APIRouter:
    """Return the paths of the Open Inference Protocol V2."""
    router = APIRouter(tags=["Open Inference Protocol V2"], responses=responses(InferenceError))
    _add_health(router, codec.inputs.model, now)
    _add_metadata(router, codec, now)
    _add_infer(router, codec.inputs.model, predictions, schemas)
    return router


def _add_metadata(router: APIRouter, codec: OpenInference, now: Now) -> None:
    model = codec.inputs.model

    @router.get("/v2", response_model=ServerMetadata)
    async def server() -> Response:
        """Return the server's name, version and extensions."""
        return _json({"name": "tidemill", "version": __version__, "extensions": ["binary_tensor_data"]})

    @router.get(f"/v2/models/{model}", response_model=ModelMetadata)
    async def metadata() -> Response:
        """Return the model's inputs and outputs, and which versions answer."""
        return _json(_metadata(codec, now(), versions_of(now())))

    @router.get(f"/v2/models/{model}/versions/{{version}}", response_model=ModelMetadata)
    async def version_metadata(version: str = _VERSION) -> Response:
        """Return a version's inputs and outputs, if it answers now."""
        return _json(_metadata(codec, now(), (_answering(model, version, now()),)))


def _add_infer(router: APIRouter, model: str, predictions: Predictions, schemas: ProtocolSchemas) -> None:
    blob = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    body = {"requestBody": {"content": blob}}
    length = {
        "description": "With binary data: the length of the JSON before it.",
        "schema": {"type": "integer"},
    }
    headers = {"Inference-Header-Content-Length": length}
    answers: dict[int | str, dict[str, Any]] = {200: {"content": blob, "headers": headers}}
    paths = f"/v2/models/{model}"

    add = functools.partial(
        router.add_api_route,
        methods=["POST"],
        response_model=schemas.inferred,
        responses=answers,
        openapi_extra=body,
        route_class_override=PredictionRoute,
    )
    text = "Predict, by the request's fields or by features as given. What is answered is on record already."
    add(f"{paths}/infer", predicting(predictions, "infer", text, request=schemas.infer, **COMMON))
    one = {"request": schemas.infer, "version": (str, _VERSION), **COMMON}
    text = "Predict with one of the versions that answer now."
    add(f"{paths}/versions/{{version}}/infer", predicting(predictions, "version_infer", text, **one))
    other = {"model": str, "version": str}
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        names = {name: kind for name, kind in other.items() if f"{{{name}}}" in path}
        add(path, predicting(predictions, "other_model", "Refuse.", **names), include_in_schema=False)


def _add_health(router: APIRouter, model: str, now: Now) -> None:
    @router.get("/v2/health/live", response_model=ServerLive)
    async def live() -> Response:
        """Return success while the process lives."""
        return _json({"live": True})

    @router.get("/v2/health/ready", response_model=ServerReady)
    async def ready() -> Response:
        """Return whether a model answers; 400 if not, as the protocol wants 4xx."""
        _some(model, now())
        return _json({"ready": True})

    @router.get(f"/v2/models/{model}/ready", response_model=ModelReady)
    async def model_ready() -> Response:
        """Return whether any version answers; 400 if not."""
        _some(model, now())
        return _json({"name": model, "ready": True})

    @router.get(f"/v2/models/{model}/versions/{{version}}/ready", response_model=ModelReady)
    async def version_ready(version: str = _VERSION) -> Response:
        """Return whether a version answers; 404 if not."""
        _answering(model, version, now())
        return _json({"name": model, "ready": True})


def _metadata(
    codec: OpenInference, serving: ServingVersions | None, versions: tuple[str, ...]
) -> dict[str, Any]:
    features = features_of(serving)
    parameters: dict[str, Any] = {}
    if features is not None:
        width = sum(features.lists.get(name, 1) for name in features.needed)
        given = {"name": FEATURES, "datatype": "FP64", "shape": [-1, width], "columns": features.needed}
        text = {"text": features.words} if features.words else {}
        lists = {"lists": features.lists} if features.lists else {}
        parameters["features"] = {**given, **text, **lists}
    inputs = [
        {
            "name": field.name,
            "datatype": datatype_of(field),
            "shape": [-1] if field.width is None else [-1, field.width],
            **({} if field.required else {"parameters": {"optional": True}}),
        }
        for field in codec.inputs.fields
    ]
    outputs = [
        {
            "name": name,
            "datatype": output.datatype,
            "shape": [-1] if output.width is None else [-1, output.width],
            **({"parameters": {"needs": "explain"}} if name == "explanation" else {}),
        }
        for name, output in outputs_of(codec.inputs.task()).items()
    ]
    return {
        "name": codec.inputs.model,
        "versions": versions,
        "platform": "tidemill",
        "inputs": inputs,
        "outputs": outputs,
        "parameters": parameters,
    }


def _some(model: str, serving: ServingVersions | None) -> ServingVersions:
    if serving is None:
        raise Refused(Failure("not_ready", f"no version of {model} answers yet: GET /model says why"))
    return serving


def _answering(model: str, version: str, serving: ServingVersions | None) -> str:
    if version not in versions_of(_some(model, serving)):
        raise _not_found(no_version(model, serving))
    return version


def _not_found(what: str) -> Refused:
    return Refused(Failure("not_found", what))


def _json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
