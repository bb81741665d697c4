"""OpenTelemetry traces of requests, on request: spans for the request, its features, its model and the log.

Off unless an address is given (``TIDEMILL_OTLP_ENDPOINT``, or OpenTelemetry's own variables); no request
costs anything then. A request that brings a W3C ``traceparent`` continues that trace and its decision
about sampling; of the others a share is sampled. Spans are exported by OTLP over HTTP, in the SDK's thread.

Requests that came together share one lookup, one call of each model and one write: each of their traces has
these spans, with the same times.
"""

import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tidemill.errors import ConfigError
from tidemill.settings import Settings
from tidemill.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

__all__ = ["Stopwatch", "TracedRequest", "Tracing", "open_tracing"]

_ADDRESSES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SAMPLER = "OTEL_TRACES_SAMPLER"
_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_IDS = 20  # prediction ids in one span


class TracedRequest(NamedTuple):
    """A request whose trace is recorded."""

    span: "Span"
    tracing: "Tracing"


class _Prediction(Protocol):
    @property
    def prediction_id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def flags(self) -> Sequence[str]: ...


class _Call(Protocol):
    @property
    def trace(self) -> TracedRequest | None: ...


class Tracing:
    """Makes spans. Threads may share it."""

    def __init__(self, provider: "TracerProvider", share: float | None) -> None:
        """Take where the spans go, and the share of requests to trace; None: the provider samples them."""
        self._provider = provider
        self._share = share
        self._tracer: Tracer = provider.get_tracer("tidemill.serving", __version__)

    def begin(
        self, method: str, path: str, protocol: str, headers: Mapping[bytes, bytes]
    ) -> TracedRequest | None:
        """Begin the trace of a request, or continue its caller's; None if it is not sampled.

        That is decided first: a request that is not traced costs one random number.
        """
        parent = headers.get(b"traceparent")
        if self._share is not None:
            sampled = None if parent is None else _is_sampled(parent)
            if sampled is False or (sampled is None and random.random() >= self._share):  # noqa: S311
                return None
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = None
        if parent is not None:
            carrier = {
                name: headers[name.encode()].decode("latin-1")
                for name in ("traceparent", "tracestate")
                if name.encode() in headers
            }
            context = TraceContextTextMapPropagator().extract(carrier)
        span = self._tracer.start_span(
            f"{method} {path}",
            context,
            SpanKind.SERVER,
            {"http.request.method": method, "url.path": path, "tidemill.protocol": protocol},
        )
        return TracedRequest(span, self) if span.is_recording() else None

    def stages(self, traced: TracedRequest, stages: Sequence[tuple[str, int, int]], rows: int) -> None:
        """Add what was done for a request: name, begin and end (nanoseconds since 1970)."""
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(traced.span)
        for name, began, ended in stages:
            span = self._tracer.start_span(
                name, context, attributes={"tidemill.batch.rows": rows}, start_time=began
            )
            span.end(ended)

    def end(self, traced: TracedRequest, status: int, made: Sequence[_Prediction], error: str | None) -> None:
        """End the trace of a request: predictions were made, or none for the reason ``error``."""
        from opentelemetry.trace import StatusCode

        span = traced.span
        span.set_attribute("http.response.status_code", status)
        if made:
            span.set_attributes(
                {
                    "tidemill.rows": len(made),
                    "tidemill.model.versions": sorted({one.version for one in made}),
                    "tidemill.roles": sorted({one.role for one in made}),
                    "tidemill.flags": sorted({flag for one in made for flag in one.flags}),
                    "tidemill.prediction_ids": [one.prediction_id for one in made[:_IDS]],
                }
            )
        if error is not None:
            span.set_attribute("error.type", error)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what is left, for some seconds at most."""
        self._provider.shutdown()


def _is_sampled(parent: bytes) -> bool | None:
    """Return what a ``traceparent`` header says about sampling; None if it is malformed.

    >>> _is_sampled(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), _is_sampled(b"01")
    (True, None)
    """
    return None if _PARENT.fullmatch(parent) is None else int(parent[53:55], 16) & 1 == 1


class Stopwatch:
    """Takes the times of a batch's stages, for those of its calls that are traced."""

    __slots__ = ("_began", "_calls", "_stages")

    def __init__(self, calls: Sequence[_Call]) -> None:
        """Begin the first stage."""
        self._calls = [call.trace for call in calls if call.trace is not None]
        self._stages: list[tuple[str, int, int]] = []
        self._began = time.time_ns()

    def lap(self, name: str) -> None:
        """End a stage, and begin the next."""
        now = time.time_ns()
        self._stages.append((name, self._began, now))
        self._began = now

    def tell(self, rows: int) -> None:
        """Add the stages to the traces; the batch had that many rows."""
        for traced in self._calls:
            traced.tracing.stages(traced, self._stages, rows)


def open_tracing(settings: Settings, model: str, replica: str) -> Tracing | None:
    """Return what makes spans; None unless traces were asked for.

    Asked for by ``TIDEMILL_OTLP_ENDPOINT`` (``http://127.0.0.1:4318``), or by OpenTelemetry's
    ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``. Its other variables hold, too:
    ``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SERVICE_NAME``, ``OTEL_SDK_DISABLED`` ….

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    off = off or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    if off or not (settings.otlp_endpoint or any(map(os.environ.get, _ADDRESSES))):
        return None
    try:
        share = None if _SAMPLER in os.environ else settings.trace_share
        return Tracing(_provider(settings, model, replica), share)
    except ImportError as error:
        raise ConfigError(
            f"traces were asked for, but OpenTelemetry is not there: {error}",
            hint="install tidemill[tracing], or unset the address of the collector",
        ) from error


def _provider(settings: Settings, model: str, replica: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

    known: dict[str, Any] = {"service.instance.id": replica, "service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        known["service.name"] = model
    # Requests that continue no trace are sampled in `Tracing.begin`, before they cost anything.
    sampler = None if _SAMPLER in os.environ else ParentBased(ALWAYS_ON)
    provider = TracerProvider(sampler, Resource.create(known), shutdown_on_exit=False)
    endpoint = settings.otlp_endpoint
    exporter = OTLPSpanExporter(endpoint and f"{endpoint.rstrip('/').removesuffix('/v1/traces')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
