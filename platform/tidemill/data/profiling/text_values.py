"""Finds out what columns of text mean, and reads them: numbers, truth values, moments, lists, gaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from tidemill.data.profiling.cell_values import (
    EPOCHS,
    as_moment,
    cell_value,
    read_cells,
    respelled,
    without_gaps,
)
from tidemill.data.profiling.moment_formats import moment_formats, several_formats
from tidemill.data.profiling.number_notations import POINT, is_notation, notations, with_points
from tidemill.data.profiling.value_counts import ONE_UNIT, WHOLE, WITH_UNIT, count_values
from tidemill.data.tables.column_names import literal_name
from tidemill.project.gap_words import GAPS

__all__ = ["Readings", "conformed", "infer_readings", "is_format", "unreadable_values"]

_MOST_NUMBERS = 0.9
_MANY_NUMBERS = 0.7
_FEW_WORDS = 3
"""Numbers beside so few different words are numbers with a word for gaps."""


@dataclass(frozen=True)
class Readings:
    """What columns of text are read as."""

    types: Mapping[str, pl.DataType] = field(default_factory=dict)
    """Column → Int64, Float64, Boolean or List(Float64)."""
    formats: Mapping[str, str] = field(default_factory=dict)
    """Column → the format of its moments, as ``%d.%m.%Y``; a unit of `EPOCHS` for numbers since 1970; how its
    numbers are written, as ``1.234,56``."""
    other_formats: Mapping[str, str] = field(default_factory=dict)
    """Columns that could as well be read by another format: 03/04/2013 may be in March or April."""
    nearly_numbers: Mapping[str, str] = field(default_factory=dict)
    """Columns that stay text for a few values, or for the unit of all of them → one of these values."""
    nearly_moments: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Columns that stay text as their moments are written in several ways → two of these values."""
    months: Mapping[str, str] = field(default_factory=dict)
    """Columns that stay text as they hold months or quarters without a day → one of these values."""
    clock: Mapping[str, str] = field(default_factory=dict)
    """Columns that stay text as they hold times of day or durations, as ``08:15`` → one of these values."""
    gaps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns of text → what means a gap in them, in lower case."""


def infer_readings(table: pl.LazyFrame) -> Readings:
    """Find the columns of text whose every value is a number, a truth value or a moment, apart from gaps.

    Numbers may be written as in other countries, see `tidemill.data.profiling.number_notations`.

    >>> table = pl.LazyFrame({"age": ["31", "NA"], "zip": ["01067", "10115"], "at": ["31.12.2013", None]})
    >>> found = infer_readings(table)
    >>> found.types, found.formats
    ({'age': Int64}, {'at': '%d.%m.%Y'})
    """
    names = [name for name, dtype in table.collect_schema().items() if dtype == pl.String]
    if not names:
        return Readings()
    marks, known = count_values(table, names)
    formats, others = _number_formats(marks, known)
    types: dict[str, pl.DataType] = {}
    for name, of in known.items():
        if not of["there"]:
            continue
        if name in formats:
            written = with_points(cell_value(name), formats[name]).str.contains(WHOLE)
            whole = table.select(written.all()).collect(engine="streaming").item()
            types[name] = pl.Int64() if whole else pl.Float64()
            continue
        if of["number"] > of["infinite"] and of["number"] == of["there"] and not of["zero"]:
            types[name] = pl.Int64() if of["whole"] == of["there"] else pl.Float64()
        elif of["truth"] == of["there"]:
            types[name] = pl.Boolean()
        elif of["list"] == of["there"]:
            types[name] = pl.List(pl.Float64)
        elif found := moment_formats(table, name):
            formats[name] = found[0]
            others |= {name: found[1]} if len(found) > 1 else {}
    left = [name for name in names if name not in types and name not in formats]
    return _explain_text(table, left, known, Readings(types, formats, others))


def _number_formats(
    marks: Mapping[str, str | None], known: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return how numbers are written that Polars does not read by itself, and what else that could mean."""
    formats, others = notations(known)
    plain = [
        name for name, of in known.items() if marks[name] and of[POINT] == of["there"] and not of["zero"]
    ]
    found, other = (
        {name: f"{form} {marks[name]}" if marks[name] else form for name, form in each.items()}
        for each in (dict.fromkeys(plain, POINT) | formats, others)
    )
    return found, other


def _explain_text(
    table: pl.LazyFrame, left: Sequence[str], known: Mapping[str, Mapping[str, int]], found: Readings
) -> Readings:
    """Add why columns stay text that look like something else."""
    numbers = _nearly_numbers(table, [name for name in left if not known[name]["zero"]], known)
    mixed = {name: two for name in left if name not in numbers and (two := several_formats(table, name))}
    months, clock = (
        {
            name: _first(table, name)
            for name in left
            if known[name]["there"] and known[name][what] == known[name]["there"] and name not in numbers
        }
        for what in ("month", "clock")
    )
    return replace(found, nearly_numbers=numbers, nearly_moments=mixed, months=months, clock=clock)


