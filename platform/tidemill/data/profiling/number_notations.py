"""Reads numbers as they are written in other countries: ``3,14``, ``1.234,56``, ``1,234.56``."""

import re
from collections.abc import Mapping

import polars as pl

__all__ = [
    "COMMA",
    "NOTATIONS",
    "POINT",
    "SIGN",
    "is_notation",
    "notation_counts",
    "notations",
    "sign",
    "with_points",
    "without_sign",
]

COMMA = "1.234,56"
"""The name of the notation with a decimal comma."""
POINT = "1,234.56"
"""The name of the notation with a decimal point, whose thousands are set apart by commas."""
NOTATIONS = (POINT, COMMA)
"""What ``data.formats`` may say of numbers."""

SIGN = (
    r"(?:[A-Z]{0,2}\$|[%\p{Sc}]|Fr\.|kr|zł|Kč|"
    r"AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HUF|INR|JPY|NOK|NZD|PLN|SEK|USD|ZAR)"
)
"""A currency, or percent, before or after a number."""

_SPACES = r" \u00a0\u202f'’"
"""Characters that set thousands apart in either notation."""
_WRITTEN = {
    POINT: rf"^[+−-]?([1-9]\d{{0,2}}([,{_SPACES}]\d{{3}})+|\d+)(\.\d+)?$",
    COMMA: rf"^[+−-]?([1-9]\d{{0,2}}([.{_SPACES}]\d{{3}})+|\d+)(,\d+)?$",
}
_IN_THOUSANDS = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
"""A number with three decimals, or thousands that are set apart by points."""
_PAIR = r"^\(\d+,\d+\)$"
_THOUSANDS = r"^\(\d{1,3},\d{3}\)$"


def is_notation(form: object) -> bool:
    """Return whether this says how numbers are written, with a sign after it or without.

    >>> is_notation("1.234,56"), is_notation("1.234,56 €"), is_notation("%d.%m.%Y")
    (True, True, False)
    """
    return isinstance(form, str) and form.partition(" ")[0] in NOTATIONS


def sign(value: pl.Expr) -> pl.Expr:
    """Return the sign that every value of a column has; null if they have none, or several.

    >>> frame = pl.DataFrame({"a": ["$1", "$ 2", None], "b": ["1 €", "2 %", "3"]})
    >>> frame.select(sign(pl.col(name)).alias(name) for name in frame.columns).row(0)
    ('$', None)
    """
    found = pl.coalesce(
        value.str.extract(rf"^[+−(-]?\s*({SIGN})\s*[+−(-]?\d"), value.str.extract(rf"\d\s*({SIGN})\)?$")
    )
    one = (found.drop_nulls().n_unique() == 1) & (found.is_not_null() == value.is_not_null()).all()
    return pl.when(one).then(found.drop_nulls().first())


def without_sign(value: pl.Expr, mark: str | None) -> pl.Expr:
    """Return text without this sign before or after the number."""
    if mark is None:
        return value
    quoted = re.escape(mark)
    left = value.str.replace(rf"^([+−(-]?)\s*{quoted}\s*", "${1}")
    return left.str.replace(rf"\s*{quoted}(\)?)$", "${1}")


def _signed(value: pl.Expr) -> pl.Expr:
    """Return text with a minus where accountants write a negative number in parentheses."""
    return value.str.replace(r"^\((\d[^()]*)\)$", "-${1}")


def notation_counts(value: pl.Expr) -> dict[str, pl.Expr]:
    """Return what `notations` needs to know about the values of a column.

    A column of pairs, such as ``(1,2)``, has no numbers; ``(1,200)`` in all rows are negative ones.
    """
    pairs = value.drop_nulls().str.contains(_PAIR).all() & ~value.drop_nulls().str.contains(_THOUSANDS).all()
    value = _signed(pl.when(~pairs).then(value))
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
    >>> frame.select(with_points(pl.lit("-€ 1.234,5"), "1.234,56 €")).item()
    '-1234.5'
    >>> frame.select(with_points(pl.lit("($1,234.5)"), "1,234.56 $")).item()
    '-1234.5'
    """
    notation, _, mark = notation.partition(" ")
    value = _signed(without_sign(value, mark or None))
    thousands = "," if notation == POINT else "."
    plain = value.str.replace_all(rf"[{thousands}{_SPACES}]", "").str.replace("−", "-", literal=True)
    plain = plain.str.replace(",", ".", literal=True) if notation == COMMA else plain
    return pl.when(value.str.contains(_WRITTEN[notation])).then(plain)
