"""The latest feature values, for serving: read from Feast's online store, judged by the request's moment."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from feast import FeatureService, FeatureStore, FeatureView, OnDemandFeatureView
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.feature_view_projection import FeatureViewProjection
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.types import Bool, Float32, Float64, Int32, Int64
from feast.value_type import ValueType

from tidemill.clock import utc
from tidemill.errors import FeatureError
from tidemill.features.engine import feast_errors, get_service

__all__ = ["FeatureRow", "OnlineFeatures"]

_Stored = tuple[datetime | None, Mapping[str, Any] | None]
_SERVED = (Bool, Float32, Float64, Int32, Int64)


@dataclass(frozen=True)
class FeatureRow:
    """The features of one request."""

    values: dict[str, float | None]
    """Feature → value, in the service's order; none where nothing valid is known."""
    flags: tuple[str, ...]
    """What to know about them: ``missing:<view>``, ``expired:<view>``, ``future:<view>``."""


@dataclass(frozen=True)
class _Lookup:
    """One view to read, under the keys that one projection of it uses."""

    name: str
    view: FeatureView
    keys: tuple[tuple[str, str, ValueType], ...]
    """Join key of the view, column of the request, type."""
    features: tuple[str, ...]
    ttl: timedelta | None


@dataclass(frozen=True)
class _Found:
    values: Mapping[str, Any]
    flag: str | None


class OnlineFeatures:
    """Reads a service's features for requests.

    A value that is older than its view's TTL at the moment of the request is not served: it is none, and so
    it is for the on-demand views that build on it, exactly as in a training frame. A value from *after* that
    moment is served but flagged: the online store holds only the latest value of a key, so for a moment in
    the past there is no better one. Event times are whole seconds in the SQLite store.

    Definitions are those of the registry at construction. Several threads may read at once; another process,
    a forked child included, opens its own store.
    """

    def __init__(self, store: FeatureStore, service: FeatureService | str) -> None:
        """Resolve the views of ``service``.

        Raises:
            FeatureError: the service was not applied, or has a feature that is no number.
        """
        self._store = store
        service = get_service(store, service) if isinstance(service, str) else service
        with feast_errors(f"resolving the views of service {service.name!r}"):
            on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
            projections = service.feature_view_projections
            self._on_demand = tuple(on_demand[p.name] for p in projections if p.name in on_demand)
            self._lookups = _lookups(store, projections, self._on_demand)
        self.features = _numeric_features(service)

    def read(self, rows: Sequence[Mapping[str, object]], at: Sequence[datetime]) -> list[FeatureRow]:
        """Return the features of each row, in the order of ``rows``.

        Args:
            rows: Join keys and what the on-demand views read from a request; a key that is none is unknown.
            at: The moment of each request, as event time (naive means UTC); as many as ``rows``.

        Raises:
            FeatureError: a key is absent from a row or of another type, the online store cannot be read, or a
                transformation failed.
        """
        if len(rows) != len(at):
            raise FeatureError(f"there are {len(rows)} rows but {len(at)} moments")
        if not rows:
            return []
        moments = [utc(moment) for moment in at]
        found = [self._find(lookup, rows, moments) for lookup in self._lookups]
        columns: dict[str, list[Any]] = {}
        for lookup, results in zip(self._lookups, found, strict=True):
            for feature in lookup.features:
                columns[f"{lookup.name}__{feature}"] = [result.values.get(feature) for result in results]
        for view in self._on_demand:
            columns |= _transform(view, rows, columns)
        served = [columns[f"{view}__{feature}"] for view, feature in self.features]
        return [
            FeatureRow(
                {
                    name: _number(column[index])
                    for (_, name), column in zip(self.features, served, strict=True)
                },
                tuple(flag for results in found if (flag := results[index].flag)),
            )
            for index in range(len(rows))
        ]

    def _find(
        self, lookup: _Lookup, rows: Sequence[Mapping[str, object]], at: Sequence[datetime]
    ) -> list[_Found]:
        """Read one view for all rows, each distinct key once."""
        keys = [_key(lookup, row) for row in rows]
        distinct = list(dict.fromkeys(key for key in keys if key is not None))
        answers: dict[tuple[object, ...], _Stored] = {}
        if distinct:
            with feast_errors(f"reading {lookup.name!r} from the online store"):
                answers = dict(
                    zip(
                        distinct,
                        self._store.provider.online_read(
                            self._store.config,
                            lookup.view,
                            _entity_keys(lookup, distinct),
                            list(lookup.features),
                        ),
                        strict=True,
                    )
                )
        return [
            _judge(lookup, answers[key], moment) if key is not None else _missing(lookup)
            for key, moment in zip(keys, at, strict=True)
        ]


