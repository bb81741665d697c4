"""Find out which views and keys a service's features are looked up by, and how to read them online."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from feast import FeatureStore, FeatureView, OnDemandFeatureView
from feast.value_type import ValueType

from tidemill.errors import FeatureError
from tidemill.features.encoding import key_encoder, microseconds
from tidemill.features.private_feast import (
    DUMMY_ENTITY_ID,
    DUMMY_ENTITY_VAL,
    FeatureViewProjection,
    deserialize_entity_key,
    feast_value_type_to_python_type,
)

__all__ = ["KEY_TYPES", "Found", "Lookup", "Read", "lookups", "reader"]

Found = Mapping[bytes, Sequence[Any]]
"""Stored rows of one view: entity key → event time in microseconds, then the values."""
Read = Callable[[Sequence[Sequence[bytes]]], Sequence[Found]]
"""Reads the stored rows of distinct entity keys, for each view; keys without a row are absent."""

KEY_TYPES: Mapping[ValueType, pl.DataType] = {
    ValueType.STRING: pl.String(),
    ValueType.INT32: pl.Int64(),
    ValueType.INT64: pl.Int64(),
    ValueType.FLOAT: pl.Float64(),
    ValueType.DOUBLE: pl.Float64(),
    ValueType.BOOL: pl.Boolean(),
    ValueType.UNIX_TIMESTAMP: pl.Datetime("us", "UTC"),
}
"""The types of keys, and of what on-demand views read from a request, in tables."""


@dataclass(frozen=True)
class Lookup:
    """One view to read, under the keys that one projection of it uses."""

    name: str
    """Its name in the service."""
    view: FeatureView
    columns: tuple[str, ...]
    """The columns of a request that hold its keys."""
    kinds: tuple[tuple[str, ValueType], ...]
    """The join keys in these columns, and their types."""
    encode: Callable[[Sequence[object]], bytes]
    """Encodes their values as an entity key."""
    features: tuple[str, ...]
    ttl: int | None
    """Microseconds."""

    def key(self, row: Mapping[str, object]) -> bytes | None:
        """Return the entity key of a request, or None if one of its values is unknown.

        Raises:
            FeatureError: the request lacks a key, or has it of another type.
        """
        try:
            values = [row[column] for column in self.columns]
        except KeyError as error:
            raise FeatureError(
                f"a row lacks {error.args[0]!r}, the key of view {self.name!r}",
                hint=f"it has: {', '.join(row)}",
            ) from error
        return None if None in values else self.encode(values)


def lookups(
    store: FeatureStore,
    projections: Sequence[FeatureViewProjection],
    on_demand: Sequence[OnDemandFeatureView],
    requested: Collection[str] = (),
) -> tuple[Lookup, ...]:
    """Return the views to look up: the service's own, and those that its on-demand views read.

    Args:
        store: the feature store.
        projections: of the service.
        on_demand: its on-demand views, except the ``requested`` ones.
        requested: the views whose features come in the request.
    """
    computed = {view.name for view in on_demand}
    wanted = [projection for projection in projections if projection.name not in computed]
    for view in on_demand:
        wanted += view.source_feature_view_projections.values()
    wanted = [projection for projection in wanted if projection.name_to_use() not in requested]
    first: dict[str, FeatureViewProjection] = {}
    features: dict[str, dict[str, None]] = {}
    for projection in wanted:
        if projection.features:
            name = projection.name_to_use()
            first.setdefault(name, projection)
            features.setdefault(name, {}).update(dict.fromkeys(f.name for f in projection.features))
    return tuple(_lookup(store, projection, tuple(features[name])) for name, projection in first.items())


def _lookup(store: FeatureStore, projection: FeatureViewProjection, features: tuple[str, ...]) -> Lookup:
    view = store.get_feature_view(projection.name).with_projection(projection)
    keys = [(c.name, c.dtype.to_value_type()) for c in view.entity_columns if c.name != DUMMY_ENTITY_ID]
    encode = key_encoder(keys)
    if not keys:
        constant = key_encoder([(DUMMY_ENTITY_ID, ValueType.STRING)])([DUMMY_ENTITY_VAL])
        encode = lambda _: constant  # noqa: E731
    return Lookup(
        name=projection.name_to_use(),
        view=view,
        columns=tuple(projection.join_key_map.get(name, name) for name, _ in keys),
        kinds=tuple(keys),
        encode=encode,
        features=features,
        ttl=round(view.ttl.total_seconds() * 1_000_000) if view.ttl else None,
    )


def reader(store: FeatureStore, wanted: Sequence[Lookup]) -> Read:
    """Return a function that reads ``wanted``: the online store's own, or one through Feast's interface."""
    online = store.provider.online_store
    if hasattr(online, "reader"):
        own: Read = online.reader(store.config, [(lookup.view, lookup.features) for lookup in wanted])
        return own
    return lambda keys: [_through_feast(store, *pair) for pair in zip(wanted, keys, strict=True)]


def _through_feast(store: FeatureStore, lookup: Lookup, keys: Sequence[bytes]) -> Found:
    """Read one view."""
    answers: dict[bytes, Sequence[Any]] = {}
    if keys:
        entity_keys = [deserialize_entity_key(key) for key in keys]
        stored = store.provider.online_read(store.config, lookup.view, entity_keys, list(lookup.features))
        for key, (moment, messages) in zip(keys, stored, strict=True):
            if moment is None or messages is None:
                continue
            at = microseconds(moment)
            values = [
                feast_value_type_to_python_type(messages[name]) if name in messages else None
                for name in lookup.features
            ]
            if at or any(value is not None for value in values):  # Redis: 1970 if absent
                answers[key] = (at, *values)
    return answers
