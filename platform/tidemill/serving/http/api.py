"""The web framework's application: the routes of the prediction API and the form of their errors.

Requests for predictions are answered by `predictions`. The other routes are called rarely, and work
that waits runs in a thread.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from tidemill.errors import TidemillError
from tidemill.prediction_log.labels.label_matching import GivenLabel
from tidemill.serving.http.failures import failure_of
from tidemill.serving.http.mlflow_routes import mlflow_router
from tidemill.serving.http.open_inference_routes import open_inference_router
from tidemill.serving.http.openapi import (
    COMMON,
    KNOWN_PARAMETERS,
    PredictionRoute,
    add_documentation,
    as_response,
    declare_admission,
    predicting,
)
from tidemill.serving.http.predictions import Predictions
from tidemill.serving.http.replies import reply_to
from tidemill.serving.inference.calls import Failure, Kind, Refused
from tidemill.serving.inference.data_plane import DataPlane
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.serving.protocols.answer_schemas import feedback_schema, response_schema
from tidemill.serving.protocols.error_bodies import error_codec
from tidemill.serving.protocols.json_bodies import not_json, other_media_type, refuse_repeated
from tidemill.serving.protocols.predict_codec import name_fields, problems
from tidemill.serving.protocols.predict_schema import (
    Accepted,
    Error,
    Feedback,
    ModelState,
)
from tidemill.serving.protocols.protocol_schemas import schemas_of
from tidemill.serving.protocols.served_protocols import Protocols
from tidemill.version import __version__

__all__ = ["create_api"]

_NO_PATH = "there is nothing at this path: GET /docs shows all paths"
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_api(
    plane: DataPlane,
    predictions: Predictions,
    protocols: Protocols,
    metrics: Metrics,
    lifespan: Lifespan,
    *,
    keys_required: bool,
    routers: Iterable[APIRouter] = (),
) -> FastAPI:
    """Return the application.

    Args:
        plane: what it asks.
        predictions: answers requests for predictions.
        protocols: in which they come.
        metrics: what Prometheus reads.
        lifespan: runs what lives as long as the application.
        keys_required: whether requests need an API key; for OpenAPI.
        routers: further routes.
    """
    api = FastAPI(
        title=f"{plane.model} predictions",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load their scripts from the internet
        redoc_url=None,
    )
    add_documentation(api)
    _add_predictions(api, plane, predictions, protocols)
    _add_state(api, plane)
    _add_metrics(api, metrics)
    _add_errors(api)
    for router in routers:
        api.include_router(router)
    schemas = schemas_of(protocols.task)
    api.include_router(open_inference_router(protocols.open_inference, plane.serving, predictions, schemas))
    api.include_router(mlflow_router(plane.serving, predictions, schemas.invoked))
    declare_admission(api, keys_required)
    return api


def _add_predictions(api: FastAPI, plane: DataPlane, predictions: Predictions, protocols: Protocols) -> None:
    errors: dict[int | str, dict[str, Any]] = {
        code: {"model": Error} for code in (401, 403, 408, 413, 415, 422, 429, 500, 502, 503, 504)
    }
    api.router.add_api_route(
        "/predict",
        predicting(
            predictions,
            "predict",
            "Predict for up to the allowed number of instances. What is answered is on record already.",
            body=protocols.predict.schema,
            **COMMON,
        ),
        methods=["POST"],
        response_model=response_schema(protocols.task),
        responses=errors,
        route_class_override=PredictionRoute,
    )

    labels_schema = feedback_schema(protocols.task)

    @api.post("/feedback", response_model=Accepted, responses=errors, dependencies=[KNOWN_PARAMETERS])
    async def feedback(body: labels_schema, request: Request) -> Response:  # type: ignore[valid-type]
        """Take labels by prediction id, or by keys and moment; they may come early, late or repeatedly.

        The latest ``at`` counts.
        """
        refuse_repeated(await request.body(), await request.json())
        given: Feedback = body
        labels = [
            GivenLabel(
                item.prediction_id, item.label[0], item.at, item.keys, item.predicted_at, item.label[1]
            )
            for item in given.labels
        ]
        return _json(200, {"accepted": await plane.label(labels)})


def _add_state(api: FastAPI, plane: DataPlane) -> None:
    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Return success while the process lives."""
        return {"status": "alive"}

    @api.get("/readyz", responses={503: {"model": Error}})
    async def readyz() -> Response:
        """Return whether there is a model to answer with, and which parts of the platform are down."""
        version = plane.require_ready()
        # Names only, as this route is open; GET /model gives the reasons to callers with a key.
        parts = sorted(plane.status().degraded)
        return _json(200, {"status": "ready", "model_version": version, "degraded": parts})

    @api.get("/model", response_model=ModelState)
    async def model() -> Response:
        """Return which version answers, since when, and which one should."""
        return _json(200, plane.status())


def _add_metrics(api: FastAPI, metrics: Metrics) -> None:
    @api.get("/metrics", response_class=Response)
    async def read() -> Response:
        """Return the metrics of the replicas, in the text format of Prometheus."""
        # Looking at a large online store takes a while: not in a thread that predicts.
        text = await asyncio.get_running_loop().run_in_executor(None, metrics.text)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _add_errors(api: FastAPI) -> None:
    @api.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        if any(isinstance(item["input"], bytes) for item in error.errors()):  # FastAPI leaves others unread
            given = request.headers.get("content-type", "")
            return _failed(request, other_media_type(given.encode("latin-1")))
        found = problems(error.errors(), within=())
        body = getattr(request.scope.get("route"), "body_field", None)
        name_fields(found, None if body is None else body.field_info.annotation)
        return _failed(request, Failure("malformed", found))

    @api.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        # FastAPI's own answer to what goes wrong while it reads a body is a bare 400: what `request_bodies`
        # refuses, bytes that are not UTF-8 and endless numbers (ValueError), endless nesting
        # (RecursionError).
        cause = error.__cause__
        if error.status_code == 400 and isinstance(cause, Refused):
            return _failed(request, cause.failure)
        if error.status_code == 400 and isinstance(cause, ValueError | RecursionError):
            return _failed(request, not_json(None, str(cause)))
        kind: Kind = "not_found" if error.status_code == 404 else "refused"
        detail = _NO_PATH if error.status_code == 404 and error.detail == "Not Found" else error.detail
        response = _failed(request, Failure(kind, detail), error.status_code)
        response.headers.update(error.headers or {})
        return response

    @api.exception_handler(Refused)
    @api.exception_handler(TidemillError)
    @api.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _failed(request, failure_of(error))


def _failed(request: Request, failure: Failure, status: int | None = None) -> Response:
    """Return a failure in the form of the path's protocol."""
    return as_response(reply_to(failure, error_codec(request.url.path), status))


def _json(status: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
