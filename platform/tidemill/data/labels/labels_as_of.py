"""Joins labels made by people to rows as of a moment: labels that became known later do not count.

The labels are what ``tidemill data labels import`` keeps under ``data/labels``: the key columns, ``label``,
``labelled_at``, ``annotator`` and ``source``. A project's stage reads the file and joins it.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.errors import DataError

__all__ = ["COLUMNS", "FOLDER", "join_labels"]

FOLDER = "data/labels"
"""Folder of imported labels, relative to the project."""

COLUMNS = ("label", "labelled_at", "annotator", "source")
"""Columns of labels in addition to their key."""

_ROW = "__row"


def join_labels(
    frame: pl.DataFrame, labels: pl.DataFrame, key: Sequence[str], known_by: datetime | str
) -> pl.DataFrame:
    """Return ``frame`` with the columns ``label`` and ``labelled_at``: null where no label was known in time.

    Every row stays, once and in order. Of several labels for a key, the latest known one counts.

    Args:
        frame: rows to label.
        labels: with the columns of ``key``, ``label`` and ``labelled_at`` (aware).
        key: columns that both have, of the same types.
        known_by: a moment, or the name of a column of ``frame`` with one for each row.

    Raises:
        DataError: a column is missing, is there already, or has another type in the one than in the other.

    >>> from datetime import UTC
    >>> day = [datetime(2013, 4, n, tzinfo=UTC) for n in range(1, 4)]
    >>> labels = pl.DataFrame({"flight": [7, 8], "label": ["late", "late"], "labelled_at": [day[0], day[2]]})
    >>> join_labels(pl.DataFrame({"flight": [8, 7, 9]}), labels, ["flight"], day[1])["label"].to_list()
    [None, 'late', None]
    """
    _check(frame, labels, key, known_by)
    labels = labels.select(
        *literal_names(key), "label", pl.col("labelled_at").cast(pl.Datetime("us", "UTC"))
    ).drop_nulls()
    if isinstance(known_by, datetime):
        known = labels.filter(pl.col("labelled_at") <= utc(known_by)).sort("labelled_at")
        latest = known.unique(literal_names(key), keep="last", maintain_order=True)
        return frame.join(latest, on=literal_names(key), how="left", maintain_order="left")
    moment = pl.col(literal_name(known_by)).cast(pl.Datetime("us"))
    rows = frame.lazy().with_row_index(_ROW).with_columns(__known_by=moment.dt.replace_time_zone("UTC"))
    joined = rows.sort("__known_by").join_asof(
        labels.lazy().sort("labelled_at"),
        left_on="__known_by",
        right_on="labelled_at",
        by=list(key),
        strategy="backward",
        check_sortedness=False,
        coalesce=False,
    )
    return joined.sort(_ROW).drop(_ROW, "__known_by").collect()


def _check(frame: pl.DataFrame, labels: pl.DataFrame, key: Sequence[str], known_by: datetime | str) -> None:
    wrong = [f"the frame has no column {name!r}" for name in key if name not in frame.columns]
    wrong += [
        f"the labels have no column {name!r}"
        for name in (*key, "label", "labelled_at")
        if name not in labels.columns
    ]
    wrong += [f"the frame has a column {n!r} already" for n in ("label", "labelled_at") if n in frame.columns]
    wrong += [
        f"{name!r} is {frame.schema[name]} in the frame and {labels.schema[name]} in the labels"
        for name in key
        if name in frame.columns and name in labels.columns and frame.schema[name] != labels.schema[name]
    ]
    if isinstance(known_by, str) and not isinstance(frame.schema.get(known_by), pl.Datetime):
        wrong.append(f"the frame has no column {known_by!r} of moments")
    if not key:
        wrong.append("no key is given")
    if wrong:
        raise DataError(
            f"labels cannot be joined: {'; '.join(wrong)}",
            hint="import them with --against the data set: their key gets its types",
        )
