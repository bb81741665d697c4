"""The bodies of MLflow's scoring protocol: data frames as JSON in four forms, and CSV.

They are read as ``mlflow models serve`` (3.17) reads them into a frame, without pandas, which would take
longer than the model. Where columns have no names, the caller gets a list of rows instead.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from io import StringIO
from typing import Any, NamedTuple

import orjson
import polars as pl

from tidemill.clock import utc
from tidemill.data.profiling.cell_values import list_in_cell, read_cells
from tidemill.data.profiling.number_notations import is_notation
from tidemill.data.tables.csv_headers import plain_names
from tidemill.plurals import counted
from tidemill.project.gap_words import GAPS_BESIDE_NUMBERS, is_gap
from tidemill.serving.protocols.json_bodies import malformed
from tidemill.serving.protocols.model_inputs import Rows
from tidemill.serving.protocols.request_fields import Field

__all__ = ["FORMS", "Frame", "parse_csv", "parse_frame"]

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
"""A body has exactly one of them."""

_MISSING = frozenset({*GAPS_BESIDE_NUMBERS, "<na>"})
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Frame(NamedTuple):
    """The content of a body: one of the two attributes."""

    rows: Rows | None
    """With names."""
    matrix: list[list[Any]] | None = None
    """Rows of equal width without names."""


def parse_frame(content: Mapping[str, Any]) -> Frame:
    """Return the frame of a JSON body.

    Raises:
        Refused: the body has no frame, several, or a malformed one.

    >>> parse_frame({"dataframe_split": {"columns": ["depot"], "data": [["north"], ["south"]]}}).rows
    {'depot': ['north', 'south']}
    >>> parse_frame({"instances": [[1.0, 2.0]]}).matrix
    [[1.0, 2.0]]
    """
    forms = [form for form in FORMS if form in content]
    if len(forms) != 1:
        found = ", ".join(forms) or "none of them"
        raise malformed(f"the body must have exactly one of {', '.join(FORMS)}; it has {found}")
    data = content[forms[0]]
    match forms[0]:
        case "dataframe_split":
            return _split(data)
        case "dataframe_records":
            return Frame(_records("dataframe_records", data))
        case "instances":
            return _instances(data)
        case _:
            return _inputs(data)


def parse_csv(
    body: bytes,
    fields: Sequence[Field],
    words: Sequence[str] = (),
    lists: Sequence[str] = (),
    formats: Mapping[str, str] = {},
) -> Frame:
    """Return the frame of a CSV body: a header with the names, then the rows.

    Values of the request's fields have the field's type; features in ``words`` are text, those in ``lists``
    JSON; all others are numbers if they can be. Columns in ``formats`` are read as training reads them, and
    what means a gap in a table is unknown.

    Raises:
        Refused: it is not UTF-8, its rows have different widths, or a value does not fit its field.
    """
    try:
        lines = [
            row for row in csv.reader(StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if row
        ]
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise malformed(f"the body is not CSV in UTF-8: line {line} is in another encoding") from None
    except csv.Error as error:
        raise malformed(f"the body is not CSV: {error}") from None
    if not lines:
        raise malformed("the CSV has no header")
    header, rows = plain_names(lines[0]), lines[1:]
    if len(set(header)) < len(header):
        raise malformed("the CSV's header names a column twice")
    other = next((name for mark, name in _SEPARATORS.items() if mark in lines[0][0]), None)
    if len(header) == 1 and other is not None:
        raise malformed(f"the CSV's values must be separated by commas, and its header has {other}")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            said = f"row {number} of the CSV has {counted(len(row), 'value')}"
            raise malformed(f"{said}, its header {counted(len(header), 'name')}")
    kinds = {
        **dict.fromkeys(words, "text"),
        **dict.fromkeys(lists, "json"),
        **{field.name: field.kind for field in fields},
    }
    columns = {
        name: _formatted(name, formats[name], [row[place] for row in rows])
        if name in formats
        else [_value(name, kinds.get(name), number, row[place]) for number, row in enumerate(rows)]
        for place, name in enumerate(header)
    }
    return Frame(columns)


def _split(data: object) -> Frame:
    if not isinstance(data, dict):
        raise malformed("dataframe_split must be an object with columns and data")
    strange = set(data) - {"columns", "data", "index"}
    if strange or "data" not in data:
        raise malformed("dataframe_split must have data, and may have columns and index, and nothing else")
    rows, names = data["data"], data.get("columns")
    width = _width("dataframe_split.data", rows)
    index = data.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise malformed("dataframe_split.index must be an array with one entry a row")
    if names is None:
        return Frame(None, rows)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise malformed("dataframe_split.columns must be an array of names")
    if len(set(names)) < len(names):
        raise malformed("dataframe_split.columns names a column twice")
    if rows and len(names) != width:
        raise malformed(
            f"dataframe_split has {counted(len(names), 'column')}, but rows of {counted(width, 'value')}"
        )
    return Frame({name: [row[place] for row in rows] for place, name in enumerate(names)})


def _records(form: str, data: object) -> list[Mapping[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(record, dict) for record in data):
        raise malformed(f"{form} must be an array of objects")
    return data


def _instances(data: object) -> Frame:
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return Frame(_records("instances", data))
    _width("instances", data)
    return Frame(None, data)  # type: ignore[arg-type]  # `_width` has looked at it


def _inputs(data: object) -> Frame:
    if not isinstance(data, dict):
        if isinstance(data, list) and data and isinstance(data[0], dict):
            return Frame(_records("inputs", data))
        _width("inputs", data)
        return Frame(None, data)  # type: ignore[arg-type]
    if all(not isinstance(values, list) for values in data.values()):
        return Frame([data])  # MLflow takes a value for each column as one row
    if not all(isinstance(values, list) for values in data.values()):
        raise malformed("inputs must have an array for each column, or a value for each")
    return Frame({name: list(_unwrapped(values)) for name, values in data.items()})


def _unwrapped(values: Sequence[Any]) -> Iterator[Any]:
    """Return a column that may be of shape [N, 1]."""
    for value in values:
        yield value[0] if isinstance(value, list) and len(value) == 1 else value


def _width(form: str, rows: object) -> int:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise malformed(f"{form} must be an array of rows, each an array")
    widths = set(map(len, rows))
    if len(widths) > 1:
        raise malformed(f"{form} has rows of different widths: {', '.join(map(str, sorted(widths)[:5]))}")
    return widths.pop() if widths else 0


def _formatted(name: str, form: str, texts: Sequence[str]) -> list[Any]:
    """Return a column's numbers, or its moments in ISO 8601; those without an offset are UTC.

    Moments may be written as in the table, or as in JSON: in ISO 8601, with their offset.
    """
    cells = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    found = cells.select(read_cells(pl.col("text"), pl.Float64(), form)).to_series().to_list()
    for row, (text, value) in enumerate(zip(texts, found, strict=True)):
        if value is None and text.strip().lower() not in _MISSING:
            found[row] = None if is_notation(form) else _moment(text)
            if found[row] is None:
                more = "" if is_notation(form) else ", nor as 2013-04-01T10:15:00Z"
                raise malformed(f"row {row} of the CSV, {name}: {text!r} is not written as {form}{more}")
    return [utc(value).isoformat() if isinstance(value, datetime) else value for value in found]


def _moment(text: str) -> datetime | None:
    """Return a moment in ISO 8601 with its offset; None if it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment


def _nested(text: str) -> Any:
    """Return the value of a cell with JSON, or of a list with gaps inside as tables have them.

    Raises:
        ValueError: it is neither.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        listed = list_in_cell(text)
        if listed is None:
            raise
        return listed


def _value(name: str, kind: str | None, row: int, text: str) -> Any:
    if kind == "text":
        return None if is_gap(text) else text
    if text.strip().lower() in _MISSING:
        return None
    try:
        if kind in ("json", "list"):
            return _nested(text)
        if kind == "boolean" and text.strip().lower() in _BOOLEANS:
            return _BOOLEANS[text.strip().lower()]
        if kind == "integer" and text.strip().lstrip("+-").isdecimal():
            return int(text)  # all its digits
        if kind not in ("number", "integer", None):
            return text
        if "_" in text:  # Python takes it between digits
            raise ValueError
        return float(text)
    except ValueError:
        if kind is None:  # a feature, which must be a number, or one of the columns that are not read
            return text
        wanted = "list" if kind == "json" else str(kind)
        article = "an" if wanted == "integer" else "a"
        raise malformed(
            f"row {row} of the CSV, {name}: Input should be {article} {wanted}, and other text was given"
        ) from None