def _nearly_numbers(
    table: pl.LazyFrame, names: Sequence[str], counts: Mapping[str, Mapping[str, int]]
) -> dict[str, str]:
    asked = []
    for name in names:
        value, of = cell_value(name), counts[name]
        odd = value.filter(value.cast(pl.Float64, strict=False).is_null()).drop_nulls()
        word = odd.filter(~odd.str.contains(WITH_UNIT))
        most, many = _MOST_NUMBERS * of["there"], _MANY_NUMBERS * of["there"]
        found: pl.Expr | None = None
        if most <= of["one unit"]:
            unit = value.str.extract(ONE_UNIT)
            found = pl.when(unit.drop_nulls().n_unique() == 1).then(value.drop_nulls().first())
        elif most <= of["unit"]:
            found = pl.coalesce(word.first(), odd.first())
        elif most <= of["number"] < of["there"]:
            found = odd.first()
        elif many <= max(of["unit"], of["number"]) < of["there"]:
            found = pl.when(word.n_unique() <= _FEW_WORDS).then(word.first())
        if found is not None:
            asked.append(found.alias(name))
    odd_values = table.select(asked).collect(engine="streaming").row(0, named=True) if asked else {}
    return {name: value for name, value in odd_values.items() if value is not None}


def _first(table: pl.LazyFrame, name: str) -> str:
    return str(table.select(cell_value(name).drop_nulls().first()).collect(engine="streaming").item())


def is_format(form: object) -> bool:
    """Return whether columns may be written like this: a format of moments, or one of numbers.

    >>> is_format("%d.%m.%Y"), is_format("1.234,56"), is_format("seconds"), is_format("3,14")
    (True, True, True, False)
    """
    return isinstance(form, str) and ("%" in form or form in EPOCHS or is_notation(form))


def conformed(
    table: pl.LazyFrame,
    types: Mapping[str, pl.DataType],
    formats: Mapping[str, str],
    gaps: Mapping[str, tuple[str, ...]] | None = None,
) -> pl.LazyFrame:
    """Return the table with gaps as nulls, and with text read as its columns are declared.

    A column of text with a value that is not of the declared type stays text, its numbers written as 1234.5
    and its moments as ISO 8601 has them, so that the validation can set the row aside with its reason.
    Moments that are not declared, or are declared as dates, become nulls where they lack their format.

    Args:
        table: as it was read.
        types: column → declared type.
        formats: column → format of its moments or of its numbers.
        gaps: columns that stay text → what means a gap in them; default: `GAPS`.

    >>> table = pl.LazyFrame({"age": ["31", "NA"], "place": ["NA", "n/a"]})
    >>> conformed(table, {"age": pl.Int64()}, {}).collect().rows()
    [(31, 'NA'), (None, None)]
    """
    schema = table.collect_schema()
    moments = {name: form for name, form in formats.items() if not is_notation(form)}
    text = [name for name, dtype in schema.items() if dtype == pl.String and name not in moments]
    read = {name: types[name] for name in text if name in types and _is_readable(types[name])}
    failing = unreadable_values(table, read, formats)
    declared = [name for name in moments if name in schema and isinstance(types.get(name), pl.Datetime)]
    failing |= _counted(table, {name: _is_unreadable(name, formats[name]) for name in declared})
    columns = []
    for name in schema:
        if name in moments:
            written = _rewritten if failing.get(name) else as_moment
            columns.append(written(cell_value(name), formats[name]).alias(name))
        elif name in read:
            reads = respelled if failing[name] else read_cells
            columns.append(reads(pl.col(literal_name(name)), read[name], formats.get(name)).alias(name))
        elif name in text:
            words = (gaps or {}).get(name, GAPS)
            columns.append(without_gaps(pl.col(literal_name(name)), words).alias(name))
        elif isinstance(kind := schema[name], pl.Array):
            columns.append(pl.col(literal_name(name)).cast(pl.List(kind.inner)))
    return table.with_columns(columns)


def unreadable_values(
    table: pl.LazyFrame, types: Mapping[str, pl.DataType], formats: Mapping[str, str]
) -> dict[str, int]:
    """Return how many values of each column of text are not of its type."""
    cells = {
        name: read_cells(pl.col(literal_name(name)), dtype, formats.get(name))
        for name, dtype in types.items()
    }
    return _counted(
        table, {name: cell_value(name).is_not_null() & cell.is_null() for name, cell in cells.items()}
    )


def _counted(table: pl.LazyFrame, where: Mapping[str, pl.Expr]) -> dict[str, int]:
    if not where:
        return {}
    counts = [expression.sum().alias(name) for name, expression in where.items()]
    return table.select(counts).collect(engine="streaming").row(0, named=True)


def _is_unreadable(name: str, form: str) -> pl.Expr:
    return cell_value(name).is_not_null() & as_moment(cell_value(name), form).is_null()


def _rewritten(value: pl.Expr, form: str) -> pl.Expr:
    """Return moments as text that any reader of moments takes; others as they are, with what is wrong."""
    moment = as_moment(value, form)
    written = moment.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
    return pl.when(moment.is_not_null()).then(written).otherwise(value + f" (not written as {form})")


def _is_readable(dtype: pl.DataType) -> bool:
    return (
        dtype.is_numeric() or dtype == pl.Boolean or (isinstance(dtype, pl.List) and dtype.inner.is_numeric())
    )
