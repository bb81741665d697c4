"""What every protocol of the prediction API has in common: calls, answers, replies, failures.

A protocol is a `Codec`: it turns a body into a `Call` and an `Answer` into a `Reply`. What is between, it
does not see. One more protocol is one more `Codec` in a `Route` (see `tidemill.serving.http.front`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import BaseModel

from tidemill.errors import ServingError
from tidemill.serving.routing.loaded_version import FloatMatrix

if TYPE_CHECKING:
    from tidemill.serving.observability.request_tracing import Traced

__all__ = [
    "Answer",
    "Call",
    "Codec",
    "Failure",
    "Headers",
    "Overloaded",
    "Prediction",
    "Refused",
    "Reply",
    "TimedOut",
]

Headers = Mapping[bytes, bytes]
"""Of a request: names in lower case, as ASGI gives them."""


class Call(NamedTuple):
    """One request for predictions: either instances or features is given, never both."""

    instances: Sequence[BaseModel] | None = None
    """What to predict for, by the application's schema: its features are looked up."""
    features: FloatMatrix | None = None
    """Features as given, shape (rows, features), in the order of the project's feature service."""
    at: datetime | None = None
    """The moment of the prediction, event time, aware; none for now."""
    test: bool = False
    """Whether this is test traffic, which monitors ignore."""
    explain: bool = False
    """Whether the answer shall say what each feature contributed."""
    request_id: str | None = None
    """What the client calls this request."""
    caller: str | None = None
    """Id of the API key; the front fills it in."""
    version: str | None = None
    """The version that shall answer, of those that serve at this moment; none: whoever is assigned."""
    trace: "Traced | None" = None
    """The trace of this request, if it has one; the front fills it in."""
    context: Any = None
    """What the codec wants to see again in `Codec.render`; nobody else looks at it."""

    @property
    def rows(self) -> int:
        """How many predictions are asked for."""
        if self.instances is not None:
            return len(self.instances)
        return 0 if self.features is None else len(self.features)


class Prediction(NamedTuple):
    """What is answered for one row."""

    prediction_id: str
    version: str
    """The model version that answered."""
    role: str
    """As what: ``champion``, ``canary``, ``ab:<name>``."""
    probability: float
    decision: Mapping[str, Any]
    """The project's business logic about it; empty where features were given."""
    flags: tuple[str, ...]
    explanation: Mapping[str, Any] | None = None
    """``unit``, ``base_value``, and ``contributions`` by feature; none unless asked for."""


class Answer(NamedTuple):
    """What is answered to one call: one prediction a row, in the order of the rows."""

    predictions: tuple[Prediction, ...]

    @property
    def version(self) -> str | None:
        """The version that made all of them; none if there were several."""
        versions = {prediction.version for prediction in self.predictions}
        return versions.pop() if len(versions) == 1 else None


class Reply(NamedTuple):
    """What goes out over HTTP."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further ones."""


class Failure(NamedTuple):
    """Why there is no answer; each protocol says it in its own shape."""

    status: int
    kind: str
    """One of few words, for metrics: ``malformed``, ``refused``, ``overloaded``, ``timeout`` …"""
    detail: Any
    """A sentence; or, with status 422, a list of ``{"loc": […], "msg": …, "type": …}``."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    version: str = ""
    """The version of the model that is to blame; empty if none is."""


@dataclass
class Refused(Exception):
    """Raised by `Codec.parse` for a request that cannot be meant; any code below may raise it too."""

    failure: Failure


class Overloaded(ServingError):
    """There are as many requests under way as there may be."""


class TimedOut(ServingError):
    """There was no answer within the time that a request may take."""


class Codec(Protocol):
    """One protocol. Its methods run on the event loop, so they must be quick; they hold no state."""

    @property
    def name(self) -> str:
        """What metrics call it, such as ``predict``."""

    def parse(self, body: bytes, headers: Headers, query: bytes) -> Call:
        """Return what is asked for.

        Raises:
            Refused: the body is not of the protocol.
        """

    def render(self, call: Call, answer: Answer) -> Reply:
        """Return what the client gets."""

    def error(self, failure: Failure) -> Reply:
        """Return what the client gets instead."""
