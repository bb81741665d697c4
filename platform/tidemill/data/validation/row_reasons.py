"""Say of rows that are set aside which rules they break."""

import re
from collections.abc import Mapping

import polars as pl

__all__ = ["REASON", "reasons", "told_rule"]

REASON = "reason"
"""Column of the rejected rows with all rules that the row breaks, joined by ``; ``."""
_TYPE = re.compile(r": can be ([a-z][\w\[\], ()=/-]*)$")
"""End of a rule of a column's type, which is told as what a value is not."""


def reasons(rules: Mapping[str, pl.Series]) -> pl.Series:
    """Return for each row the rules that it breaks, joined by ``; ``; of types, what cannot be read as one.

    >>> reasons({"a": pl.Series([True, True]), "b": pl.Series([False, True])}).to_list()
    ['a', 'a; b']
    >>> reasons({"at: can be datetime[us]": pl.Series([True])}).to_list()
    ['at: cannot be read as a moment (datetime[us])']
    """
    if not rules:
        return pl.Series(REASON, [], pl.String)
    texts = [pl.when(mask).then(pl.lit(told_rule(rule))) for rule, mask in rules.items()]
    return pl.select(pl.concat_str(texts, separator="; ", ignore_nulls=True).alias(REASON)).to_series()


def told_rule(rule: str) -> str:
    """Return a broken rule in the words of a reader: a rule of a type as what a value is not.

    >>> told_rule("seats: can be int32"), told_rule("age: in_range(0, 9)")
    ('seats: cannot be read as a whole number (int32)', 'age: in_range(0, 9)')
    """
    return _TYPE.sub(_told, rule)


def _told(rule: re.Match[str]) -> str:
    dtype = rule[1]
    kinds = {"datetime": "a moment", "date": "a date", "int": "a whole number", "uint": "a whole number"}
    kinds |= {"float": "a number", "decimal": "a number", "bool": "true or false"}
    kind = next((words for name, words in kinds.items() if dtype.startswith(name)), None)
    return f": cannot be read as {f'{kind} ({dtype})' if kind else dtype}"
