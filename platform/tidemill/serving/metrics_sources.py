"""What Prometheus reads of a replica beside its counters: its models, its log, its limits."""

from collections.abc import Callable

from tidemill.serving.lanes import CHAMPION, Serving
from tidemill.serving.metrics_families import Family
from tidemill.serving.writing import LogHealth

__all__ = ["of_limits", "of_log", "of_models"]

Source = Callable[[], list[Family]]


def of_models(model: str, now: Callable[[], Serving | None]) -> Source:
    """Return what tells of the versions that are loaded: role, version and what runs them, and since when."""

    def families() -> list[Family]:
        serving = now()
        lanes = () if serving is None else serving.lanes
        loaded = [] if serving is None else [(CHAMPION, serving.champion)]
        loaded += ((lane.role, one) for lane, one in lanes)
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
    """Return what tells whether what is answered is on the disk."""

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


def of_limits(max_in_flight: int) -> Source:
    """Return what tells how much a replica takes at once."""
    text = "Requests in flight at which a replica refuses more."
    return lambda: [_gauge("tidemill_in_flight_requests_limit", text, max_in_flight)]


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (), (((), float(value)),))
