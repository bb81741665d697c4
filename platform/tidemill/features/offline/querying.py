"""Answer Feast's request for historical features: open sources, join, check that no file changed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from feast import FeatureView

from tidemill.errors import FeatureError
from tidemill.features.offline.asof import JoinResources, point_in_time_batches, point_in_time_join
from tidemill.features.offline.conforming import plain, refuse_missing
from tidemill.features.offline.entities import EntityRows, rows_of_span
from tidemill.features.offline.histories import ViewHistory, keys_that_are_null, open_history

__all__ = ["FeatureRequest", "Span", "answer"]

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class FeatureRequest:
    """The request: features, views and options."""

    views: Sequence[FeatureView]
    refs: Sequence[str]
    """``view:feature``."""
    full_feature_names: bool
    repo: Path | str | None
    """The folder that relative paths of sources start at."""
    only_created: bool = False
    """Whether a value counts only from when it was created on."""
    room: JoinResources | None = None
    """For the join."""


def answer(asked: FeatureRequest, rows: EntityRows | Span, batch_rows: int | None) -> Iterator[pa.Table]:
    """Yield the rows with their features in batches (None: all at once); at least one table.

    Raises:
        FeatureError: a view, column or file does not fit (named in the message), or a source changed.
    """
    views = [open_history(view, asked.refs, asked.full_feature_names, asked.repo) for view in asked.views]
    with ExitStack() as stack:
        for view in views:
            stack.enter_context(view.reading.unchanged())
        if not isinstance(rows, EntityRows):
            rows = rows_of_span(views, *rows)
        _reject_collisions(rows.table.column_names, views)
        if asked.only_created:
            views = [replace(view, history=replace(view.history, from_creation=True)) for view in views]
        yield from _joined(rows, views, batch_rows, asked.room)


def _joined(
    rows: EntityRows, views: Sequence[ViewHistory], batch_rows: int | None, room: JoinResources | None
) -> Iterator[pa.Table]:
    table, histories = rows.table, [view.history for view in views]
    for history in histories:
        needed = (*history.keys.values(), rows.at)
        refuse_missing(history.name, "the entity frame", needed, table.column_names)
    wanted = {rows.at} | {column for history in histories for column in history.keys.values()}
    frame = pl.DataFrame(table.select([name for name in table.column_names if name in wanted]))
    frame = frame.with_columns(  # pandas may give a column without values an unrelated type
        pl.lit(None, pl.Null).alias(key)
        for key in wanted - {rows.at}
        if key in frame and not frame[key].count()
    )
    if batch_rows is None or not frame.height:
        batches = iter([point_in_time_join(frame, rows.at, histories, room=room)])
    else:
        batches = point_in_time_batches(frame, rows.at, histories, batch_rows, room=room)
    start, without = 0, {view.history.name: view for view in views if view.history.keys and frame.height}
    for features in batches:
        for name, view in list(without.items()):
            if any(
                features[column].count() for column in view.history.features.values() if column in features
            ):
                del without[name]
        yield _beside(table.slice(start, features.height), features)
        start += features.height
    for view in without.values():
        _reject_null_keys(view)


def _beside(rows: pa.Table, features: pl.DataFrame) -> pa.Table:
    columns = plain(features.to_arrow(compat_level=pl.CompatLevel.oldest()))
    for name in columns.column_names:
        rows = rows.append_column(name, columns[name])
    return rows


def _reject_collisions(columns: Sequence[str], views: Sequence[ViewHistory]) -> None:
    taken = dict.fromkeys(columns, "the entity frame")
    for view in views:
        for feature in view.history.features.values():
            if feature in taken:
                raise FeatureError(
                    f"feature {feature!r} of view {view.history.name!r} is also a column of {taken[feature]}",
                    hint="rename one of them, or ask for full feature names",
                )
            taken[feature] = f"view {view.history.name!r}"


def _reject_null_keys(view: ViewHistory) -> None:
    """Raise if no row of a view was found because a key is null in every row."""
    null = keys_that_are_null(view.history.values, list(view.history.keys))
    if null:
        raise FeatureError(
            f"feature view {view.history.name!r}: key {', '.join(map(repr, null))} is null in every row of "
            f"{view.reading.address.text}",
            hint="fill in the key; rows without a key are ignored",
        )
