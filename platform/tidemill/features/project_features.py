"""Tells which features a project has, and where they come from: the feature store, the request, or both."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tidemill.errors import ConfigError
from tidemill.features.request_features import REQUEST
from tidemill.project import Project
from tidemill.project.feature_columns import (
    COLUMNS_FILE,
    ColumnType,
    FeatureColumn,
    read_columns,
    read_keys,
)

if TYPE_CHECKING:
    from tidemill.features.online.online_features import OnlineFeatures

__all__ = [
    "check_keys",
    "feature_names",
    "feature_source",
    "features_digest",
    "hidden_fields",
    "looks_up",
    "lookup_columns",
    "requested_columns",
]

_OF_STORE: Mapping[str, tuple[ColumnType, ...]] = {
    "STRING": ("text", "integer"),
    "INT32": ("integer",),
    "INT64": ("integer",),
    "UNIX_TIMESTAMP": ("moment", "integer"),
}
"""Type of a key in the store → the types in ``features.yaml`` whose values it takes."""


def feature_names(project: Project) -> tuple[str, ...]:
    """Return the names of the features, in order: the service's, then those that only requests bring.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong.
        FeatureError: the service was not applied.
    """
    served: tuple[str, ...] = ()
    if project.has_store:
        from tidemill.features.feature_store import service_features  # importing Feast takes seconds

        served = service_features(project)
    brought = (
        [column.name for column in read_columns(project)] if project.config.features.source != "store" else []
    )
    return (*served, *(name for name in brought if name not in served))


def feature_source(project: Project) -> str:
    """Return the name of the feature service, or ``request`` where there is no feature store."""
    return project.config.features.service or REQUEST


def lookup_columns(project: Project) -> tuple[str, ...]:
    """Return the names of the keys, and of the columns that requests may bring.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong.
        FeatureError: the service was not applied.
    """
    found: list[str] = []
    if project.has_store:
        reader = _online(project)
        found += [*reader.keys, *reader.inputs]
    if project.config.features.source != "store":
        found += [column.name for column in (*read_keys(project), *read_columns(project))]
    return tuple(dict.fromkeys(found))


def check_keys(project: Project, columns: Iterable[FeatureColumn]) -> None:
    """Check that the store takes the values of those columns that are its keys.

    Raises:
        ConfigError: a column is of another type; the message names both types.
        FeatureError: the service was not applied.
    """
    types = _online(project).key_types
    for column in columns:
        kind = types.get(column.name)
        if kind is not None and column.type not in (fitting := _OF_STORE.get(kind, ())):
            raise ConfigError(
                f"key {column.name!r} is of type {column.type} in {project.root / COLUMNS_FILE}, and "
                f"{kind} in the feature store, which takes none of its values",
                hint=f"declare it as {' or '.join(fitting)}"
                if fitting
                else "declare the entity in the feature store with text or whole numbers",
            )


def looks_up(project: Project) -> bool:
    """Return whether features are looked up by keys: not where all come in the request.

    Raises:
        ConfigError: ``features.from`` names a view that is not there.
        FeatureError: the service was not applied.
    """
    return not project.config.features.by_view or bool(_online(project).keys)


def requested_columns(project: Project) -> frozenset[str]:
    """Return the columns of ``features.yaml`` whose views come in the request by ``features.from``.

    Raises:
        ConfigError: ``features.from`` names a view that is not there, or ``features.yaml`` lacks a column.
        FeatureError: the service was not applied.
    """
    if not project.config.features.by_view:
        return frozenset()
    from tidemill.features.by_view.view_sources import requested_views  # importing Feast takes seconds

    return requested_views(project).columns


def _online(project: Project) -> "OnlineFeatures":
    """Return a reader of what is looked up."""
    from tidemill.features.by_view.view_sources import requested_views
    from tidemill.features.feast_session import open_store
    from tidemill.features.online.online_features import OnlineFeatures

    store = open_store(project)
    requested = requested_views(project, store)
    return OnlineFeatures(store, project.feature_service, requested=requested.views)


def features_digest(project: Project) -> str:
    """Return a hash of what the features mean: of the applied service, and of ``features.yaml``.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong.
        FeatureError: the service was not applied.
    """
    parts = []
    if project.has_store:
        from tidemill.features.feature_store import definition_hash

        parts.append(definition_hash(project))
    if project.config.features.source != "store":
        columns = [
            (one.name, one.type, one.categories, one.unseen, *([one.length] if one.length else []))
            for one in read_columns(project)
        ]
        parts.append(hashlib.sha256(json.dumps(columns).encode()).hexdigest())
    if project.config.features.by_view:
        parts.append(json.dumps(project.config.features.given, sort_keys=True))
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


def hidden_fields(project: Project) -> frozenset[str]:
    """Return the names of the personal fields: of the applied definitions, ``features.yaml``, and the label.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong.
        FeatureError: the registry cannot be read.
    """
    found: set[str] = set()
    if project.has_store:
        from tidemill.features.feast_session import open_store
        from tidemill.features.personal_fields import personal_fields

        found |= personal_fields(open_store(project))
    if project.config.features.source != "store":
        listed = (*read_columns(project), *read_keys(project))
        found |= {column.name for column in listed if column.personal}
    if project.config.dataset.label_personal:
        found.add(project.config.dataset.label)
    return frozenset(found)
