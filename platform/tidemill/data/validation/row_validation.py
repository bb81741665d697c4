"""Validates a data set against a pandera schema: bad rows are set aside with their reasons, never dropped.

Pandera checks the structure and runs the checks. The failing rows are read from each check's own output,
because pandera's collected ``SchemaErrors`` (0.35) builds a text table of failing *values*, which takes
seconds when many rows fail, and raises an error on durations, and when checks of rows and of the whole data
set fail together.
"""

import copy
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors, SchemaWarning

from tidemill.data.validation.row_reasons import REASON, reasons
from tidemill.errors import DataError
from tidemill.plurals import agreeing, counted

__all__ = ["Examined", "Validated", "ValidationReport", "examine", "validate"]


@dataclass(frozen=True)
class ValidationReport:
    """The results of validating one data set."""

    name: str
    """Name of the data set."""
    rows: int
    clean: int
    rejected: int
    broken: Mapping[str, int]
    """Rule → number of rows that break it. A row may break several."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Validated:
    """A data set, split into clean and rejected rows in their original order."""

    clean: pl.DataFrame
    """Rows that break no rule, with the schema's types."""
    rejected: pl.DataFrame
    """The other rows, with `REASON` as the last column."""
    report: ValidationReport


@dataclass(frozen=True)
class Examined:
    """A data set compared with a schema."""

    typed: pl.DataFrame
    """The frame with the schema's types; unchanged if there are problems."""
    rules: Mapping[str, pl.Series]
    """Rule → mask of its rows, for all row rules, broken or not. None if the structure is wrong."""
    problems: tuple[str, ...]
    """Failures of the data set as a whole."""


def validate(
    frame: pl.DataFrame, schema: pa.DataFrameSchema, name: str, *, max_rejected_share: float = 0.05
) -> Validated:
    """Split ``frame`` into the rows that satisfy ``schema`` and those that do not.

    All failures are found together. Of rows that must be unique, all copies are rejected, because the right
    one is unknown. A check with ``raise_warning`` warns and rejects nothing.

    Args:
        frame: the data set.
        schema: columns are coerced where it says so; it is not changed.
        name: of the data set, for messages and the report.
        max_rejected_share: with a larger share of bad rows than this the data set as a whole is broken.

    Raises:
        DataError: columns are missing, have the wrong type or cannot be coerced; a check of the whole data
            set fails or cannot be run; or too many rows are bad. The message lists all failures.

    >>> schema = pa.DataFrameSchema({"delay": pa.Column(int, pa.Check.lt(1440)), "plane": pa.Column(str)})
    >>> flights = pl.DataFrame({"delay": [5, 99999, 7], "plane": ["N1", None, "N3"]})
    >>> validated = validate(flights, schema, "flights", max_rejected_share=0.5)
    >>> validated.clean["delay"].to_list()
    [5, 7]
    >>> validated.rejected["reason"].to_list()
    ['delay: less_than(1440); plane: not null']
    >>> validated.report.broken
    {'delay: less_than(1440)': 1, 'plane: not null': 1}
    """
    if REASON in frame.columns:
        raise DataError(
            f"{name} has a column {REASON!r} already",
            hint="rename it: rejected rows get a column of that name",
        )
    found = examine(frame, schema)
    _raise_for(found.problems, name)
    typed = found.typed
    rules = {rule: mask for rule, mask in found.rules.items() if mask.any()}
    bad = pl.repeat(False, typed.height, eager=True)
    for mask in rules.values():
        bad |= mask
    report = ValidationReport(
        name=name,
        rows=typed.height,
        clean=typed.height - int(bad.sum()),
        rejected=int(bad.sum()),
        broken={rule: int(mask.sum()) for rule, mask in rules.items()},
    )
    _raise_for_share(report, max_rejected_share)
    reason = reasons({rule: mask.filter(bad) for rule, mask in rules.items()})
    return Validated(typed.filter(~bad), typed.filter(bad).with_columns(reason.alias(REASON)), report)


