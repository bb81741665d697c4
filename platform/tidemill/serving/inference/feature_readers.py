"""Make the feature readers of a replica: one for all versions that need the same features."""

import hashlib
import threading
from typing import TYPE_CHECKING, Protocol

from tidemill.features.request_features import RequestFeatures, StoreAndRequest
from tidemill.project import Project
from tidemill.project.feature_columns import read_columns, read_keys
from tidemill.serving.routing.loaded_version import FeatureReader

if TYPE_CHECKING:  # importing Feast takes seconds, and projects without a feature store need none
    from collections.abc import Callable

    from tidemill.features.feast_objects import FeatureStore
    from tidemill.features.online.online_features import OnlineFeatures

__all__ = ["ReaderCache", "definition_digest", "open_reader"]


class Readers(Protocol):
    """Gives a reader of a service's features."""

    def reader(self, store: "FeatureStore") -> "OnlineFeatures":
        """Return a reader of the service as the registry of ``store`` defines it now."""


def open_reader(project: Project, readers: Readers | None = None) -> FeatureReader:
    """Return what reads the features of requests: from the online store, from the request itself, or both.

    Args:
        project: ``features.from`` in its ``params.yaml`` says which.
        readers: gives the readers of the store; default: a new one.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong, or ``features.from`` names an unknown view.
        FeatureError: the registry cannot be read, or the service cannot be served.
    """
    source = project.config.features.source
    if source == "request":
        return RequestFeatures(read_columns(project), read_keys(project))
    from tidemill.features.by_view.view_sources import requested_views
    from tidemill.features.feast_session import open_store
    from tidemill.features.online.online_features import OnlineFeatures

    store = open_store(project)
    requested = requested_views(project, store)
    found = (
        readers.reader(store)
        if readers
        else OnlineFeatures(store, project.feature_service, requested=requested.views)
    )
    return found if source == "store" else StoreAndRequest(found, read_columns(project), requested.columns)


class ReaderCache:
    """Makes readers of one service, and gives the last one again while its definitions are the same."""

    def __init__(self, service: str, make: "Callable[[FeatureStore, str], OnlineFeatures]") -> None:
        """Take the service's name, and what makes a reader of it."""
        self._service = service
        self._make = make
        self._last: tuple[bytes, OnlineFeatures] | None = None
        self._lock = threading.Lock()

    def reader(self, store: "FeatureStore") -> "OnlineFeatures":
        """Return a reader of the service as the registry of ``store`` defines it now.

        Raises:
            FeatureError: the registry cannot be read, or the service cannot be served.
        """
        with self._lock:
            now = definition_digest(store, self._service)
            if self._last is None or self._last[0] != now:
                self._last = now, self._make(store, self._service)
            return self._last[1]


def definition_digest(store: "FeatureStore", service: str) -> bytes:
    """Return what changes with the definitions of a service or of its views, tags included; 32 bytes.

    Raises:
        FeatureError: the registry cannot be read, or has no such service.
    """
    from tidemill.features.feast_session import feast_errors, get_service

    found = get_service(store, service)
    digest = hashlib.sha256(found.to_proto().spec.SerializeToString(deterministic=True))
    with feast_errors(f"reading the views of service {service!r}"):
        views = [*store.list_feature_views(), *store.list_on_demand_feature_views()]
    for view in sorted(views, key=lambda view: str(view.name)):
        digest.update(view.to_proto().spec.SerializeToString(deterministic=True))
    return digest.digest()
