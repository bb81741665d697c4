"""Feast's feature views in the terms of the join: which columns of which source, under which names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from feast import FeatureView
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID

from tidemill.errors import FeatureError
from tidemill.features.asof import History, utc_moments
from tidemill.features.declared import fits
from tidemill.features.sources import Reading, open_source

__all__ = [
    "ViewHistory",
    "join_keys",
    "keys_that_are_null",
    "never_created_later",
    "open_history",
    "source_of",
]

_AVAILABLE, _CREATED, _RANK, _BEST, _KNOWN = "__available", "__created", "__rank", "__best", "__known"


@dataclass(frozen=True)
class ViewHistory:
    """One view as it is asked for."""

    history: History
    reading: Reading
    known: str | None = None
    """Column of the result with the timestamp of each value, if the TTL counts from it; to be dropped."""
    ttl: timedelta | None = None
    """Counts from ``known``."""


def open_history(
    view: FeatureView, refs: Sequence[str], full_feature_names: bool, repo: Path | str | None
) -> ViewHistory:
    """Open the source of ``view`` and say what of it belongs to which feature of ``refs``.

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


def never_created_later(asked: ViewHistory, number: int) -> ViewHistory:
    """Let values count only from their creation on, as Feast's ``filter_by_created_timestamp`` asks.

    A row is available from the later of its two moments on. At each such moment the best row (latest
    timestamp, then latest creation) among all that are available is what is known, so the history becomes one
    of the best rows so far. The TTL still counts from the timestamp of the value, which is handed along.

    Args:
        asked: A view; without a created timestamp it stays as it is.
        number: Of the view, to tell columns apart.
    """
    history = asked.history
    if history.created is None:
        return asked
    schema = history.values.collect_schema()
    known = utc_moments(history.timestamp, schema[history.timestamp], "ns")
    created = utc_moments(history.created, schema[history.created], "ns")
    rows = (
        history.values.select(*history.keys, *history.features, known.alias(_KNOWN), created.alias(_CREATED))
        .drop_nulls([_KNOWN, _CREATED, *history.keys])
        .sort(_KNOWN, _CREATED, maintain_order=True)
        .with_row_index(_RANK)
    )
    best = pl.col(_RANK).cum_max()
    moments = (
        rows.select(*history.keys, _RANK, pl.max_horizontal(_KNOWN, _CREATED).alias(_AVAILABLE))
        .sort(_AVAILABLE, maintain_order=True)
        .select(
            *history.keys, _AVAILABLE, (best.over(list(history.keys)) if history.keys else best).alias(_BEST)
        )
        .unique([*history.keys, _AVAILABLE], keep="last", maintain_order=True)
    )
    values = moments.join(
        rows.select(_RANK, _KNOWN, *history.features), left_on=_BEST, right_on=_RANK, maintain_order="left"
    )
    hidden = f"{_KNOWN}_{number}"
    return replace(
        asked,
        history=replace(
            history,
            values=values,
            features={**history.features, _KNOWN: hidden},
            timestamp=_AVAILABLE,
            created=None,
            ttl=None,
        ),
        known=hidden,
        ttl=history.ttl,
    )


def keys_that_are_null(rows: pl.LazyFrame, keys: Sequence[str]) -> list[str]:
    """Return which of ``keys`` have no value in any row; none if there are no rows."""
    if not keys:
        return []
    counts = rows.select(pl.len().alias("__rows"), *(pl.col(key).count() for key in keys)).collect()
    return [key for key in keys if counts["__rows"][0] and not counts[key][0]]


def _mapped(rows: pl.LazyFrame, mapping: dict[str, str]) -> pl.LazyFrame:
    """Rename columns as the source's field mapping says; a column that has such a name already gives way."""
    present = rows.collect_schema()
    renamed = {old: new for old, new in mapping.items() if old in present and old != new}
    shadowed = [new for new in renamed.values() if new in present and new not in renamed]
    return rows.drop(shadowed).rename(renamed)


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
