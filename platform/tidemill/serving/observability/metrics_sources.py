"""Prometheus metrics of a replica beside its counters: its models, its log, its limits."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from tidemill.errors import StateError
from tidemill.prediction_log.log_records import SHADOW
from tidemill.prediction_log.writing.log_writer import LogHealth
from tidemill.serving.observability.metrics_families import Family
from tidemill.serving.observability.version_counters import Count, Key

__all__ = ["of_jobs", "of_limits", "of_log", "of_models", "of_shadows"]

Source = Callable[[], list[Family]]
_JOBS_SECONDS = 5.0


class LoadedVersion(Protocol):
    """A version that is loaded."""

    @property
    def version(self) -> str:
        """Its number."""

    @property
    def scorer(self) -> object:
        """The scorer; its ``kind`` names the engine."""

    @property
    def loaded_at(self) -> datetime:
        """When it was loaded."""


def of_models(model: str, now: Callable[[], Iterable[tuple[str, LoadedVersion]]]) -> Source:
    """Return the source of metrics on loaded versions: role, version, engine, and since when.

    Args:
        model: name of the registered model.
        now: returns the role and the version of each.
    """

    def families() -> list[Family]:
        loaded = tuple(now())
        info = tuple(
            ((model, role, one.version, str(getattr(one.scorer, "kind", "unknown"))), 1.0)
            for role, one in loaded
        )
        since = tuple(((role, one.version), one.loaded_at.timestamp()) for role, one in loaded)
        return [
            Family(
                "tidemill_model_info",
                "gauge",
                "A version that is loaded, in its role; kind is what runs it.",
                ("model", "role", "version", "kind"),
                info,
            ),
            Family(
                "tidemill_model_loaded_timestamp_seconds",
                "gauge",
                "When the version was loaded, Unix time.",
                ("role", "version"),
                since,
            ),
        ]

    return families


def of_log(health: Callable[[], LogHealth]) -> Source:
    """Return the source of metrics on whether answers are on the disk."""

    def families() -> list[Family]:
        now = health()
        return [
            _gauge("tidemill_log_up", "Whether everything that was answered is on the disk.", now.ok),
            _gauge(
                "tidemill_log_backlog_predictions",
                "Predictions that wait in memory for the disk.",
                now.waiting,
            ),
            _gauge("tidemill_log_backlog_bytes", "Memory that they take.", now.waiting_bytes),
            Family(
                "tidemill_log_lost_predictions",
                "counter",
                "Predictions that were answered and will never be in the log.",
                (),
                (((), float(now.lost)),),
            ),
        ]

    return families


def of_shadows(counts: Callable[[], Mapping[Key, Count]]) -> Source:
    """Return the source of metrics on copies of the traffic, from the counts by version.

    >>> of_shadows(lambda: {("shadow", "2"): Count(answered=3, dropped=1)})()[0].samples
    ((('scored',), 3.0), (('dropped',), 1.0), (('failed',), 0.0))
    """

    def families() -> list[Family]:
        shadows = [count for (role, _), count in counts().items() if role == SHADOW]
        samples = (
            (("scored",), float(sum(one.answered for one in shadows))),
            (("dropped",), float(sum(one.dropped for one in shadows))),
            (("failed",), float(sum(one.failed for one in shadows))),
        )
        text = "Copies of traffic."
        return [
            Family("tidemill_shadow_predictions", "counter", text, ("outcome",), samples if shadows else ())
        ]

    return families


def of_jobs(count: Callable[[], Mapping[str, int]]) -> Source:
    """Return the source of metrics on the number of jobs, counted every five seconds at most.

    >>> of_jobs(lambda: {"queued": 2, "dead": 0})()[0].samples
    ((('queued',), 2.0), (('dead',), 0.0))
    """
    seen: tuple[float, Mapping[str, int]] = (-_JOBS_SECONDS, {})

    def families() -> list[Family]:
        nonlocal seen
        if time.monotonic() - seen[0] >= _JOBS_SECONDS:
            seen = (time.monotonic(), seen[1])  # others may look meanwhile
            with suppress(StateError):  # the records are down: keep the last counts
                seen = (seen[0], count())
        samples = tuple(((status,), float(number)) for status, number in seen[1].items())
        return [Family("tidemill_jobs", "gauge", "Slow predictions on record.", ("status",), samples)]

    return families


def of_limits(max_in_flight: int) -> Source:
    """Return the source of metrics on a replica's limits."""
    text = "Requests in flight at which a replica refuses more."
    return lambda: [_gauge("tidemill_in_flight_requests_limit", text, max_in_flight)]


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (), (((), float(value)),))
