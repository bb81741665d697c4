"""Translate Feast's feature views for the join: which columns of which source, under which names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from feast import FeatureView
from feast.data_source import DataSource

from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.errors import FeatureError
from tidemill.features.declared_types import fits
from tidemill.features.offline.asof import History
from tidemill.features.offline.parquet_sources import Reading, open_source
from tidemill.features.private_feast import DUMMY_ENTITY_ID

__all__ = ["ViewHistory", "join_keys", "keys_that_are_null", "open_history", "source_of"]


@dataclass(frozen=True)
class ViewHistory:
    """One feature view, prepared for the join."""

    history: History
    reading: Reading


def open_history(
    view: FeatureView, refs: Sequence[str], full_feature_names: bool, repo: Path | str | None
) -> ViewHistory:
    """Open the source of ``view`` and map its columns to the features of ``refs``.

    Raises:
        FeatureError: names the view, the column and the file that do not fit.
    """
    called = view.projection.name_to_use()
    prefix = view.projection.name_alias or view.name
    asked = list(
        dict.fromkeys(name for owner, _, name in (ref.partition(":") for ref in refs) if owner == called)
    )
    source = source_of(view)
    try:
        reading = open_source(source, repo)
    except FeatureError as error:
        raise FeatureError(f"feature view {view.name!r}: {error}", hint=error.hint) from error
    mapping = source.field_mapping or {}
    rows = _mapped(reading.rows, mapping)
    created = mapping.get(source.created_timestamp_column, source.created_timestamp_column)
    history = History(
        name=called,
        values=rows,
        keys={
            column.name: view.projection.join_key_map.get(column.name, column.name)
            for column in view.entity_columns
            if column.name != DUMMY_ENTITY_ID
        },
        features={name: f"{prefix}__{name}" if full_feature_names else name for name in asked},
        timestamp=mapping.get(source.timestamp_field, source.timestamp_field),
        created=created or None,
        ttl=view.ttl or None,
    )
    _check(view, history, rows.collect_schema(), reading)
    return ViewHistory(history, reading)


def source_of(view: Any) -> DataSource:
    """Return the batch source of ``view``.

    Raises:
        FeatureError: it has none.
    """
    if view.batch_source is None:
        raise FeatureError(
            f"feature view {view.name!r} has no batch source, so it has no history",
            hint="give its stream or push source a batch_source",
        )
    return view.batch_source


def join_keys(view: FeatureView) -> list[str]:
    """Return the columns of the entity frame that ``view`` is joined on."""
    names = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    return [view.projection.join_key_map.get(name, name) for name in names]


def keys_that_are_null(rows: pl.LazyFrame, keys: Sequence[str]) -> list[str]:
    """Return which of ``keys`` have no value in any row; none if there are no rows."""
    if not keys:
        return []
    counts = rows.select(
        pl.len().alias("__rows"), *(pl.col(literal_name(key)).count() for key in keys)
    ).collect()
    return [key for key in keys if counts["__rows"][0] and not counts[key][0]]


def _mapped(rows: pl.LazyFrame, mapping: dict[str, str]) -> pl.LazyFrame:
    """Rename columns by the source's field mapping; they replace columns that have these names already."""
    present = rows.collect_schema()
    renamed = {old: new for old, new in mapping.items() if old in present and old != new}
    shadowed = [new for new in renamed.values() if new in present and new not in renamed]
    return rows.drop(literal_names(shadowed)).rename(renamed)


def _check(view: FeatureView, history: History, schema: pl.Schema, reading: Reading) -> None:
    declared = {field.name: field.dtype for field in (*view.features, *view.entity_columns)}
    unknown = [name for name in history.features if name not in declared]
    if unknown:
        raise FeatureError(
            f"feature view {view.name!r} has no feature {', '.join(map(repr, unknown))}",
            hint=f"it has: {', '.join(field.name for field in view.features)}",
        )
    needed = [
        *history.keys,
        history.timestamp,
        *history.features,
        *([history.created] if history.created else []),
    ]
    absent = [column for column in needed if column not in schema]
    if absent:
        raise FeatureError(
            f"feature view {view.name!r}: its source has no column {', '.join(map(repr, absent))} "
            f"({reading.address.text})",
            hint=f"there are: {', '.join(schema)}",
        )
    for name in history.features:
        if not fits(declared[name], schema[name]):
            raise FeatureError(
                f"feature view {view.name!r}: column {name!r} is {schema[name]} in {reading.address.text}, "
                f"but declared as {declared[name]}",
                hint="declare the type that the column has, or write the column with the declared type",
            )
    for name in filter(None, (history.timestamp, history.created)):
        if not isinstance(schema[name], pl.Datetime | pl.Date):
            raise FeatureError(
                f"feature view {view.name!r}: column {name!r} is {schema[name]} in {reading.address.text}, "
                "not points in time",
                hint="write it as a timestamp column",
            )
