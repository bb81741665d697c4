"""The common types of all protocols of the prediction API: calls, answers, failures.

A protocol is a `Codec`: it turns a body into a `Call` and an `Answer` into `Content`; it does not see
the work between. One more protocol is one more `Codec` in a `Route` (see `tidemill.serving.http.front`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy.typing as npt
from pydantic import BaseModel

from tidemill.errors import ServingError
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task

if TYPE_CHECKING:
    from tidemill.serving.observability.request_tracing import TracedRequest

__all__ = [
    "Answer",
    "Call",
    "Codec",
    "Content",
    "ErrorCodec",
    "Failure",
    "GivenFeatures",
    "Headers",
    "Kind",
    "Overloaded",
    "Prediction",
    "Refused",
    "TimedOut",
    "sentence",
]

_PROBABILITY = Binary("")

GivenFeatures: TypeAlias = npt.NDArray[Any]
"""Shape (rows, features): float64, or objects if some are text; NaN and None mean "not known"."""

Headers = Mapping[bytes, bytes]
"""Of a request: names in lower case, as ASGI gives them."""


class Call(NamedTuple):
    """One request for predictions: either instances or features is given, never both."""

    instances: Sequence[BaseModel] | None = None
    """What to predict for, by the application's schema: its features are looked up."""
    features: GivenFeatures | None = None
    """Features as given, in the order of the project's feature service."""
    at: datetime | None = None
    """The moment of the prediction, event time, aware; None for now."""
    test: bool = False
    """Whether this is test traffic, which monitors ignore."""
    explain: bool = False
    """Whether the answer says what each feature contributed."""
    request_id: str | None = None
    """What the client calls this request."""
    caller: str | None = None
    """Id of the API key; `tidemill.serving.http.predictions` sets it."""
    version: str | None = None
    """The version that is to answer, of those that serve now; None: the one the traffic split chooses."""
    trace: "TracedRequest | None" = None
    """The trace of this request, if it has one; set there, too."""
    flags: tuple[str, ...] = ()
    """Of each of its predictions: what the codec did with the request."""
    context: Any = None
    """What the codec needs again in `Codec.render`; nothing else reads it."""

    @property
    def rows(self) -> int:
        """The number of predictions requested."""
        if self.instances is not None:
            return len(self.instances)
        return 0 if self.features is None else len(self.features)


class Prediction(NamedTuple):
    """The prediction for one row."""

    prediction_id: str
    version: str
    """The model version that answered."""
    role: str
    """As what: ``champion``, ``canary``, ``ab:<name>``."""
    answer: Any
    """The model's answer, one row of `tidemill.tasks.task.Answers`, as number, list or JSON value."""
    decision: Mapping[str, Any]
    """The project's business logic about it; empty where features were given."""
    flags: tuple[str, ...]
    explanation: Mapping[str, Any] | None = None
    """``unit``, ``base_value``, and ``contributions`` by feature; None unless asked for."""
    task: Task = _PROBABILITY
    """What the version predicts: `Task.shown` makes of the answer what clients see."""


class Answer(NamedTuple):
    """The answer to one call: one prediction a row, in the order of the rows."""

    predictions: tuple[Prediction, ...]

    @property
    def version(self) -> str | None:
        """The version that made all of them; None if there were several."""
        versions = {prediction.version for prediction in self.predictions}
        return versions.pop() if len(versions) == 1 else None


class Content(NamedTuple):
    """The body and headers of an answer or a failure."""

    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Headers of the answer that belong to the protocol."""


Kind = Literal[
    "malformed",  # the request does not fit its schema
    "media_type",  # its body is in a format that nothing here reads
    "unsupported",  # it fits, but this model or replica cannot do that
    "too_large",
    "slow_body",  # its body did not arrive in time
    "unauthenticated",
    "forbidden",
    "misdirected",  # it was sent to a name that is not this machine's
    "over_rate",
    "keys_unknown",  # the API keys are not read yet
    "not_found",
    "conflict",  # what it names is not in the state for that
    "gone",
    "overloaded",
    "timeout",
    "no_model",
    "not_ready",
    "features",  # they cannot be read
    "model",  # it raised an error
    "unavailable",  # something else that serving needs is down
    "internal",
    "refused",  # by the web framework: no such path, another method
]
"""Why there is no answer. `tidemill.serving.http.replies` gives each its status and its name in metrics."""


class Failure(NamedTuple):
    """Why there is no answer; each protocol says it in its own shape."""

    kind: Kind
    detail: Any
    """A sentence; or, if ``malformed``, perhaps a list of ``{"loc": […], "msg": …, "type": …}``."""
    version: str = ""
    """The version of the model that is to blame; empty if none is."""
    retry_after: int | None = None
    """Seconds after which it may work, where that is known."""


@dataclass
class Refused(Exception):
    """Raised by `Codec.parse` for an invalid request; any code below may raise it too."""

    failure: Failure

    def __str__(self) -> str:
        return sentence(self.failure.detail)


def sentence(detail: object) -> str:
    """Return a failure's detail as one sentence.

    >>> sentence([{"loc": ["body", "at"], "msg": "Field required", "type": "missing"}])
    'body.at: Field required'
    >>> sentence([{"loc": ["body", "instances", 3, "wind"], "msg": "Field required", "type": "missing"}])
    'row 3, wind: Field required'
    """
    if isinstance(detail, list):
        return "; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in detail)
    return str(detail)


def _place(loc: Sequence[str | int]) -> str:
    if list(loc[:2]) == ["body", "instances"] and len(loc) > 2:
        return ", ".join([f"row {loc[2]}", *([".".join(map(str, loc[3:]))] if loc[3:] else [])])
    return ".".join(map(str, loc))


class Overloaded(ServingError):
    """There are as many requests under way as there may be."""


class TimedOut(ServingError):
    """There was no answer within the time that a request may take."""


class ErrorCodec(Protocol):
    """The form of a protocol's errors."""

    @property
    def name(self) -> str:
        """Label of the protocol in metrics, such as ``predict``."""

    def error(self, failure: Failure) -> Content:
        """Return the content for a failure."""


class Codec(ErrorCodec, Protocol):
    """One protocol. Its methods run on the event loop, so they must be quick; they hold no state."""

    def parse(self, body: bytes, headers: Headers, query: bytes) -> Call:
        """Return what is asked for.

        Raises:
            Refused: the body is not of the protocol.
        """

    def render(self, call: Call, answer: Answer) -> Content:
        """Return the content for an answer."""
