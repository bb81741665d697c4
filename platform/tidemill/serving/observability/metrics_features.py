"""Gauges of the age of features in the online store; every replica gives the same values."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from tidemill.errors import ConfigError, FeatureError
from tidemill.features.online.view_freshness import ViewFreshness
from tidemill.serving.observability.metrics_families import Family, Sample

__all__ = ["FeatureAges"]

_SECONDS = 15.0  # between two looks at the online store
_SHARE = 0.02  # of one core's time that looking may take
_log = logging.getLogger(__name__)


class FeatureAges:
    """Looks at the online store. One thread looks at a time; the others get what was seen last."""

    def __init__(self, look: Callable[[], Sequence[ViewFreshness]]) -> None:
        """Take the way to look; nothing is looked at yet."""
        self._look = look
        self._looking = threading.Lock()
        self._seen: tuple[Sequence[ViewFreshness], bool, float] = ((), False, time.monotonic())
        self._again = 0.0

    def families(self) -> list[Family]:
        """Return the gauges; ages go on growing between two looks."""
        if time.monotonic() >= self._again and self._looking.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._looking.release()
        views, readable, since = self._seen
        passed = time.monotonic() - since
        ages = {view.view: view.age_seconds + passed for view in views if view.age_seconds is not None}
        keys = {view.view: float(view.keys) for view in views if view.keys is not None}
        expired = {view.view: view.expired for view in views if view.expired is not None}
        up: Sample = ((), float(readable))
        return [
            _by_view("tidemill_feature_age_seconds", "Age of the newest value in the online store.", ages),
            _by_view("tidemill_feature_keys", "Keys in the online store.", keys),
            _by_view("tidemill_feature_expired_ratio", "Share of the keys whose value has expired.", expired),
            Family(
                "tidemill_feature_store_up", "gauge", "Whether the online store could be read.", (), (up,)
            ),
        ]

    def _refresh(self) -> None:
        began = time.monotonic()
        try:
            self._seen = (self._look(), True, began)
        except (ConfigError, FeatureError) as error:
            _log.warning("the online store cannot be read: %s", error)
            self._seen = ((), False, began)
        ended = time.monotonic()
        self._again = ended + max(_SECONDS, (ended - began) / _SHARE)


def _by_view(name: str, text: str, values: dict[str, float]) -> Family:
    return Family(name, "gauge", text, ("view",), tuple(((view,), value) for view, value in values.items()))
