"""Counts how many values of a column of text could be numbers, truth values, lists or times of day."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from tidemill.data.profiling.cell_values import LIST, cell_value
from tidemill.data.profiling.number_notations import COMMA, SIGN, notation_counts, sign, without_sign

__all__ = ["ONE_UNIT", "WHOLE", "WITH_UNIT", "count_values"]

_NO_NUMBER = r"^[+-]?(0\d|\d{19})"
"""Ids whose digits a number would lose."""
WHOLE = r"^[+-]?\d{1,18}$"
WITH_UNIT = rf"^[+−-]?\s*{SIGN}?\s*[+−-]?\d[\d.,' ’\u00a0\u202f]*\s*{SIGN}?$"
ONE_UNIT = r"^[+−-]?\d[\d.,' ’\u00a0\u202f]*\s*([^\W\d_][^\d\s]{0,7})$"
_MONTH = r"^(\d{4}[-/](0[1-9]|1[0-2])|(0[1-9]|1[0-2])/\d{4}|\d{4}[- ]?Q[1-4]|Q[1-4][- /]?\d{4})$"
_CLOCK = (
    r"^(\d{1,3}:[0-5]\d(:[0-5]\d([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?"
    r"|(\d+([.,]\d+)?\s*(days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)[., ]*)+)$"
)


def count_values(
    table: pl.LazyFrame, names: Sequence[str]
) -> tuple[dict[str, str | None], dict[str, dict[str, int]]]:
    """Return the unit or currency that a column's values bear, and how many of them could be of each kind."""
    known = _counted_by(_plain_counts, table, {name: cell_value(name) for name in names})
    plain = [name for name in names if known[name]["number"] == known[name]["there"]]
    others = [name for name in names if name not in set(plain)]
    signs = table.select(sign(cell_value(name)).alias(name) for name in others)
    marks = dict.fromkeys(plain) | (signs.collect(engine="streaming").row(0, named=True) if others else {})
    known |= _counted_by(
        _counts, table, {name: without_sign(cell_value(name), marks[name]) for name in others}
    )
    nothing = dict.fromkeys(_counts(pl.lit("")), 0)
    known |= {name: nothing | known[name] for name in plain}
    if any(known[name][COMMA] == known[name]["there"] for name in others):  # perhaps plain numbers have them
        found = _counted_by(notation_counts, table, {name: cell_value(name) for name in plain})
        known |= {name: known[name] | found[name] for name in plain}
    return marks, known


def _counted_by(
    counts: Callable[[pl.Expr], Mapping[str, pl.Expr]], table: pl.LazyFrame, values: Mapping[str, pl.Expr]
) -> dict[str, dict[str, int]]:
    """Return what is counted of the values of each column."""
    if not values:
        return {}
    asked = {(name, what): one for name, value in values.items() for what, one in counts(value).items()}
    named = [one.alias(str(number)) for number, one in enumerate(asked.values())]
    found = zip(asked, table.select(named).collect(engine="streaming").row(0), strict=True)
    known: dict[str, dict[str, int]] = {name: {} for name in values}
    for (name, what), count in found:
        known[name][what] = int(count)
    return known


def _plain_counts(value: pl.Expr) -> dict[str, pl.Expr]:
    """Return what is counted of columns whose every value is written as Python writes a number."""
    return {
        "there": value.is_not_null().sum(),
        "number": value.cast(pl.Float64, strict=False).is_not_nan().sum(),
        "infinite": value.cast(pl.Float64, strict=False).is_infinite().sum(),
        "whole": value.str.contains(WHOLE).sum(),
        "zero": value.str.contains(_NO_NUMBER).sum(),
    }


def _counts(value: pl.Expr) -> dict[str, pl.Expr]:
    return {
        **_plain_counts(value),
        "truth": value.str.to_lowercase().is_in(["true", "false"]).sum(),
        "list": value.str.contains(LIST).sum(),
        "unit": value.str.contains(WITH_UNIT).sum(),
        "one unit": value.str.contains(ONE_UNIT).sum(),
        "month": value.str.contains(_MONTH).sum(),
        "clock": value.str.contains(_CLOCK).sum(),
        **notation_counts(value),
    }
