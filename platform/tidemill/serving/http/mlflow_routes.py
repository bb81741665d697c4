"""The paths of MLflow's scoring protocol."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from mlflow.version import VERSION as MLFLOW_VERSION

from tidemill.serving.http.open_inference_routes import responses
from tidemill.serving.http.openapi import COMMON, PredictionRoute, predicting
from tidemill.serving.http.predictions import Predictions
from tidemill.serving.protocols.protocol_schemas import (
    Invocation,
    InvocationError,
    InvocationResponse,
)
from tidemill.serving.routing.traffic_split import ServingVersions

__all__ = ["mlflow_router"]


def mlflow_router(
    now: Callable[[], ServingVersions | None], predictions: Predictions, response: type[InvocationResponse]
) -> APIRouter:
    """Return the paths of MLflow's scoring protocol; ``response`` is the schema of predictions."""
    router = APIRouter(tags=["MLflow scoring"])
    empty: dict[int | str, dict[str, Any]] = {
        404: {"description": "No model answers yet.", "content": {"application/json": {}}}
    }

    @router.get("/ping", response_class=Response, responses=empty)
    @router.get("/health", response_class=Response, responses=empty)
    async def ping() -> Response:
        """Return whether a model answers."""
        return Response("\n", 404 if now() is None else 200, media_type="application/json")

    @router.get("/version", response_class=Response)
    async def version() -> Response:
        """Return which version of MLflow speaks this protocol, as its own server does."""
        return Response(MLFLOW_VERSION, media_type="application/json")

    csv = {"text/csv": {"schema": {"type": "string", "description": "A header with names, then the rows."}}}

    text = "Predict; columns are the request's fields, or the model's features as given."
    router.add_api_route(
        "/invocations",
        predicting(
            predictions,
            "invocations",
            text,
            request=Invocation,
            **COMMON,
        ),
        methods=["POST"],
        route_class_override=PredictionRoute,
        response_model=response,
        responses=responses(InvocationError),
        openapi_extra={"requestBody": {"content": csv}},
    )
    return router