def examine(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> Examined:
    """Compare ``frame`` with ``schema``: return the rows that break each rule, and all other problems."""
    # Environment variables can disable pandera; data would then pass unchecked.
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        typed, problems = _with_structure(frame, schema)
        rules: dict[str, pl.Series] = {}
        if not problems:
            for rule, broken in _rule_outcomes(typed, schema, problems):
                rules[rule] = rules[rule] | broken if rule in rules else broken
    return Examined(typed, rules, tuple(problems))


def _with_structure(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> tuple[pl.DataFrame, list[str]]:
    """Return ``frame`` coerced, and all problems except those of values."""
    bare = _without_rules(schema, frame.columns)
    try:
        typed: pl.DataFrame = bare.validate(frame, lazy=True)
    except SchemaErrors as error:
        errors = error.schema_errors
    except SchemaError as error:  # a few are raised at once, lazy or not
        errors = [error]
    except pl.exceptions.PolarsError as error:
        return frame, [f"it cannot be given its schema's types: {error}"]
    else:
        missing = sorted({key for keys in _unique_sets(schema) for key in keys} - set(typed.columns))
        return typed, [f"column {key!r} is missing" for key in missing]
    if uncoerced := _uncoerced(frame, bare):
        # Pandera stops at the first such column, and then reports wrong types for all later ones.
        errors = [error for error in errors if not _is_consequence(error, bare)]
    return frame, [*uncoerced, *(_problem(error, schema) for error in errors)]


def _without_rules(schema: pa.DataFrameSchema, present: list[str]) -> pa.DataFrameSchema:
    bare = copy.deepcopy(schema)
    bare.checks, bare.unique, bare.drop_invalid_rows = [], None, False
    for column in bare.columns.values():
        column.checks, column.unique, column.drop_invalid_rows = [], False, False
        column.nullable = column.nullable or column.name in present
    return bare


def _uncoerced(frame: pl.DataFrame, bare: pa.DataFrameSchema) -> list[str]:
    found = []
    for key, column in bare.columns.items():
        if key not in frame.columns or not (bare.coerce or column.coerce):
            continue
        try:
            pa.DataFrameSchema({key: column}, coerce=bare.coerce).validate(frame[[key]], lazy=True)
        except SchemaErrors as errors:
            found += [
                _uncoerced_values(key, column, frame.schema[key], error.failure_cases)
                for error in errors.schema_errors
                if error.reason_code is SchemaErrorReason.DATATYPE_COERCION
            ]
    return found


def _uncoerced_values(key: str, column: pa.Column, found: pl.DataType, values: object) -> str:
    problem = f"column {key!r} must be {column.dtype}; its {found} cannot be made that"
    if isinstance(values, pl.DataFrame) and values.height:
        examples = ", ".join(repr(value) for value in values.to_series().unique(maintain_order=True).head(3))
        problem += f" in {counted(values.height, 'row')}, such as {examples}"
        if column.dtype.type.is_numeric() and values.to_series().cast(pl.String).str.contains(r"\d,\d").any():
            problem += " (numbers are written as 1234.5, with a point)"
    return problem


def _is_consequence(error: SchemaError, bare: pa.DataFrameSchema) -> bool:
    if error.reason_code is SchemaErrorReason.DATATYPE_COERCION:
        return True
    column = bare.columns.get(error.column_name)
    return error.reason_code is SchemaErrorReason.WRONG_DATATYPE and bool(
        bare.coerce or (column and column.coerce)
    )


def _problem(error: SchemaError, schema: pa.DataFrameSchema) -> str:
    if error.reason_code is SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
        missing = error.failure_cases
        return f"column {missing!r} ({schema.columns[missing].dtype}) is missing"
    if error.reason_code is SchemaErrorReason.WRONG_DATATYPE:
        return f"column {error.column_name!r} must be {error.schema.dtype}, but is {error.failure_cases}"
    return str(error).splitlines()[0]


def _rule_outcomes(
    frame: pl.DataFrame, schema: pa.DataFrameSchema, problems: list[str]
) -> Iterator[tuple[str, pl.Series]]:
    for key, column in _columns(frame, schema):
        values = frame[key].alias("")  # Polars takes names such as ^a$ for patterns
        if not column.nullable:
            nulls = values.is_null()
            yield (
                f"{key}: not null",
                nulls | values.is_nan().fill_null(False) if values.dtype.is_float() else nulls,
            )
        if column.unique:
            yield f"{key}: unique", values.is_duplicated()
        for check in column.checks:
            yield from _check_outcome(frame, check, key, problems)
    for keys in _unique_sets(schema):
        yield f"{' + '.join(keys)}: unique", frame[list(keys)].is_duplicated()
    for check in schema.checks:
        yield from _check_outcome(frame, check, None, problems)


def _check_outcome(
    frame: pl.DataFrame, check: pa.Check, key: str | None, problems: list[str]
) -> Iterator[tuple[str, pl.Series]]:
    described = check.error or check.name or str(check)
    rule = f"{key}: {described}" if key else str(described)
    try:
        result = check(frame.lazy(), key)
        passed: pl.Series = result.check_output.collect().to_series()
    except Exception as error:  # noqa: BLE001 - a check is the project's code
        problems.append(f"{rule} could not be run: {type(error).__name__}: {error}")
        return
    broken = ~passed.fill_null(True)
    if check.raise_warning:
        if broken.any():
            warnings.warn(f"{rule}: {broken.sum()} of {len(broken)} do not hold", SchemaWarning, stacklevel=2)
    elif result.failure_cases is not None and len(broken) == frame.height:
        yield rule, broken
    elif broken.any():
        problems.append(f"{rule} does not hold for the data set as a whole")


def _columns(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> Iterator[tuple[str, pa.Column]]:
    for name, column in schema.columns.items():
        if column.regex:
            matching = [key for key in frame.columns if re.fullmatch(name, key) and key not in schema.columns]
            yield from ((key, column) for key in matching)
        elif name in frame.columns:
            yield name, column


def _unique_sets(schema: pa.DataFrameSchema) -> list[list[str]]:
    unique = schema.unique or []
    if isinstance(unique, str):
        return [[unique]]
    return (
        [list(unique)]
        if unique and all(isinstance(key, str) for key in unique)
        else [list(keys) for keys in unique]
    )


def _raise_for(problems: tuple[str, ...], name: str) -> None:
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise DataError(
            f"{name} is not what its schema declares:{listed}", hint="correct the data or the schema"
        )


def _raise_for_share(report: ValidationReport, limit: float) -> None:
    if report.rows and report.rejected / report.rows > limit:
        broken = sorted(report.broken.items(), key=lambda item: -item[1])
        listed = "".join(f"\n  - {rule}: {counted(count, 'row')}" for rule, count in broken)
        raise DataError(
            f"{report.name}: {report.rejected} of {counted(report.rows, 'row')} "
            f"{agreeing(report.rejected, 'is', 'are')} bad "
            f"({report.rejected / report.rows:.1%}; at most {limit:.1%} may be):{listed}",
            hint="correct the source or the schema: one of them is wrong for so many rows to be bad",
        )
