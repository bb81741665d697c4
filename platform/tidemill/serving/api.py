"""The prediction API over HTTP: it translates, checks sizes, and has `Predictor` do the work.

The work is done in a few threads, off the event loop: most of it is waiting for SQLite and for the disk, and
threads that wait for the disk together share one flush.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill import __version__
from tidemill.errors import FeatureError, ServingError, TidemillError
from tidemill.serving.metrics import Metrics
from tidemill.serving.predictor import ModelFailed, NoChampion, Predictor
from tidemill.serving.schema import (
    Accepted,
    Error,
    Feedback,
    ModelState,
    PredictionResponse,
    request_schema,
)
from tidemill.serving.watcher import Watcher

__all__ = ["create_api"]

THREADS = 4
_BYTES_PER_INSTANCE = 4096
_BYTES = 64 * 1024
_log = logging.getLogger(__name__)
T = TypeVar("T")


def create_api(predictor: Predictor[Any], watcher: Watcher, metrics: Metrics, max_instances: int) -> FastAPI:
    """Return the application.

    Args:
        predictor: does the work.
        watcher: keeps the predictor's model up to date; runs while the application does.
        metrics: what Prometheus reads.
        max_instances: the largest number of instances in one request; a body may have 4 KiB for each.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="predict")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.get_running_loop().run_in_executor(pool, watcher.start)
        yield
        await asyncio.get_running_loop().run_in_executor(None, watcher.stop)
        pool.shutdown()
        predictor.log.close()

    api = FastAPI(title=f"{predictor.model} predictions", version=__version__, lifespan=lifespan)
    _add_predictions(api, predictor, pool, max_instances)
    _add_state(api, predictor, watcher)
    _add_metrics(api, metrics)
    _add_errors(api)
    api.add_middleware(_BodyLimit, limit=_BYTES + max_instances * _BYTES_PER_INSTANCE)
    return api


def _add_predictions(
    api: FastAPI, predictor: Predictor[Any], pool: ThreadPoolExecutor, max_instances: int
) -> None:
    schema = request_schema(predictor.application.request, max_instances)
    errors: dict[int | str, dict[str, Any]] = {code: {"model": Error} for code in (413, 422, 500, 503)}

    async def work(task: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, task)

    @api.post("/predict", response_model=PredictionResponse, responses=errors)
    async def predict(
        body: schema,  # type: ignore[valid-type]
        x_tidemill_test: Annotated[
            str | None, Header(description="`1` marks test traffic: logged, and ignored by monitors.")
        ] = None,
    ) -> Response:
        """Predict for up to the allowed number of instances. What is answered is on disk already."""
        test = x_tidemill_test == "1"
        answer = await work(lambda: predictor.predict(body.instances, body.at, test))  # type: ignore[attr-defined]
        return _json(
            200,
            {
                "model": predictor.model,
                "model_version": answer.version,
                "predictions": answer.predictions,
            },
        )

    @api.post("/feedback", response_model=Accepted, responses=errors)
    async def feedback(body: Feedback) -> Response:
        """Say what came true, by prediction id: early, late or again. The latest ``at`` counts."""
        labels = [(item.prediction_id, int(item.label), item.at) for item in body.labels]
        return _json(200, {"accepted": await work(lambda: predictor.label(labels))})


def _add_state(api: FastAPI, predictor: Predictor[Any], watcher: Watcher) -> None:
    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "alive"}

    @api.get("/readyz", responses={503: {"model": Error}})
    async def readyz() -> Response:
        """Say whether there is a model to answer with."""
        current = watcher.current()
        if current is None:
            raise NoChampion(watcher.status.error or f"no version of {predictor.model} is champion yet")
        return _json(200, {"status": "ready", "model_version": current.champion.version})

    @api.get("/model", response_model=ModelState)
    async def model() -> Response:
        """Say which version answers, since when, and which should."""
        status = watcher.status
        return _json(
            200,
            {
                "model": predictor.model,
                "version": status.version,
                "wanted": status.wanted,
                "loaded_at": status.loaded_at,
                "error": status.error,
                "replica": predictor.replica,
            },
        )


def _add_metrics(api: FastAPI, metrics: Metrics) -> None:
    @api.get("/metrics", response_class=Response)
    async def read() -> Response:
        """Say how this replica fares, in the text format of Prometheus."""
        # Looking at a large online store takes a while: not in a thread that predicts.
        text = await asyncio.get_running_loop().run_in_executor(None, metrics.text)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _add_errors(api: FastAPI) -> None:
    @api.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        # The input itself stays out: it may be personal, and it may be NaN, which JSON cannot say.
        fields = [{"loc": item["loc"], "msg": item["msg"], "type": item["type"]} for item in error.errors()]
        return _json(422, {"detail": fields})

    @api.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        # FastAPI's own answer to what `json.loads` refuses otherwise than by JSONDecodeError is a bare 400:
        # bytes that are not UTF-8 and endless numbers (ValueError), nesting without end (RecursionError).
        if error.status_code == 400 and isinstance(error.__cause__, ValueError | RecursionError):
            problem = {
                "loc": ["body"],
                "msg": f"the body is not JSON: {error.__cause__}",
                "type": "json_invalid",
            }
            return _json(422, {"detail": [problem]})
        return _json(error.status_code, {"detail": error.detail})

    @api.exception_handler(TidemillError)
    async def failed(_: Request, error: TidemillError) -> Response:
        away = isinstance(error, ServingError | FeatureError) and not isinstance(error, ModelFailed)
        if not isinstance(error, NoChampion):
            _log.error("%s", error, exc_info=error)
        return _json(503 if away else 500, {"detail": str(error)})

    @api.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return _json(500, {"detail": f"internal error: {type(error).__name__}; the replica's log says more"})


def _json(status: int, content: object) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


class _BodyLimit:
    """Ends requests whose body is too large, before it is read into memory."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limit:
            await self._refuse(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise HTTPException(413, f"the body is larger than {self._limit:,} bytes")
            return message

        await self._app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = _json(413, {"detail": f"the body is larger than {self._limit:,} bytes"})
        await response(scope, receive, send)
