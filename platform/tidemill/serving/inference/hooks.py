"""What the fast path asks of those beside it: who may pass, who answers, and who is told. Protocols only."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from pydantic import BaseModel

from tidemill.features.online.online_features import FeatureRow
from tidemill.prediction_log.prediction_log import PredictionRecord
from tidemill.serving.http.admission import Admitted, Refusal
from tidemill.serving.inference.calls import Headers
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import Serving

__all__ = ["Gate", "Meter", "NoMeter", "Open", "Served", "Shadow"]


class Gate(Protocol):
    """Decides who may ask for what: `admission`. Called once a request, before the body."""

    def admit(self, method: str, path: str, headers: Headers, client: object) -> Admitted | Refusal:
        """Decide by the head of a request."""


class Served(NamedTuple):
    """One row that was answered: what a shadow needs to answer it too."""

    instance: BaseModel | None
    keys: Mapping[str, object] | None
    """As `Application.feature_row` gave them; none where features were given."""
    moment: datetime
    features: FeatureRow
    model: LoadedModel
    record: PredictionRecord


class Shadow(Protocol):
    """Takes copies of answered rows for the shadows of this moment; must return at once."""

    def offer(self, serving: Serving, rows: Sequence[Served]) -> None:
        """Answer them too, later or, under load, not at all."""

    def stop(self) -> None:
        """End, after what was taken is answered."""


class Meter(Protocol):
    """Counts: `replica_metrics`. Called on the event loop and in its threads, so about 1 µs each."""

    def answered(
        self, protocol: str, role: str, version: str, rows: int, seconds: float, *, further: bool = False
    ) -> None:
        """Count an answer; ``further`` for the second and later versions that took part in it."""

    def failed(self, protocol: str, kind: str, version: str = "") -> None:
        """Count a request that got no answer, by `calls.Failure`'s kind and version."""

    def batch(self, rows: int) -> None:
        """Count a batch of so many rows."""

    def cache(self, views: Sequence[tuple[str, int, int]]) -> None:
        """Count lookups in the feature cache: each view, how many rows it had, and how many it had not."""

    def in_flight(self, requests: int) -> None:
        """Say how many requests are under way now."""

    def flags(self, rows: Sequence[FeatureRow]) -> None:
        """Count the flags of rows that were served."""

    def flag(self, flag: str, rows: int = 1) -> None:
        """Count a flag of that many answers, such as ``fallback:log``."""


class Open:
    """Lets everybody pass: for tests, and for who has a gate of his own."""

    def admit(self, method: str, path: str, headers: Headers, client: object) -> Admitted | Refusal:
        """Let it pass."""
        return _NOBODY


class NoMeter:
    """Counts nothing."""

    def answered(
        self, protocol: str, role: str, version: str, rows: int, seconds: float, *, further: bool = False
    ) -> None:
        """Do nothing."""

    def failed(self, protocol: str, kind: str, version: str = "") -> None:
        """Do nothing."""

    def batch(self, rows: int) -> None:
        """Do nothing."""

    def cache(self, views: Sequence[tuple[str, int, int]]) -> None:
        """Do nothing."""

    def in_flight(self, requests: int) -> None:
        """Do nothing."""

    def flags(self, rows: Sequence[FeatureRow]) -> None:
        """Do nothing."""

    def flag(self, flag: str, rows: int = 1) -> None:
        """Do nothing."""


_NOBODY = Admitted()
