"""Checks the annotations of a label file, and reports all errors at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from tidemill.clock import utc
from tidemill.data.labels.label_files import LabelFile
from tidemill.data.labels.label_types import cast_like, is_missing, moments, typed
from tidemill.data.tables.column_names import literal_names
from tidemill.data.tables.version_tables import reading, scan
from tidemill.errors import DataError, UsageError

__all__ = ["LabelRequest", "checked_annotations"]

_SHOWN = 5
_EXAMPLE = "2013-04-01T06:00:00Z"


@dataclass(frozen=True)
class LabelRequest:
    """The file to import, and how to read it."""

    file: Path
    key: tuple[str, ...]
    """Columns by which a label is joined."""
    name: str = "labels"
    label: str | None = None
    """Control or column with the label; None: the only one."""
    time: str | None = None
    """Column of the key that is a moment."""
    known_at: str | None = None
    """Column with the moment when a label became known, or one moment for all labels."""
    majority: bool = False
    """Whether a majority vote of the annotators decides, instead of the latest annotation."""
    against: Path | None = None
    """A table that must contain all keys, and gives them their types."""


def checked_annotations(
    request: LabelRequest,
    found: LabelFile,
    known: datetime | None,
    now: datetime,
    types: Mapping[str, pl.DataType],
) -> pl.DataFrame:
    """Return the annotations with types.

    Raises:
        DataError: there are errors; the message lists all of them.
    """
    rows, wrong = found.rows, _Wrong(request.file)
    places = [row["place"] for row in rows]
    columns: dict[str, pl.Series] = {}
    for position, name in enumerate(request.key):
        values = [row["key"][position] for row in rows]
        empty = [place for place, value in zip(places, values, strict=True) if is_missing(value)]
        wrong.add(f"no {name}", empty)
        columns[name] = moments(values) if name == request.time else typed(name, values)
        if name == request.time:
            read = zip(places, values, columns[name], strict=True)
            unread = [_quoted(p, v) for p, v, m in read if m is None and not is_missing(v)]
            wrong.add(f"{name} is not a moment such as {_EXAMPLE}", unread)
    not_labels = [row["place"] for row in rows if is_missing(row["label"])]
    wrong.add("the label is nan, not a number: leave it empty where there is none", not_labels)
    given = [known or row["known"] for row in rows]
    assumed = [utc(now) if value is None and found.tool == "table" else value for value in given]
    made = moments(assumed)
    lost = [_quoted(p, v) for p, v, m in zip(places, assumed, made, strict=True) if m is None]
    wrong.add(f"no moment of the label such as {_EXAMPLE}", lost)
    late = [p for p, m in zip(places, made, strict=True) if m is not None and m > utc(now)]
    wrong.add("labelled in the future", late)
    keyed = [columns[name].alias(name) for name in request.key]
    frame = pl.DataFrame([*keyed, *_annotations(rows, made)])
    if request.against is not None:
        keys = {name: [row["key"][position] for row in rows] for position, name in enumerate(request.key)}
        frame = _known_to(request.against, types, frame, keys, wrong)
    if not request.majority and found.tool == "table":
        wrong.add("two labels at the same moment", _undecided(frame, request.key))
    wrong.tell()
    return frame.drop("__place")


def _annotations(rows: Sequence[Mapping[str, Any]], labelled_at: pl.Series) -> list[pl.Series]:
    """Return the columns of the rows beside their key, and their places in the file."""
    texts = {"annotator": "annotator", "source": "source", "__place": "place"}
    return [
        typed("label", [row["label"] for row in rows]),
        labelled_at.alias("labelled_at"),
        *(pl.Series(name, [row[field] for row in rows], dtype=pl.String) for name, field in texts.items()),
    ]


class _Wrong:
    """Collects errors, to report all of them at once."""

    def __init__(self, file: Path) -> None:
        self._file, self._found = file, list[str]()

    def add(self, what: str, places: Sequence[str]) -> None:
        if places:
            more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            self._found.append(f"{what}: {'; '.join(places[:_SHOWN])}{more} ({len(places)} in all)")

    def tell(self) -> None:
        if self._found:
            raise DataError(
                "\n  - ".join([f"{self._file} cannot be imported:", *self._found]),
                hint="correct them in the labelling tool, export again, and import again; nothing was "
                "written",
            )


def _known_to(
    against: Path,
    types: Mapping[str, pl.DataType],
    frame: pl.DataFrame,
    keys_as_read: Mapping[str, Sequence[Any]],
    wrong: _Wrong,
) -> pl.DataFrame:
    """Cast the key to the types in ``against``, and note the keys that it does not contain."""
    key = list(keys_as_read)
    with reading(str(against)):
        table = scan(against.name, [against], types)
        schema = table.collect_schema()
        if missing := [name for name in key if name not in schema]:
            raise UsageError(
                f"{against} has no column {', '.join(missing)}: it has {', '.join(schema)}",
                hint="--key names columns that the labels and the data set share",
            )
        frame = frame.with_columns(cast_like(name, keys_as_read[name], schema[name]) for name in key)
        on = literal_names(key)
        keys = frame.select(on).unique()
        there = table.select(on).join(keys.lazy(), on=on, how="semi").unique().collect(engine="streaming")
    whole = frame.drop_nulls(on)
    unread = frame.filter(pl.any_horizontal(pl.col(name).is_null() for name in on))
    wrong.add(f"a key of another type than in {against}, or none", unread["__place"].to_list())
    strange = whole.join(there, on=on, how="anti", maintain_order="left")
    wrong.add(f"a key that {against} does not have", strange["__place"].to_list())
    return frame


def _quoted(place: str, value: object) -> str:
    return place if value is None or value == "" else f"{place} ({value})"


def _undecided(frame: pl.DataFrame, key: Sequence[str]) -> list[str]:
    on = literal_names(key)
    last = frame.filter(pl.col("labelled_at") == pl.col("labelled_at").max().over(on))
    return last.filter(pl.col("label").n_unique().over(on) > 1)["__place"].to_list()
