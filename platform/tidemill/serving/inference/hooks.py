"""Interfaces through which answered requests are reported to metrics and shadows. Protocols only."""

from collections.abc import Sequence
from typing import Protocol

from tidemill.features.request_features import FeatureRow
from tidemill.serving.routing.shadows import ServedRow
from tidemill.serving.routing.traffic_split import ServingVersions

__all__ = ["Meter", "NoMeter", "Shadow"]


class Shadow(Protocol):
    """Takes copies of answered rows for the shadows of this moment; must return at once."""

    def offer(self, serving: ServingVersions, rows: Sequence[ServedRow]) -> None:
        """Score the rows too, later or, under load, not at all."""

    def stop(self) -> None:
        """Stop after the accepted copies are scored."""


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

    def in_flight(self, requests: int) -> None:
        """Set how many requests are under way."""

    def flags(self, rows: Sequence[FeatureRow]) -> None:
        """Count the flags of rows that were served."""

    def flag(self, flag: str, rows: int = 1) -> None:
        """Count a flag of that many answers, such as ``fallback:log``."""


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

    def in_flight(self, requests: int) -> None:
        """Do nothing."""

    def flags(self, rows: Sequence[FeatureRow]) -> None:
        """Do nothing."""

    def flag(self, flag: str, rows: int = 1) -> None:
        """Do nothing."""
