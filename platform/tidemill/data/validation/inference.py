"""Infers expectations from a good data set, as a starting point that accepts this data set."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from textwrap import indent
from typing import Any

import polars as pl
import yaml
from polars.exceptions import PolarsError

from tidemill.data.personal.pii_detection import looks_personal
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.column_types import spell_dtype
from tidemill.data.tables.frames import open_table
from tidemill.data.validation.pandera_checks import as_moments, comparable
from tidemill.errors import DataError

__all__ = ["Inferred", "infer"]

_WIDE = 10
"""Spans of the seen values beyond which others are taken for errors, on each side."""
_NEAR = 0.05
"""Shares come so near to 0 and to 1."""
_LONGEST = 100
"""Text may always have so many characters."""
_FEW = 20
_SAMPLE = 1000
_ENOUGH = 20
"""With at least this many rows, unique values and few categories are not taken for chance."""


@dataclass(frozen=True)
class Inferred:
    """The expectations that were inferred from one data set."""

    name: str
    text: str
    """A mapping of the name to its expectations, as YAML with comments."""
    personal: Mapping[str, str]
    """Column → the kind of personal data that it seems to contain."""

    @property
    def document(self) -> str:
        """Return a whole ``expectations.yaml`` for this one data set."""
        return f"datasets:\n{indent(self.text, '  ')}"


def infer(
    path: Path, name: str, source: str, as_of: datetime | None = None, classes: Collection[str] = ()
) -> Inferred:
    """Infer expectations from a file: types, nulls, ranges, uniqueness, volume, freshness.

    Later rows may differ: ranges are those of quantities that are never negative and of shares, otherwise
    ten times the span of what was seen on each side; new categories are allowed. Volume is half and twice the
    rows. Lists that all have one length must keep it.

    Args:
        path: the file, see `tidemill.data.tables.frames.open_table`.
        name: of the data set.
        source: path of the file in the declaration.
        as_of: the moment at which it is fresh; None: freshness is not inferred.
        classes: columns of classes, where few values are all that there may be. Those of a column that looks
            personal are never listed, because the file goes into git.

    Raises:
        DataError: the file cannot be read.
    """
    table = open_table(path)
    schema = table.collect_schema()
    try:
        seen = comparable(table)
        facts = seen.select(_facts(seen.collect_schema())).collect(engine="streaming").row(0, named=True)
        sample = seen.head(_SAMPLE).collect()
        rows = int(facts["\0rows"])
        personal, lines = {}, [f"{name}:", f"  source: {_yaml(source)}", "  mode: stop"]
        lines += ["  max_rejected: 0.05", "  columns:" if schema else "  columns: {}"]
        for column in schema:
            if kind := looks_personal(column, sample[column]):
                personal[column] = kind
                lines.append(
                    f'    # {_printable(column)} looks like {kind}: tag it {{"personal": "true"}} in the '
                    "feature definitions"
                )
            if literal_name(column) != column:
                lines.append(
                    f"    # {_printable(column)} is not declared: pandera takes this name for a pattern; "
                    "give the column another one"
                )
                continue
            listed = column in classes and kind is None
            rules, note = _column(seen, schema, column, facts, rows, listed)
            lines += [f"    # {note}"] if note else []
            lines.append(f"    {_yaml(column)}: {_flow(rules)}")
        lines += _freshness(schema, facts, as_of)
    except (OSError, PolarsError) as error:
        raise DataError(
            f"{path} cannot be read to its end: {error}",
            hint="check that the file is complete, and that its suffix names its format",
        ) from error
    lines.append(f"  volume: {{min: {rows // 2}, max: {max(2 * rows, 1)}, change: 0.5}}")
    return Inferred(name, "\n".join(lines) + "\n", personal)


def _facts(schema: pl.Schema) -> list[pl.Expr]:
    """Return the facts of each column, in one pass."""
    found = [pl.len().alias("\0rows")]
    for name, dtype in schema.items():
        column = pl.col(literal_name(name))
        found.append(column.null_count().alias(f"nulls\0{name}"))
        if dtype.is_numeric() or dtype.is_temporal():
            found += [column.min().alias(f"min\0{name}"), column.max().alias(f"max\0{name}")]
        if dtype == pl.String:
            found += [column.str.len_chars().max().alias(f"longest\0{name}")]
        if isinstance(dtype, pl.List | pl.Array):
            lengths = (column.arr.to_list() if isinstance(dtype, pl.Array) else column).list.len()
            found += [lengths.min().alias(f"min\0{name}"), lengths.max().alias(f"max\0{name}")]
        if isinstance(dtype, pl.Datetime | pl.Date):
            found.append(as_moments(name, dtype).max().alias(f"newest\0{name}"))
    return found


def _column(
    seen: pl.LazyFrame, schema: pl.Schema, name: str, facts: Mapping[str, Any], rows: int, listed: bool
) -> tuple[dict[str, Any], str]:
    """Return the rules of one column, and a remark."""
    rules: dict[str, Any] = {}
    kind, dtype = spell_dtype(schema[name]), seen.collect_schema()[name]
    if kind:
        rules["type"] = kind
    nulls = int(facts[f"nulls\0{name}"])
    if nulls:
        rules["nullable"] = True
    note = (
        "" if kind else f"{_printable(name)} is {_printable(str(schema[name]))}, which has no spelling here"
    )
    low, high = facts.get(f"min\0{name}"), facts.get(f"max\0{name}")
    if nulls == rows:
        return rules, note or (f"{_printable(name)} is always missing" if rows else "")
    if isinstance(dtype, pl.List | pl.Array):
        return {**rules, **({"min_length": low, "max_length": high} if low == high else {})}, note
    if low is not None and kind and schema[name] != pl.Time:
        rules |= _range(low, high, schema[name])
    if dtype == pl.String or dtype.is_integer():
        found = _values(seen, name, rows, nulls, listed, facts.get(f"longest\0{name}"))
        if found.keys() & {"in", "unique"}:
            rules.pop("max", None)  # ids grow
            rules |= {"min": 0} if rules.pop("min", None) == 0 and "in" not in found else {}
        rules |= found
    return rules, note


def _range(low: Any, high: Any, dtype: pl.DataType) -> dict[str, Any]:
    if isinstance(low, date | timedelta):
        return {}  # later rows have later moments
    if not (math.isfinite(low) and math.isfinite(high)):
        return {}
    margin = (high - low) * _WIDE
    if isinstance(low, int):
        smallest, greatest = pl.select(dtype.min(), high=dtype.max()).row(0)  # type: ignore[attr-defined]
        least, most = max(low - margin, smallest), min(high + margin, greatest)
    else:
        least, most = _outward(float(low - margin), -1), _outward(float(high + margin), 1)
        if 0 <= low <= _NEAR and 1 - _NEAR <= high <= 1:
            least, most = 0.0, 1.0
    if not (math.isfinite(least) and math.isfinite(most)):
        return {}
    zero = 0 if isinstance(low, int) else 0.0
    if low == high:  # what else there may be, one value does not say
        return {"min": zero} if low >= 0 else {"max": zero}
    return {"min": max(least, zero) if low >= 0 else least, "max": min(most, zero) if high <= 0 else most}


def _outward(value: float, direction: int) -> float:
    """Return ``value`` with four digits, rounded away from the middle.

    >>> _outward(12.34567, 1), _outward(12.34567, -1)
    (12.35, 12.34)
    """
    if not value or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
    if not step:
        return value
    rounded = float(f"{value:.4g}")
    return rounded if direction * (rounded - value) >= 0 else float(f"{rounded + direction * step:.4g}")


def _values(
    seen: pl.LazyFrame, name: str, rows: int, nulls: int, listed: bool, longest: int | None
) -> dict[str, Any]:
    known = seen.select(pl.col(literal_name(name)).drop_nulls())
    distinct = int(known.select(pl.all().n_unique()).collect(engine="streaming").item())
    length = {"max_length": max(_LONGEST, 10 * longest)} if longest else {}
    if distinct == rows - nulls and not nulls and rows >= _ENOUGH:
        return {"unique": True, **length}
    if listed and distinct <= _FEW and rows >= _ENOUGH and distinct * 2 <= rows:
        return {"in": known.unique().collect(engine="streaming").to_series().sort().to_list()}
    return length


def _freshness(schema: pl.Schema, facts: Mapping[str, Any], as_of: datetime | None) -> list[str]:
    newest = {
        name: facts[f"newest\0{name}"]
        for name, dtype in schema.items()
        if isinstance(dtype, pl.Datetime | pl.Date) and facts[f"newest\0{name}"] is not None
    }
    past = {name: moment for name, moment in newest.items() if as_of and moment <= as_of}
    if as_of is None or not past:
        return (
            ["  # no column says how fresh it is"]
            if not newest
            else [
                "  # freshness: {column: "
                + _yaml(next(iter(newest)))
                + ", max_age: 7d}  # the newest is later than data.as_of"
            ]
        )
    column = max(past, key=lambda name: past[name])
    days = max(1, math.ceil((as_of - past[column]) / timedelta(days=1) * 2))
    if days > 3660:
        return [f"  # freshness: the newest {_printable(column)} is more than five years old"]
    return [f"  freshness: {{column: {_yaml(column)}, max_age: {days}d}}"]


def _flow(rules: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in rules.items()) + "}"


def _yaml(value: Any) -> str:
    """Return ``value`` as one line of YAML that is valid inside braces."""
    if isinstance(value, bool):
        return str(value).lower()
    text: str = yaml.safe_dump(
        value, default_flow_style=True, width=math.inf, allow_unicode=False, default_style=_style(value)
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _style(value: Any) -> str | None:
    plain = isinstance(value, str) and value.isidentifier() and len(value) > 1
    return '"' if isinstance(value, str) and not plain else None


def _printable(text: str) -> str:
    """Return ``text`` in a form that is valid in a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
