"""The protocols beside the project's own, put together: what the front routes, and what FastAPI adds."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI
from pydantic import BaseModel

from tidemill.serving.http.mlflow_routes import mlflow_router
from tidemill.serving.http.open_inference_routes import (
    features_of,
    infer_paths,
    open_inference_router,
)
from tidemill.serving.inference.calls import Codec
from tidemill.serving.protocols.mlflow_scoring import MlflowScoring
from tidemill.serving.protocols.model_inputs import Inputs
from tidemill.serving.protocols.open_inference import OpenInference
from tidemill.serving.routing.traffic_split import Serving

__all__ = ["Protocols", "Route"]


@dataclass(frozen=True)
class Route:
    """A path at which a protocol answers predictions."""

    method: str
    path: str
    codec: Codec


class Protocols:
    """The Open Inference Protocol V2, and MLflow's scoring protocol."""

    def __init__(
        self, model: str, instance: type[BaseModel], max_rows: int, now: Callable[[], Serving | None]
    ) -> None:
        """Take what is served.

        Args:
            model: name of the registered model.
            instance: schema of one request's fields.
            max_rows: the largest number of rows in one request.
            now: says which versions answer at this moment.
        """
        inputs = Inputs(model, instance, max_rows, lambda: features_of(now()))
        self._now = now
        self._open_inference = OpenInference(inputs)
        self.routes = (
            Route("POST", f"/v2/models/{model}/infer", self._open_inference),
            Route("POST", "/invocations", MlflowScoring(inputs)),
        )
        """Those whose paths are fixed."""
        self.find = infer_paths(self._open_inference, now)
        """Knows the others, by method and path."""

    def add_to(self, api: FastAPI) -> None:
        """Add health, metadata and, for OpenAPI, the fast routes."""
        api.include_router(open_inference_router(self._open_inference, self._now))
        api.include_router(mlflow_router(self._now))