def _lookups(
    store: FeatureStore,
    projections: Sequence[FeatureViewProjection],
    on_demand: Sequence[OnDemandFeatureView],
) -> tuple[_Lookup, ...]:
    """Return what must be read: the service's own views, and those that its on-demand views read."""
    computed = {view.name for view in on_demand}
    wanted = [projection for projection in projections if projection.name not in computed]
    wanted += [
        projection for view in on_demand for projection in view.source_feature_view_projections.values()
    ]
    merged: dict[str, _Lookup] = {}
    for projection in wanted:
        name = projection.name_to_use()
        features = tuple(field.name for field in projection.features)
        if name in merged:
            features = tuple(dict.fromkeys([*merged[name].features, *features]))
        elif not features:
            continue
        view = store.get_feature_view(projection.name).with_projection(projection)
        keys = tuple(
            (column.name, projection.join_key_map.get(column.name, column.name), column.dtype.to_value_type())
            for column in view.entity_columns
            if column.name != DUMMY_ENTITY_ID
        )
        if name in merged:
            view, keys = merged[name].view, merged[name].keys
        merged[name] = _Lookup(name, view, keys, features, view.ttl or None)
    return tuple(merged.values())


def _numeric_features(service: FeatureService) -> tuple[tuple[str, str], ...]:
    features = []
    for projection in service.feature_view_projections:
        for field in projection.features:
            if field.dtype not in _SERVED:
                raise FeatureError(
                    f"feature {field.name!r} of {projection.name_to_use()!r} is {field.dtype}, not a number",
                    hint="encode it as a number, for example in an on-demand view",
                )
            features.append((projection.name_to_use(), field.name))
    return tuple(features)


def _key(lookup: _Lookup, row: Mapping[str, object]) -> tuple[object, ...] | None:
    try:
        key = tuple(row[column] for _, column, _ in lookup.keys)
    except KeyError as error:
        raise FeatureError(
            f"a row lacks {error.args[0]!r}, the key of view {lookup.name!r}",
            hint=f"it has: {', '.join(row)}",
        ) from error
    return None if None in key else key


def _entity_keys(lookup: _Lookup, keys: Sequence[tuple[object, ...]]) -> list[EntityKey]:
    if not lookup.keys:
        names, columns = (
            [DUMMY_ENTITY_ID],
            [python_values_to_proto_values([DUMMY_ENTITY_VAL], ValueType.STRING)],
        )
    else:
        names = [name for name, _, _ in lookup.keys]
        columns = [
            python_values_to_proto_values([key[index] for key in keys], kind)
            for index, (_, _, kind) in enumerate(lookup.keys)
        ]
    return [EntityKey(join_keys=names, entity_values=values) for values in zip(*columns, strict=True)]


def _missing(lookup: _Lookup) -> _Found:
    return _Found({}, f"missing:{lookup.name}")


def _judge(lookup: _Lookup, stored: _Stored, at: datetime) -> _Found:
    moment, answer = stored
    if answer is None or moment is None:
        return _missing(lookup)
    known = utc(moment)
    if lookup.ttl and at - known > lookup.ttl:
        return _Found({}, f"expired:{lookup.name}")
    values = {name: feast_value_type_to_python_type(value) for name, value in answer.items()}
    return _Found(values, f"future:{lookup.name}" if known > at else None)


def _transform(
    view: OnDemandFeatureView, rows: Sequence[Mapping[str, object]], columns: Mapping[str, list[Any]]
) -> dict[str, list[Any]]:
    """Run one on-demand view over all rows with Feast's own code; unknown inputs are none, as in training."""
    inputs: dict[str, list[Any]] = {}
    for name in view.get_request_data_schema():
        try:
            inputs[name] = [_plain(row[name]) for row in rows]
        except KeyError as error:
            raise FeatureError(f"a row lacks {name!r}, which on-demand view {view.name!r} reads") from error
    for projection in view.source_feature_view_projections.values():
        for field in projection.features:
            inputs[field.name] = columns[f"{projection.name_to_use()}__{field.name}"]
    try:
        if view.mode == "python":
            outputs = view.transform_dict(inputs)
        else:
            outputs = view.transform_arrow(pa.table(inputs)).to_pydict()
        return {f"{view.projection.name_to_use()}__{f.name}": list(outputs[f.name]) for f in view.features}
    except Exception as error:  # the project's code: anything can come out of it
        raise FeatureError(
            f"on-demand view {view.name!r} failed: {type(error).__name__}: {error}",
            hint="it must cope with None, which stands for unknown",
        ) from error


def _plain(value: object) -> object:
    return utc(value) if isinstance(value, datetime) else value  # as it comes out of a training frame


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return None if math.isnan(number) else number
