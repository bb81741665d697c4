"""Parses and formats column types in YAML: ``int32``, ``datetime[us, UTC]``, ``list[string]``."""

import re
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from tidemill.clock import parse_duration, utc

__all__ = ["Dtype", "literal", "parse_dtype", "spell_dtype"]

Dtype = pl.DataType
_PLAIN: dict[str, Dtype] = {
    "string": pl.String(),
    "bool": pl.Boolean(),
    **{f"{kind}{bits}": getattr(pl, f"{name}{bits}")() for kind, name in (("int", "Int"), ("uint", "UInt"))
       for bits in (8, 16, 32, 64)},
    "float32": pl.Float32(),
    "float64": pl.Float64(),
    "date": pl.Date(),
    "time": pl.Time(),
    "binary": pl.Binary(),
    "categorical": pl.Categorical(),
}  # fmt: skip
_PARAMETRIC = re.compile(r"^(datetime|duration|decimal|list)(?:\[(.+)\])?$")


def parse_dtype(text: str) -> Dtype:
    """Return the Polars type that ``text`` names.

    Raises:
        ValueError: there is no such type.

    >>> parse_dtype("datetime[us, UTC]"), parse_dtype("list[int32]")
    (Datetime(time_unit='us', time_zone='UTC'), List(Int32))
    """
    text = text.strip()
    if text in _PLAIN:
        return _PLAIN[text]
    found = _PARAMETRIC.match(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not a type: write one of {', '.join(_PLAIN)}, datetime[us], datetime[us, UTC], "
            "duration[us], decimal[10, 2], list[string]"
        )
    kind, inside = found[1], found[2]
    parts = [part.strip() for part in inside.split(",")] if inside else []
    try:
        match kind, parts:
            case "list", [_, *_]:
                return pl.List(parse_dtype(inside))
            case "decimal", [precision, scale]:
                return pl.Decimal(int(precision), int(scale))
            case "datetime", []:
                return pl.Datetime("us")
            case "datetime", [unit]:
                return pl.Datetime(_unit(unit))
            case "datetime", [unit, zone]:
                return pl.Datetime(_unit(unit), zone)
            case "duration", []:
                return pl.Duration("us")
            case "duration", [unit]:
                return pl.Duration(_unit(unit))
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"{text!r} is not a type: {error}") from error
    raise ValueError(f"{text!r} is not a type: {kind} takes other parameters")


def _unit(text: str) -> Any:
    if text not in ("ms", "us", "ns"):
        raise ValueError(f"the unit is ms, us or ns, not {text!r}")
    return text


def spell_dtype(dtype: Dtype) -> str | None:
    """Return the text of ``dtype`` in YAML, or None if it has none (structs, enums, objects).

    >>> spell_dtype(pl.Datetime("us", "UTC")), spell_dtype(pl.Struct({"a": pl.Int8}))
    ('datetime[us, UTC]', None)
    """
    for name, plain in _PLAIN.items():
        if dtype == plain:
            return name
    match dtype:
        case pl.Datetime():
            zone = f", {dtype.time_zone}" if dtype.time_zone else ""
            return f"datetime[{dtype.time_unit}{zone}]"
        case pl.Duration():
            return f"duration[{dtype.time_unit}]"
        case pl.Decimal():
            return f"decimal[{dtype.precision}, {dtype.scale}]"
        case pl.List():
            inner = spell_dtype(dtype.inner)  # type: ignore[arg-type]  # an instance, once a frame has it
            return f"list[{inner}]" if inner else None
    return None


def literal(value: Any, dtype: Dtype) -> Any:
    """Convert ``value``, as YAML read it, to a value that can be compared with a column of ``dtype``.

    Raises:
        ValueError: it cannot be compared with such a column.

    >>> literal(date(2013, 1, 1), pl.Datetime("us"))
    datetime.datetime(2013, 1, 1, 0, 0)
    """
    fitting = _literal(value, dtype)
    if fitting is None:
        kind = spell_dtype(dtype) or str(dtype)
        quotes = "; write it in quotes" if dtype == pl.String else ""
        raise ValueError(
            f"{value!r} ({type(value).__name__}) cannot be compared with a column of type {kind}{quotes}"
        )
    return fitting


def _literal(value: Any, dtype: Dtype) -> Any:
    if isinstance(dtype, pl.Datetime):
        if not isinstance(value, date):
            return None
        moment = utc(value if isinstance(value, datetime) else datetime.combine(value, time()))
        return moment if dtype.time_zone else moment.replace(tzinfo=None)
    if isinstance(dtype, pl.Duration):
        if isinstance(value, timedelta):
            return value
        return timedelta(0) if value == 0 else parse_duration(value)
    if dtype == pl.Date:
        return value if isinstance(value, date) and not isinstance(value, datetime) else None
    if dtype == pl.Boolean:
        return value if isinstance(value, bool) else None
    if dtype.is_numeric():
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return value if isinstance(value, str) else None
    return None
