"""Look up features for rows with entity keys and a moment: as known then, or the latest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.list_elements import known_elements
from tidemill.errors import FeatureError
from tidemill.features.by_view.known_by_view import known_by_view
from tidemill.features.by_view.view_sources import RequestedViews, requested_views
from tidemill.features.defaults import filled
from tidemill.features.feast_objects import ValueType
from tidemill.features.feature_store import get_service, known_features, open_store
from tidemill.features.lookups import KEY_TYPES, lookups
from tidemill.features.online.circuit_breaker import FALLBACK
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.features.private_feast import DUMMY_ENTITY_ID
from tidemill.features.unseen_categories import Categories, declared_categories
from tidemill.project import Project
from tidemill.project.feature_columns import FeatureValue
from tidemill.scoring.execution.feature_values import FeatureKinds, FeatureValues, given_values
from tidemill.scoring.input.column_values import Wrong, typed

__all__ = ["Keys", "Latest", "PointInTime", "keys_of"]

_AT = "event_timestamp"
_LISTS, _PLAIN = pl.List(pl.Float64), (pl.Float64(), pl.String())


@dataclass(frozen=True)
class Keys:
    """The keys of a service's feature lookup."""

    columns: dict[str, pl.DataType]
    """Join keys and what on-demand views read from a request → type."""
    views: dict[str, tuple[str, ...]]
    """View → its features in the service; on-demand views are not among them."""
    computed_from: frozenset[str] = frozenset()
    """The looked-up features that on-demand views read."""
    requested: RequestedViews = field(default_factory=RequestedViews)
    """The views that rows bring, by ``features.from``."""
    inputs: Mapping[str, pl.DataType] = field(default_factory=dict)
    """Their features that on-demand views read → type."""

    def frame(self, table: pa.Table, wrong: Wrong) -> pl.DataFrame:
        """Return the keys of a table in their types; record values that do not fit in ``wrong``."""
        return pl.DataFrame(
            [typed(table[name], name, kind, wrong).alias(name) for name, kind in self.columns.items()]
        )

    def brought(self, table: pa.Table, wrong: Wrong) -> pl.DataFrame:
        """Return what on-demand views read of the views that rows bring; null where there is no column."""
        return pl.DataFrame(
            [
                typed(table[name], name, kind, wrong).alias(name)
                if name in table.column_names
                else pl.Series(name, [None] * table.num_rows, kind)
                for name, kind in self.inputs.items()
            ]
        )

    def frame_of(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """Return the keys of rows as `Application.feature_row` gives them, in their types."""
        columns = []
        for name, kind in self.columns.items():
            values = [row.get(name) for row in rows]
            if isinstance(kind, pl.Datetime):
                values = [utc(value) if isinstance(value, datetime) else value for value in values]
            try:
                columns.append(pl.Series(name, values, kind))
            except (TypeError, pl.exceptions.PolarsError) as error:
                raise FeatureError(
                    f"feature_row of the application gives {name!r} in another type than {kind}: {error}",
                    hint="correct feature_row of the application",
                ) from error
        return pl.DataFrame(columns)


def keys_of(project: Project) -> Keys:
    """Return the keys by which the project's service looks up its features.

    Raises:
        FeatureError: the service was not applied, or has a key of a type that no table has.
    """
    store = open_store(project)
    service = get_service(store, project.feature_service)
    on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
    projections = service.feature_view_projections
    requested = requested_views(project, store)
    computed = [
        on_demand[p.name].with_projection(p)
        for p in projections
        if p.name in on_demand and p.name_to_use() not in requested.views
    ]
    found = lookups(store, projections, computed, requested.views)
    columns: dict[str, pl.DataType] = {}
    for lookup in found:
        entities = [column for column in lookup.view.entity_columns if column.name != DUMMY_ENTITY_ID]
        columns |= {
            name: _type(name, column.dtype.to_value_type())
            for name, column in zip(lookup.columns, entities, strict=True)
        }
    for view in computed:
        columns |= {name: _type(name, kind) for name, kind in view.get_request_data_schema().items()}
    views = {
        p.name_to_use(): tuple(feature.name for feature in p.features)
        for p in projections
        if p.name not in on_demand and p.name_to_use() not in requested.views
    }
    read = [each for view in computed for each in view.source_feature_view_projections.values()]
    fields = [(each.name_to_use() in requested.views, f) for each in read for f in each.features]
    looked_up = frozenset(f.name for brought, f in fields if not brought)
    inputs = {f.name: _type(f.name, f.dtype.to_value_type()) for brought, f in fields if brought}
    return Keys(columns, views, looked_up, requested, inputs)


class PointInTime:
    """Looks up features in the offline store as known at each row's moment, as in training."""

    def __init__(
        self, project: Project, keys: Keys, kinds: FeatureKinds, brought: Collection[str] = ()
    ) -> None:
        self._project, self._keys, self._kinds, self._brought = project, keys, kinds, brought
        store = open_store(project)
        service = get_service(store, project.feature_service)
        declared = declared_categories(service, store.list_on_demand_feature_views())
        self._categories = {name: one for name, one in declared.items() if name not in keys.requested.columns}

    def find(self, keys: pl.DataFrame, at: pl.Series, brought: pl.DataFrame) -> FeatureValues:
        """Return the features of rows, as of their moments; those that only rows bring are unknown.

        Args:
            keys: of the rows.
            at: their moments.
            brought: what on-demand views read of the views that rows bring (`Keys.brought`).

        Raises:
            FeatureError: a source cannot be read, or lacks a feature of the version.
        """
        frame = keys.with_columns(at.alias(_AT))
        if self._keys.requested.views:
            features, defaults = known_by_view(self._project, frame, brought, self._keys.requested.views)
        else:
            features, defaults = known_features(self._project, frame)
        lists = [name for name, kind in features.schema.items() if isinstance(kind, pl.List)]
        features = features.with_columns(known_elements(pl.col(literal_name(name))) for name in lists)
        _require(self._kinds.names, [*features.columns, *self._brought], self._project)
        flags = _flags(features, self._keys, defaults, self._categories).alias("flags")
        whole = filled(features, defaults)
        known = whole.drop(name for name, kind in whole.schema.items() if kind == pl.Null)
        return _arranged(known, self._kinds, features.select(flags)["flags"])


class Latest:
    """Looks up the latest features in the online store, exactly as the prediction API does."""

    def __init__(
        self, project: Project, keys: Keys, kinds: FeatureKinds, brought: Collection[str] = ()
    ) -> None:
        store = open_store(project)
        self._reader = OnlineFeatures(store, project.feature_service, requested=keys.requested.views)
        self._served = [name for _, name in self._reader.features]
        _require(kinds.names, [*self._served, *brought], project)
        self._keys, self._kinds = keys, kinds

    def find(self, keys: pl.DataFrame, at: pl.Series, brought: pl.DataFrame) -> FeatureValues:
        """Return the features of rows, valid at their moments; those that only rows bring are unknown.

        Args:
            keys: of the rows.
            at: their moments.
            brought: what on-demand views read of the views that rows bring (`Keys.brought`).

        Raises:
            FeatureError: the online store cannot be read.
        """
        rows = self._reader.read(
            keys.to_dicts() if keys.width else [{}] * len(at), at.to_list(), brought.to_dicts()
        )
        if any(FALLBACK in row.flags for row in rows):  # acceptable for a request, not for a table
            raise FeatureError(
                "the online store does not answer",
                hint="--resume when it answers again; nothing is lost",
            )
        columns = []
        for name in self._kinds.names:
            if name in self._served:
                kind = _LISTS if name in self._kinds.lists else _PLAIN[name in self._kinds.words]
                values: list[Any] = [row.values[name] for row in rows]
                columns.append(pl.Series(name, values, kind, strict=False))
        flags = pl.Series("flags", [list(row.flags) for row in rows], pl.List(pl.String))
        return _arranged(pl.DataFrame(columns), self._kinds, flags)


def _arranged(features: pl.DataFrame, kinds: FeatureKinds, flags: pl.Series) -> FeatureValues:
    """Return features by name as a model takes them; those that are not there are unknown.

    Raises:
        FeatureError: a list has another length than the version takes.
    """
    texts: dict[str, pa.ChunkedArray] = {}
    columns: dict[str, pa.ChunkedArray] = {}
    for name in kinds.names:
        column = features.get_column(name, default=pl.Series(name, [None] * len(flags), pl.Float64))
        if name in kinds.words:
            texts[name] = pa.chunked_array([column.cast(pl.String).to_arrow().cast(pa.string())])
            columns[name] = pa.chunked_array([pa.nulls(len(flags), pa.float64())])
        else:
            columns[name] = pa.chunked_array([column.to_arrow()])
    wrong: dict[int, str] = {}
    found = given_values(pa.table(columns), kinds._replace(words=()), wrong)
    if wrong:
        raise FeatureError(
            f"a feature in the store is not what the version takes: {next(iter(wrong.values()))}",
            hint="score a version that was trained on what the store holds",
        )
    return FeatureValues(found.matrix, texts, flags)


def _flags(
    features: pl.DataFrame,
    keys: Keys,
    defaults: Mapping[str, FeatureValue],
    categories: Mapping[str, Categories],
) -> pl.Expr:
    """Return lists of ``missing:<view>`` (nothing valid was known), ``default:<feature>`` and the like."""
    unknown = {
        name: pl.col(literal_name(name)).is_null()
        | (~pl.col(literal_name(name)).is_finite() if kind.is_float() else pl.lit(False))
        for name, kind in features.schema.items()
    }
    told = [
        pl.when(pl.all_horizontal([unknown[name] for name in names])).then(pl.lit(f"missing:{view}"))
        for view, names in keys.views.items()
        if names
    ]
    told += [pl.when(unknown[name]).then(pl.lit(f"default:{name}")) for name in defaults]
    told += [
        pl.when(~pl.col(literal_name(name)).is_in(list(one.known))).then(pl.lit(one.flag))
        for name, one in categories.items()
    ]
    if not told:
        return pl.lit([], pl.List(pl.String))
    return pl.concat_list(told).list.drop_nulls()


def _require(names: Sequence[str], there: Sequence[str], project: Project) -> None:
    absent = [name for name in names if name not in there]
    if absent:
        raise FeatureError(
            f"the version needs features that {project.feature_service!r} does not have: {', '.join(absent)}",
            hint="score a version that was trained on this service, or give the features as columns",
        )


def _type(name: str, kind: ValueType) -> pl.DataType:
    try:
        return KEY_TYPES[kind]
    except KeyError as error:
        raise FeatureError(
            f"key {name!r} is of type {kind.name}, which batch scoring does not read",
            hint="score with --columns",
        ) from error
