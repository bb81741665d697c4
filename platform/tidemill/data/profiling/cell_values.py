"""Reads the text in a table's cell as a value of the type that is declared of its column."""

import math
import re
from collections.abc import Mapping

import polars as pl

from tidemill.data.profiling.number_notations import is_notation, with_points
from tidemill.data.tables.column_names import literal_name
from tidemill.project.gap_words import GAPS, GAPS_BESIDE_NUMBERS

__all__ = [
    "EPOCHS",
    "LIST",
    "as_moment",
    "as_type",
    "cell_value",
    "list_in_cell",
    "read_cells",
    "respelled",
    "without_gaps",
]

EPOCHS: Mapping[str, int] = {"seconds": 1_000_000, "milliseconds": 1000, "microseconds": 1}
"""Name of the unit of moments that are numbers since 1970 → microseconds in it."""
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_ELEMENT = rf"\s*({_NUMBER}|(?i:null|none|nan))\s*"
LIST = rf"^\[{_ELEMENT}(,{_ELEMENT})*\]$"
"""A JSON array of numbers, with gaps inside as JSON, Python or NumPy write them."""
_IS_LIST = re.compile(LIST)
_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_WHOLE_FLOAT = r"^([+-]?\d+)\.0*$"
"""Whole numbers as pandas writes them beside gaps."""
_WHOLE_YEAR = r"^(\d{4}|\d{1,2}[./-]\d{1,2}[./-]\d{4})\b|[A-Za-z]"
"""Polars reads 24 as the year 24 where a year has four digits."""


def read_cells(text: pl.Expr, dtype: pl.DataType, form: str | None = None) -> pl.Expr:
    """Return the values in cells of text; null where there is a gap, or what is not of the type.

    Args:
        text: the cells.
        dtype: a number, truth value, moment or list of numbers.
        form: how numbers or moments are written, as ``data.formats`` says it.

    >>> cells = pl.DataFrame({"a": ["43.113", "43.113,5", "n/a", "abc"]})
    >>> cells.select(read_cells(pl.col("a"), pl.Float64(), "1.234,56")).to_series().to_list()
    [43113.0, 43113.5, None, None]
    """
    value = without_gaps(text.str.strip_chars(), GAPS_BESIDE_NUMBERS)
    if form is not None and is_notation(form):
        value = with_points(value, form)
    elif form is not None:
        return as_moment(value, form)
    return as_type(value, dtype)


def respelled(text: pl.Expr, dtype: pl.DataType, form: str | None) -> pl.Expr:
    """Return cells of text as `as_type` reads them; those that are not of the type stay as they are.

    >>> cells = pl.DataFrame({"a": ["43.113", "43.113,5", "n/a", "abc", "1.5"]})
    >>> cells.select(respelled(pl.col("a"), pl.Float64(), "1.234,56")).to_series().to_list()
    ['43113', '43113.5', None, 'abc', '1.5 (not written as 1.234,56)']
    """
    left = without_gaps(text, GAPS_BESIDE_NUMBERS)
    if form is None or not is_notation(form):
        return left
    spelled = with_points(left.str.strip_chars(), form)
    mistaken = as_type(left.str.strip_chars(), dtype).is_not_null()
    return (
        pl.when(as_type(spelled, dtype).is_not_null())
        .then(spelled)
        .when(mistaken)
        .then(left + f" (not written as {form})")
        .otherwise(left)
    )


def cell_value(name: str) -> pl.Expr:
    """Return a column as text without spaces around it, with null for what means a gap beside numbers."""
    return without_gaps(pl.col(literal_name(name)).cast(pl.String).str.strip_chars(), GAPS_BESIDE_NUMBERS)


def without_gaps(text: pl.Expr, words: tuple[str, ...] = GAPS) -> pl.Expr:
    """Return text with null in place of what means a gap."""
    return pl.when(~text.str.strip_chars().str.to_lowercase().is_in(list(words))).then(text)


def as_type(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return text as numbers, truth values or lists of numbers; null where the text is not one.

    >>> cells = pl.DataFrame({"a": ["5", "5.0", "5.5", "True", "[1, 2]"]})
    >>> cells.select(as_type(pl.col("a"), pl.Int64())).to_series().to_list()
    [5, 5, None, None, None]
    """
    value = value.str.strip_chars()
    if dtype == pl.Boolean:
        return value.str.to_lowercase().replace_strict(_TRUTHS, default=None, return_dtype=pl.Boolean)
    if isinstance(dtype, pl.List):
        elements = (
            value.str.strip_chars("[] \t")
            .str.split(",")
            .list.eval(pl.element().str.strip_chars().cast(pl.Float64, strict=False).fill_nan(None))
        )
        return pl.when(value.str.contains(LIST)).then(elements).cast(dtype, strict=False)
    if dtype.is_integer():
        whole = value.str.extract(_WHOLE_FLOAT)
        return pl.coalesce(value.cast(dtype, strict=False), whole.cast(dtype, strict=False))
    return value.cast(dtype, strict=False)


def list_in_cell(text: str) -> list[float | None] | None:
    """Return the numbers of a list in a cell, None for each gap inside; None if it is no list of numbers.

    >>> list_in_cell("[1, null, NaN]"), list_in_cell("[1, x]")
    ([1.0, None, None], None)
    """
    if not _IS_LIST.match(text.strip()):
        return None
    found = [_number(one.strip()) for one in text.strip().strip("[]").split(",")]
    return [None if math.isnan(one) else one for one in found]


def _number(text: str) -> float:
    return math.nan if text.lower() in ("null", "none") else float(text)


def as_moment(value: pl.Expr, form: str) -> pl.Expr:
    """Return text as moments; null where it is not written as ``form`` says."""
    if form in EPOCHS:
        number = value.cast(pl.Float64, strict=False) * EPOCHS[form]
        return number.round().cast(pl.Int64, strict=False).cast(pl.Datetime("us", "UTC"))
    zone = "UTC" if "z" in form else None
    if "%Y" in form and form != "%Y%m%d":
        value = pl.when(value.str.contains(_WHOLE_YEAR)).then(value)
    return value.str.to_datetime(form, time_unit="us", time_zone=zone, strict=False)
