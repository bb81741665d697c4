"""Reads numbers as they are written in other countries: ``3,14``, ``1.234,56``, ``1,234.56``."""

from collections.abc import Mapping

import polars as pl

__all__ = ["COMMA", "NOTATIONS", "POINT", "notation_counts", "notations", "with_points"]

COMMA = "1.234,56"
"""The name of the notation with a decimal comma."""
POINT = "1,234.56"
"""The name of the notation with a decimal point, whose thousands are set apart by commas."""
NOTATIONS = (POINT, COMMA)
"""What ``data.formats`` may say of numbers."""

_SPACES = r" \u00a0\u202f'’"
"""Characters that set thousands apart in either notation."""
_WRITTEN = {
    POINT: rf"^[+−-]?([1-9]\d{{0,2}}([,{_SPACES}]\d{{3}})+|\d+)(\.\d+)?$",
    COMMA: rf"^[+−-]?([1-9]\d{{0,2}}([.{_SPACES}]\d{{3}})+|\d+)(,\d+)?$",
}
_IN_THOUSANDS = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
"""A number with three decimals, or thousands that are set apart by points."""


def notation_counts(value: pl.Expr) -> dict[str, pl.Expr]:
    """Return what `notations` needs to know about the values of a column."""
    return {
        POINT: value.str.contains(_WRITTEN[POINT]).sum(),
        COMMA: value.str.contains(_WRITTEN[COMMA]).sum(),
        "thousands": value.str.contains(_IN_THOUSANDS).sum(),
    }


def notations(counts: Mapping[str, Mapping[str, int]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the notation of each column that needs one, and the other one where both read every value.

    ``1,234`` is 1234, unless another column of the table surely has decimal commas; then ``1.234`` is 1234.

    Args:
        counts: column → number of its values that are there, that are plain numbers, that have leading zeros,
            and what `notation_counts` counts.

    >>> has = {"there": 2, "zero": 0, "number": 0, "thousands": 0}
    >>> notations({"a": {**has, POINT: 2, COMMA: 2}})
    ({'a': '1,234.56'}, {'a': '1.234,56'})
    >>> notations({"a": {**has, POINT: 2, COMMA: 2}, "b": {**has, POINT: 1, COMMA: 2}})
    ({'a': '1.234,56', 'b': '1.234,56'}, {'a': '1,234.56'})
    """
    able = {
        name: [one for one in NOTATIONS if of[one] == of["there"]]
        for name, of in counts.items()
        if of["there"] and not of["zero"]
    }
    odd = {
        name: ways for name, ways in able.items() if ways and counts[name]["number"] < counts[name]["there"]
    }
    commas = [COMMA] in odd.values()
    found = {name: COMMA if commas and COMMA in ways else ways[0] for name, ways in odd.items()}
    other = {
        name: next(one for one in ways if one != found[name]) for name, ways in odd.items() if len(ways) > 1
    }
    for name, ways in able.items():
        if commas and name not in odd and COMMA in ways and counts[name]["thousands"]:
            found[name], other[name] = COMMA, POINT
    return found, other


def with_points(value: pl.Expr, notation: str) -> pl.Expr:
    """Return text as numbers are written everywhere; null where it is not in the notation.

    >>> frame = pl.DataFrame({"a": ["1.234,5", "−3,14", "7", "1,234.5"]})
    >>> frame.select(with_points(pl.col("a"), COMMA)).to_series().to_list()
    ['1234.5', '-3.14', '7', None]
    """
    thousands = "," if notation == POINT else "."
    plain = value.str.replace_all(rf"[{thousands}{_SPACES}]", "").str.replace("−", "-", literal=True)
    plain = plain.str.replace(",", ".", literal=True) if notation == COMMA else plain
    return pl.when(value.str.contains(_WRITTEN[notation])).then(plain)
