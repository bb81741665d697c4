"""Convert columns of any type for a model or the feature store, and record values that do not fit."""

import re
from collections.abc import Collection, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.clock import NUMBER
from tidemill.data.profiling.cell_values import list_in_cell, read_cells, without_gaps
from tidemill.project.feature_columns import ColumnType
from tidemill.project.gap_words import GAPS_BESIDE_NUMBERS, text_gaps

__all__ = ["Wrong", "elements", "is_feature", "is_numeric", "is_text", "moments", "numbers", "texts", "typed"]

Wrong = MutableMapping[int, str]
"""Position of a row in its batch → its first error."""

_TYPES: dict[ColumnType, tuple[pl.DataType, str]] = {
    "number": (pl.Float64(), "a number"),
    "integer": (pl.Float64(), "a whole number"),
    "truth": (pl.Boolean(), "true or false"),
    "moment": (pl.Datetime("us", "UTC"), "a moment"),
}
_COMMA = re.compile(r"[+-]?\d[\d.,' ]*[.,]\d+")
"""A number with a decimal comma, or with marks between thousands."""
_LARGEST = float(np.finfo(np.float32).max)
_LEAST, _MOST = -(2.0**63), 2.0**64
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def is_numeric(kind: pa.DataType) -> bool:
    """Return whether this type can be a feature's: numbers, booleans, moments, text that may hold numbers."""
    return bool(
        pa.types.is_integer(kind)
        or _is_moment(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or is_text(kind)
        or pa.types.is_null(kind)
    )


def is_feature(kind: pa.DataType) -> bool:
    """Return whether columns of this type can be a feature: what `is_numeric` says, and lists of numbers."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return is_numeric(kind.value_type) and not is_text(kind.value_type)
    return is_numeric(kind)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text, dictionaries of text included."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def elements(
    column: pa.ChunkedArray, name: str, length: int, wrong: Wrong, whole: bool = False
) -> npt.NDArray[np.float64]:
    """Return lists of numbers as a matrix, shape (rows, length); null becomes NaN, in a list, too.

    Text is read as JSON arrays. What is no list of that length, or with ``whole`` has a number that is not
    whole, is recorded in ``wrong``, and becomes NaN.

    >>> noted: dict[int, str] = {}
    >>> elements(pa.chunked_array([["[1, null]", None, "[3]"]]), "e", 2, noted).tolist()
    [[1.0, nan], [nan, nan], [nan, nan]]
    >>> noted
    {2: 'e: [3.0] is not a list of 2 numbers'}
    """
    found = np.full((len(column), length), np.nan)
    for row, value in enumerate(column.to_pylist()):
        given = _array(value) if isinstance(value, str) else value
        if given is None:
            continue
        if isinstance(given, list) and len(given) == length:
            found[row] = given  # None becomes NaN
        else:
            wrong.setdefault(row, f"{name}: {given!r:.100} is not a list of {length} numbers")
    if whole:
        parts = np.isfinite(found) & (found != np.floor(found))
        fits = ~parts.any(axis=1)
        for row in np.flatnonzero(~fits).tolist():
            first = found[row][parts[row]][0]
            wrong.setdefault(row, f"{name}: {first:g} in a list of {length} integers is not a whole number")
        found[~fits] = np.nan
    return _within(found, name, wrong, whole)


def _array(text: str) -> Any:
    """Return the numbers of an array, read as in training; the text itself if it is none."""
    if text.strip().lower() in GAPS_BESIDE_NUMBERS:
        return None
    found = list_in_cell(text)
    return text if found is None else found


def texts(column: pa.ChunkedArray, known: Collection[str] | None) -> pa.ChunkedArray:
    """Return a column as text, with null for what means a gap in the tables of training.

    Args:
        column: the cells.
        known: categories, which are no gaps; None: training read all text as it is.

    >>> texts(pa.chunked_array([["a", "null", ""]]), ()).to_pylist()
    ['a', None, None]
    """
    found = column.cast(pa.string())
    if known is None:
        return found
    cells = pl.Series("text", found).to_frame()
    others = without_gaps(pl.col("text"), text_gaps(known))
    text = pl.when(pl.col("text").is_in(list(known))).then("text").otherwise(others)
    read = cells.select(text).to_series()
    return pa.chunked_array([read.to_arrow().cast(pa.string())])


def numbers(
    column: pa.ChunkedArray, name: str, wrong: Wrong, kind: ColumnType = "number", form: str | None = None
) -> npt.NDArray[np.float64]:
    """Return a column as float64; nulls and values recorded in ``wrong`` become NaN.

    Args:
        column: of any type that `is_numeric` allows.
        name: of the column.
        wrong: gets the values that are not of the declared type.
        kind: the declared type.
        form: how text is written, as ``data.formats`` says it.

    >>> noted: dict[int, str] = {}
    >>> numbers(pa.chunked_array([["1.5", "3,14"]]), "a", noted).tolist(), noted
    ([1.5, nan], {1: "a: '3,14' is not a number; write numbers as 1234.5"})
    """
    if _is_moment(column.type):  # seconds since 1970, as in training
        return _seconds(pl.Series(name, column))
    if is_text(column.type) or (kind == "moment" and form is not None):
        found = _read(column, name, wrong, kind, form)
    else:
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if pa.types.is_decimal(array.type):
            array = pc.cast(array, pa.float64())
        elif not pa.types.is_floating(array.type) or pa.types.is_float16(array.type):
            array = pc.cast(array, pa.float64(), safe=False)  # large integers are rounded, as in training
        found = array.to_numpy(zero_copy_only=False)
    return _declared(found, name, kind, wrong)


def _declared(
    found: npt.NDArray[np.float64], name: str, kind: ColumnType, wrong: Wrong
) -> npt.NDArray[np.float64]:
    """Return numbers; record those that are no whole numbers or truth values where these are declared."""
    if kind not in ("integer", "truth"):
        return found if kind == "moment" else _within(found, name, wrong)
    fits = ~np.isfinite(found)
    fits |= (found == np.floor(found)) if kind == "integer" else np.isin(found, (0.0, 1.0))
    for position in np.flatnonzero(~fits):
        wrong.setdefault(int(position), f"{name}: {found[position]:g} is not {_TYPES[kind][1]}")
    return _within(found if fits.all() else np.where(fits, found, np.nan), name, wrong, kind == "integer")


def _within(
    found: npt.NDArray[np.float64], name: str, wrong: Wrong, whole: bool = False
) -> npt.NDArray[np.float64]:
    """Return numbers; record those that requests refuse: beyond 64 bits if whole, else beyond float32.

    >>> noted: dict[int, str] = {}
    >>> _within(np.array([1.0, 1e30]), "n", noted, whole=True).tolist(), noted
    ([1.0, nan], {1: 'n: 1e+30 is beyond 64 bits'})
    """
    beyond = (found < _LEAST) | (found >= _MOST) if whole else np.abs(found) > _LARGEST
    beyond &= np.isfinite(found)
    if not beyond.any():
        return found
    what = "is beyond 64 bits" if whole else f"does not lie within ±{_LARGEST:.4g}"
    for place in np.argwhere(beyond):
        wrong.setdefault(int(place[0]), f"{name}: {found[tuple(place)]:g} {what}")
    return np.where(beyond, np.nan, found)


def _seconds(found: pl.Series) -> npt.NDArray[np.float64]:
    seconds = found.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    return seconds.fill_null(float("nan")).to_numpy()


def typed(column: pa.ChunkedArray, name: str, wanted: pl.DataType, wrong: Wrong) -> pl.Series:
    """Return a column as a Polars series of type ``wanted``; values that do not fit are recorded and null."""
    if isinstance(wanted, pl.Datetime):
        return moments(column, name, wrong)
    given = pl.Series(name, column)
    if isinstance(given.dtype, pl.Categorical):
        given = given.cast(pl.String)
    if given.dtype == wanted:
        return given
    if given.dtype == pl.String and not isinstance(wanted, pl.String):
        given = given.str.strip_chars()
    if given.dtype == pl.String and wanted.is_integer():
        found = given.cast(wanted, strict=False)
        parts = given.str.extract(r"^([+-]?\d+)\.0*$")  # pandas writes whole numbers with gaps as 5.0
        found = found.fill_null(parts.cast(wanted, strict=False))
    elif wanted.is_integer() and given.dtype.is_float():
        fits = given.is_finite() & (given.floor() == given)
        found = given.set(~fits, None).cast(wanted, strict=False)
        given = given.fill_nan(None)  # pandas writes whole numbers with gaps as floats with NaN
    elif given.dtype.is_float() and isinstance(wanted, pl.String):
        given = given.fill_nan(None)  # likewise: 5.0 is the key 5
        found = given.cast(pl.String).str.replace(r"\.0$", "")
    elif given.dtype == pl.String and isinstance(wanted, pl.Boolean):
        found = given.str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)
    else:
        found = _cast(given, wanted)
    _note(given, found, f"is not of type {wanted}", wrong)
    return found


def _cast(given: pl.Series, wanted: pl.DataType) -> pl.Series:
    try:
        return given.cast(wanted, strict=False)
    except (
        pl.exceptions.InvalidOperationError,
        pl.exceptions.ComputeError,
    ):  # no value of this type ever fits
        return pl.Series(given.name, [None] * len(given), wanted)


def moments(column: pa.ChunkedArray, name: str, wrong: Wrong) -> pl.Series:
    """Return a column as moments in UTC (microseconds); naive ones are UTC, text is read as ISO 8601."""
    given = pl.Series(name, column)
    if isinstance(given.dtype, pl.Datetime):
        found = given if given.dtype.time_zone else given.dt.replace_time_zone("UTC")
        return found.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if given.dtype == pl.Date:
        return given.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if not isinstance(given.dtype, pl.String | pl.Categorical | pl.Null):
        found = pl.Series(name, [None] * len(given), dtype=pl.Datetime("us", "UTC"))
    else:
        texts = given.cast(pl.String).set(given.cast(pl.String).str.contains(NUMBER).fill_null(False), None)
        read = pd.to_datetime(texts.to_pandas(), utc=True, format="ISO8601", errors="coerce")
        found = pl.from_pandas(read).cast(pl.Datetime("us", "UTC")).alias(name)
    _note(given, found, "is not a moment in ISO 8601", wrong)
    return found


def _read(
    column: pa.ChunkedArray, name: str, wrong: Wrong, kind: ColumnType, form: str | None
) -> npt.NDArray[np.float64]:
    """Return cells of text as numbers, read as the stages read the tables that a version is trained on."""
    cells = pl.Series(name, column).cast(pl.String).alias("text").to_frame()
    text = cells.select(without_gaps(pl.col("text").str.strip_chars(), GAPS_BESIDE_NUMBERS)).to_series()
    dtype, meant = _TYPES[kind]
    if kind == "moment" and form is None:
        return _seconds(moments(pa.chunked_array([text.to_arrow()]), name, wrong))
    found = cells.select(read_cells(pl.col("text"), dtype, form)).to_series()
    _note(text.alias(name), found, f"is not {meant}" + (f" written as {form}" if form else ""), wrong)
    return _seconds(found) if kind == "moment" else found.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _note(given: pl.Series, found: pl.Series, what: str, wrong: Wrong) -> None:
    for position in (found.is_null() & given.is_not_null()).arg_true().to_list():
        value = given[position]
        point = (
            "; write numbers as 1234.5"
            if isinstance(value, str) and _COMMA.fullmatch(value) and "written as" not in what
            else ""
        )
        wrong.setdefault(position, f"{given.name}: {value!r} {what}{point}")
