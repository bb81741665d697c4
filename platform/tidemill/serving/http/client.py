"""A client of a running prediction API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from tidemill.errors import ServingError, UsageError
from tidemill.serving.protocols.predict_schema import Accepted, ModelState, PredictionOut, PredictionResponse
from tidemill.settings import Secret, Settings

__all__ = ["Label", "PredictionClient", "ShownPrediction", "ShownPredictions"]

Out = TypeVar("Out", bound=BaseModel)


class ShownPrediction(PredictionOut, extra="allow"):
    """One prediction, with the answer of whatever task."""

    @property
    def answer(self) -> dict[str, Any]:
        """The answer, as the task shows it: ``{"probability": 0.5}`` for two classes."""
        return dict(self.model_extra or {})


class ShownPredictions(PredictionResponse):
    """The answer of a prediction API of whatever task."""

    predictions: list[ShownPrediction]  # type: ignore[assignment]


@dataclass(frozen=True)
class Label:
    """The label of one prediction."""

    prediction_id: str
    label: Any
    """As the project's task has it: 0 or 1, a number, a class, or any JSON value."""
    at: datetime | None = None
    """When it became known, event time, aware; None for now."""


class PredictionClient:
    """A client with a pool of connections; threads may share it.

    Every method raises `ServingError` if the API cannot be reached or does not answer with success; the
    message has the status and the detail of the answer.
    """

    def __init__(
        self, url: str, timeout: float = 30.0, connections: int = 10, key: Secret | None = None
    ) -> None:
        """Take the address, such as ``http://127.0.0.1:8000``; nothing is sent yet.

        Args:
            url: of the API.
            timeout: seconds that an answer may take.
            connections: at once.
            key: an API key; default: the setting ``TIDEMILL_API_KEY``, if there is one.
        """
        key = key or Settings().api_key
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # The environment's proxies are not for a server on this machine.
        self._http = httpx.Client(base_url=url, timeout=timeout, limits=limits, trust_env=False)
        if key is not None:
            self._http.headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        self._url = url

    def predict(
        self, instances: Sequence[Mapping[str, Any]], at: datetime | None = None, test: bool = False
    ) -> ShownPredictions:
        """Ask for predictions.

        Args:
            instances: JSON objects by the project's request schema; datetimes are allowed.
            at: the moment of the prediction, event time, aware; None for now.
            test: marks test traffic, which monitors ignore.
        """
        headers = {"X-Tidemill-Test": "1"} if test else {}
        body = {"instances": instances, "at": at}
        return _read(ShownPredictions, self._send("POST", "/predict", body, headers))

    def feedback(self, labels: Sequence[Label]) -> int:
        """Send labels, at most 100,000 at once; return how many were accepted."""
        return _read(Accepted, self._send("POST", "/feedback", {"labels": labels})).accepted

    def model(self) -> ModelState:
        """Return which version answers, and which should."""
        return _read(ModelState, self._send("GET", "/model"))

    def served_version(self) -> str | None:
        """Return the version that answers; None if none does."""
        return self.model().version

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "PredictionClient":
        """Return the client; the block's end closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def _send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        try:
            content = None if body is None else orjson.dumps(body)
        except TypeError as error:
            raise UsageError(
                f"the request cannot be written as JSON: {error}",
                hint="text is in UTF-8, and whole numbers have at most 64 bits",
            ) from error
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            answer = self._http.request(method, path, content=content, headers=sent)
        except httpx.HTTPError as error:
            raise ServingError(
                f"{method} {self._url}{path}: {type(error).__name__}: {error}",
                hint="is the stack up? `tidemill status`",
            ) from error
        if answer.is_success:
            return answer
        hint = "set TIDEMILL_API_KEY: `tidemill keys create`" if answer.status_code in (401, 403) else None
        raise ServingError(f"{method} {self._url}{path}: {answer.status_code} {_detail(answer)}", hint=hint)


_PROBLEMS = 10  # in one message


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]
    if not isinstance(detail, list):
        return str(detail)
    from tidemill.serving.inference.calls import sentence  # it imports numpy, which few answers need

    more = len(detail) - _PROBLEMS
    return sentence(detail[:_PROBLEMS]) + (f"; and {more:,} more" if more > 0 else "")


def _read(schema: type[Out], answer: httpx.Response) -> Out:
    try:
        return schema.model_validate_json(answer.content)
    except ValidationError as error:
        raise ServingError(
            f"{answer.request.url} answered what no prediction API answers: {error}",
            hint="is it another program's address?",
        ) from error
