"""Converts the declared rules of a data set to pandera checks, once its columns are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pandera.polars as pa
import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.expectations.rules import ColumnRules, DatasetRules, sql
from tidemill.data.profiling.cell_values import as_type
from tidemill.data.tables.column_names import is_pattern, literal_name
from tidemill.data.tables.column_types import literal, spell_dtype
from tidemill.data.validation.validation_report import CheckOutcome, Kind

__all__ = ["RowRules", "as_moments", "coerced", "comparable", "is_castable", "misdeclared", "row_rules"]

_SHOWN_VALUES = 5
Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class RowRules:
    """The checks of a data set that apply to each row by itself."""

    schema: pa.DataFrameSchema
    kinds: Mapping[str, Kind]
    """Every rule of the schema, as text in the reasons."""
    structure: tuple[CheckOutcome, ...]
    """Failures of the columns; one passed check if there are none."""
    sound: frozenset[str]
    """Columns that exist with the right type; only rules on these can run."""
    skipped: tuple[CheckOutcome, ...]
    """Rules that cannot run because a column is missing or has the wrong type."""


def misdeclared(rules: DatasetRules, schema: pl.Schema) -> list[str]:
    """Return the declarations that are invalid for these columns: field and problem.

    Args:
        rules: the declaration.
        schema: the columns of the file, after coercion.
    """
    wrong = [
        f"{field}: neither the declaration nor the file has a column {column!r}"
        for field, column in rules.mentioned()
        if column not in schema and column not in rules.columns
    ]
    for name, column in rules.columns.items():
        if name in schema and column.type is None:
            try:
                _checks(column, schema[name])
            except ValueError as error:
                wrong.append(f"columns.{name}: {error}")
    times = [("freshness.column", rules.freshness.column)] if rules.freshness else []
    times += [("volume.per_day", rules.volume.per_day)] if rules.volume and rules.volume.per_day else []
    for field, name in times:
        if name in schema and not isinstance(schema[name], pl.Datetime | pl.Date):
            wrong.append(f"{field}: {name} is {spell_dtype(schema[name])}, not a date or a moment")
    wrong += [
        f"columns.{name}: pandera takes this name for a pattern; give the column another one"
        for name in rules.columns
        if is_pattern(name)
    ]
    sound = _structure(rules, schema)[1]
    for name, text in rules.rules.items():
        if set(sql(text).meta.root_names()) <= sound and (problem := _no_row_rule(text, schema)):
            wrong.append(f"rules.{name}: {problem}")
    return wrong


def _no_row_rule(text: str, schema: pl.Schema) -> str | None:
    try:
        found = comparable(pl.DataFrame(schema=schema)).select(sql(text)).to_series()
    except PolarsError as error:
        return f"{text!r} cannot be computed: {str(error).splitlines()[0]}"
    if found.dtype not in (pl.Boolean, pl.Null):
        return f"{text!r} is {spell_dtype(found.dtype)}, not true or false"
    if len(found):  # no rows were given
        return f"{text!r} does not depend on a row: it is about the data set as a whole, or constant"
    return None


def row_rules(rules: DatasetRules, schema: pl.Schema) -> RowRules:
    """Return the checks of the columns and the row rules.

    Args:
        rules: the declaration, which is valid for the columns (see `misdeclared`).
        schema: the columns of the file, after coercion.
    """
    problems, sound = _structure(rules, schema)
    kinds: dict[str, Kind] = {}
    columns = {}
    for name, column in rules.columns.items():
        if name not in sound:
            continue
        checks = _checks(column, schema[name])
        kinds |= {} if column.nullable else {f"{name}: not null": "column"}
        kinds |= {f"{name}: {check.error}": "column" for check in checks}
        columns[name] = pa.Column(None, checks, nullable=column.nullable)
    skipped, across = [], []
    for name, text in rules.rules.items():
        if missing := sorted(set(sql(text).meta.root_names()) - sound):
            skipped.append(
                CheckOutcome(name, "row", "skipped", detail=f"it needs {', '.join(missing)}: see structure")
            )
        else:
            across.append(_row_check(name, sql(text)))
            kinds[name] = "row"
    passed = CheckOutcome("columns and types", "structure", "passed", observed={"columns": len(schema)})
    return RowRules(
        pa.DataFrameSchema(columns, checks=across), kinds, problems or (passed,), sound, tuple(skipped)
    )


def _row_check(name: str, expression: pl.Expr) -> pa.Check:
    return pa.Check(lambda data: data.lazyframe.select(expression), name=name, error=name)


def _structure(rules: DatasetRules, schema: pl.Schema) -> tuple[tuple[CheckOutcome, ...], frozenset[str]]:
    problems = []
    sound = set(schema)
    for name, column in rules.columns.items():
        if name not in schema:
            problems.append(f"column {name!r} ({column.type or 'any type'}) is missing")
        elif column.dtype is not None and schema[name] != column.dtype:
            found = spell_dtype(schema[name]) or str(schema[name])
            problems.append(f"column {name!r} must be {column.type}, but is {found}")
            sound.discard(name)
    if rules.strict:
        problems += [f"column {name!r} is not declared" for name in schema if name not in rules.columns]
    return tuple(CheckOutcome(problem, "structure", "failed") for problem in problems), frozenset(sound)


def _checks(column: ColumnRules, dtype: pl.DataType) -> list[pa.Check]:
    found = []
    low, high = (None if v is None else literal(v, dtype) for v in (column.min, column.max))
    if low is not None and high is not None:
        found.append(pa.Check.in_range(low, high, error=f"in_range({low}, {high})"))
    elif low is not None:
        found.append(pa.Check.ge(low, error=f"greater_than_or_equal_to({low})"))
    elif high is not None:
        found.append(pa.Check.le(high, error=f"less_than_or_equal_to({high})"))
    if column.one_of is not None:
        values = [literal(value, dtype) for value in column.one_of]
        shown = ", ".join(repr(value) for value in values[:_SHOWN_VALUES])
        rest = f", … {len(values)} values" if len(values) > _SHOWN_VALUES else ""
        found.append(_one_of(values, dtype, f"isin({shown}{rest})"))
    if problem := column.misfit(dtype):
        raise ValueError(f"{problem}, but the column is {spell_dtype(dtype)}")
    if column.regex is not None:
        pattern = f"^(?:{column.regex})$"
        found.append(pa.Check.str_matches(pattern, error=f"str_matches('{column.regex}')"))
    limits = column.min_length, column.max_length
    if limits != (None, None) and isinstance(dtype, pl.List | pl.Array):
        found.append(_list_length(column.min_length or 0, column.max_length, dtype))
    elif limits != (None, None):
        found.append(
            pa.Check.str_length(
                min_value=limits[0], max_value=limits[1], error=f"str_length({limits[0]}, {limits[1]})"
            )
        )
    return found


def _list_length(least: int, most: int | None, dtype: pl.DataType) -> pa.Check:
    def fits(data: Any) -> pl.LazyFrame:
        values = pl.col(literal_name(data.key))
        lengths = (values.arr.to_list() if isinstance(dtype, pl.Array) else values).list.len()
        whole: pl.LazyFrame = data.lazyframe
        return whole.select(lengths >= least if most is None else lengths.is_between(least, most))

    return pa.Check(fits, name="list_length", error=f"list_length({least}, {most})")


def _one_of(values: list[Any], dtype: pl.DataType, error: str) -> pa.Check:
    text = isinstance(dtype, pl.Categorical | pl.Enum)
    try:
        allowed = pl.Series(values, dtype=pl.String() if text else dtype).implode()
    except (PolarsError, TypeError, OverflowError) as problem:
        raise ValueError(f"{values} are no values of type {spell_dtype(dtype)}: {problem}") from problem
    return pa.Check(
        lambda data: data.lazyframe.select(pl.col(literal_name(data.key)).is_in(allowed)),
        name="isin",
        error=error,
    )


def comparable(frame: Frame) -> Frame:
    """Return ``frame`` in the form that rules are applied to: NaN is null, categories are text."""
    return frame.with_columns(
        pl.col(pl.Float32, pl.Float64).fill_nan(None),
        pl.col(pl.Categorical, pl.Enum).cast(pl.String),
    )


def coerced(rules: DatasetRules, schema: pl.Schema) -> dict[str, pl.Expr]:
    """Return the expressions that cast columns to their declared types, with null where that fails."""
    if not rules.coerce:
        return {}
    return {
        name: _cast(pl.col(literal_name(name)), schema[name], column.dtype).alias(name)
        for name, column in rules.columns.items()
        if name in schema and column.dtype is not None and schema[name] != column.dtype
    }


def is_castable(dtype: pl.DataType) -> bool:
    """Return whether text can be cast to a type."""
    return not (dtype.is_nested() or isinstance(dtype, pl.Duration | pl.Binary))


def _cast(values: pl.Expr, found: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    if found == pl.String:
        if isinstance(wanted, pl.Datetime):
            zone = wanted.time_zone
            read = values.str.to_datetime(time_unit=wanted.time_unit, time_zone=zone, strict=False)
            return read.cast(wanted, strict=False)
        if wanted == pl.Date:
            return values.str.to_date(strict=False)
        if wanted == pl.Time:
            return values.str.to_time(strict=False)
        if wanted.is_numeric() or wanted == pl.Boolean or isinstance(wanted, pl.List):
            return as_type(values, wanted)
        values = values.str.strip_chars()
    cast = values.cast(wanted, strict=False)
    if found.is_float() and wanted.is_integer():  # no silent rounding
        return pl.when(values == values.round()).then(cast)
    return cast


def as_moments(column: str, dtype: Any) -> pl.Expr:
    """Return a column of dates or moments as moments in UTC; values without time zone count as UTC."""
    values = pl.col(literal_name(column))
    moments = values.cast(pl.Datetime("us")) if dtype == pl.Date else values
    zone = getattr(dtype, "time_zone", None)
    aware = moments.dt.convert_time_zone("UTC") if zone else moments.dt.replace_time_zone("UTC")
    return aware.dt.cast_time_unit("us")
