"""The prediction API over HTTP but for its fast routes, which it only declares: see `front`.

What it answers itself is not asked often, and runs in a thread where it waits for anything.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill import __version__
from tidemill.errors import TidemillError
from tidemill.prediction_log.labels.label_matching import GivenLabel
from tidemill.serving.http.failures import failure_of
from tidemill.serving.http.replies import reply_to
from tidemill.serving.inference.calls import Failure, Kind, Refused
from tidemill.serving.inference.predictor import NoChampion, Predictor
from tidemill.serving.observability.degradation import Degradation
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.serving.protocols.error_bodies import speaker
from tidemill.serving.protocols.json_bodies import not_json
from tidemill.serving.protocols.predict_codec import problems
from tidemill.serving.protocols.predict_schema import (
    Accepted,
    Error,
    Feedback,
    ModelState,
    PredictionResponse,
    request_schema,
)
from tidemill.serving.routing.version_watcher import Watcher

__all__ = ["create_api"]

T = TypeVar("T")


def create_api(
    predictor: Predictor[Any],
    watcher: Watcher,
    metrics: Metrics,
    pool: ThreadPoolExecutor,
    max_instances: int,
    max_bytes: int,
    body_seconds: float,
    degradation: Degradation,
    start: Callable[[], None],
    stop: Callable[[], None],
    routers: Sequence[APIRouter] = (),
    larger: Mapping[str, int] | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        predictor: does the work.
        watcher: keeps the predictor's models up to date; runs while the application does.
        metrics: what Prometheus reads.
        pool: where work is done that waits; shut down with the application.
        max_instances: the largest number of instances in one request.
        max_bytes: the largest body.
        body_seconds: in which it must have arrived.
        degradation: knows which parts of the platform are away.
        start: begins what runs beside the application.
        stop: ends it.
        routers: further routes.
        larger: path → the largest body there, where it may be a larger one.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.get_running_loop().run_in_executor(pool, start)
        await asyncio.get_running_loop().run_in_executor(pool, watcher.start)
        metrics.start()
        yield
        metrics.stop()
        await asyncio.get_running_loop().run_in_executor(None, stop)
        pool.shutdown()
        if predictor.shadow is not None:
            await asyncio.get_running_loop().run_in_executor(None, predictor.shadow.stop)
        await asyncio.get_running_loop().run_in_executor(None, watcher.stop)  # has the last word on counts
        predictor.log.close()

    api = FastAPI(title=f"{predictor.model} predictions", version=__version__, lifespan=lifespan)
    _add_predictions(api, predictor, pool, max_instances)
    _add_state(api, predictor, watcher, degradation)
    _add_metrics(api, metrics)
    _add_errors(api)
    for router in routers:
        api.include_router(router)
    api.add_middleware(_BodyLimit, limit=max_bytes, larger=larger or {}, seconds=body_seconds)
    return api


def _add_predictions(
    api: FastAPI, predictor: Predictor[Any], pool: ThreadPoolExecutor, max_instances: int
) -> None:
    schema = request_schema(predictor.application.request, max_instances)
    errors: dict[int | str, dict[str, Any]] = {
        code: {"model": Error} for code in (401, 403, 408, 413, 415, 422, 429, 500, 502, 503, 504)
    }

    async def work(task: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, task)

    @api.post("/predict", response_model=PredictionResponse, responses=errors)
    async def predict(
        body: schema,  # type: ignore[valid-type]
        x_tidemill_test: Annotated[
            str | None, Header(description="`1` marks test traffic: logged, and ignored by monitors.")
        ] = None,
        explain: Annotated[
            bool, Query(description="Whether each prediction says what each feature contributed.")
        ] = False,
    ) -> Response:
        """Predict for up to the allowed number of instances. What is answered is on record already."""
        raise NotImplementedError  # the front answers: see `tidemill.serving.protocols.predict_codec`

    @api.post("/feedback", response_model=Accepted, responses=errors)
    async def feedback(body: Feedback) -> Response:
        """Say what came true, by prediction id or by keys and moment: early, late or again.

        The latest ``at`` counts.
        """
        labels = [
            GivenLabel(item.prediction_id, int(item.label), item.at, item.keys, item.predicted_at)
            for item in body.labels
        ]
        return _json(200, {"accepted": await work(lambda: predictor.label(labels))})


def _add_state(api: FastAPI, predictor: Predictor[Any], watcher: Watcher, degradation: Degradation) -> None:
    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "alive"}

    @api.get("/readyz", responses={503: {"model": Error}})
    async def readyz() -> Response:
        """Say whether there is a model to answer with, and which part of the platform it does without."""
        current = watcher.current()
        if current is None:
            raise NoChampion(watcher.status.error or f"no version of {predictor.model} is champion yet")
        # Names only: this is open to everybody. GET /model says more to those who have a key.
        parts = sorted(degradation.now())
        version = current.champion.version
        return _json(200, {"status": "ready", "model_version": version, "degraded": parts})

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
                "lanes": status.lanes,
                "replica": predictor.replica,
                "degraded": degradation.now(),
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
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return _said(request, Failure("malformed", problems(error.errors(), within=())))

    @api.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        # FastAPI's own answer to what `json.loads` refuses otherwise than by JSONDecodeError is a bare 400:
        # bytes that are not UTF-8 and endless numbers (ValueError), nesting without end (RecursionError).
        if error.status_code == 400 and isinstance(error.__cause__, ValueError | RecursionError):
            return _said(request, not_json(None, str(error.__cause__)))
        kind: Kind = "not_found" if error.status_code == 404 else "refused"
        response = _said(request, Failure(kind, error.detail), error.status_code)
        response.headers.update(error.headers or {})
        return response

    @api.exception_handler(Refused)
    @api.exception_handler(TidemillError)
    @api.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _said(request, failure_of(error))


def _said(request: Request, failure: Failure, status: int | None = None) -> Response:
    """Say it in the words of the path's protocol."""
    reply = reply_to(failure, speaker(request.url.path), status)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
    return Response(reply.body, reply.status, headers, media_type=reply.content_type.decode())


def _json(status: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


class _BodyLimit:
    """Ends requests whose body is too large, before it is read into memory, or takes too long to come."""

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int], seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._limit = limit
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._limit)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            await self._refuse(scope, receive, send, limit)
            return
        read, whole = 0, False
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def counted() -> Message:
            nonlocal read, whole
            try:
                async with asyncio.timeout_at(None if whole else deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, "the body did not arrive in time") from error
            whole = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > limit:
                raise HTTPException(413, f"the body is larger than {limit:,} bytes")
            return message

        await self._app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        response = _json(413, {"detail": f"the body is larger than {limit:,} bytes"})
        await response(scope, receive, send)
