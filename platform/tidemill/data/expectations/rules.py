"""Defines the rules for data sets in ``expectations.yaml``. Imports no engine except Polars."""

from datetime import date, datetime
from math import isfinite
from typing import Annotated, Any, Literal

import polars as pl
from polars.exceptions import PolarsError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from tidemill.clock import parse_duration
from tidemill.data.expectations.expectations_file import REPORT
from tidemill.data.tables.column_types import literal, parse_dtype
from tidemill.plurals import counted

__all__ = [
    "BiasConfig",
    "ColumnRules",
    "DatasetRules",
    "Edges",
    "Expectations",
    "Freshness",
    "Reference",
    "Volume",
    "sql",
]

Mode = Literal["off", "warn", "stop"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][\w.-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]


def _duration(value: object) -> object:
    return parse_duration(value)


def _mode(value: object) -> object:
    return "off" if value is False else value  # YAML 1.1 reads a bare `off` as false


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _regex(pattern: str) -> str:
    try:
        pl.Series([""]).str.contains(f"^(?:{pattern})$")
    except PolarsError as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {str(error).strip()}") from error
    return pattern


def sql(text: str) -> pl.Expr:
    """Convert an SQL expression over columns to a Polars expression.

    Raises:
        ValueError: it is not a valid SQL expression.
    """
    try:
        return pl.sql_expr(text)
    except PolarsError as error:
        raise ValueError(
            f"{text!r} is not an SQL expression that Polars understands: {str(error).splitlines()[0]}"
        ) from error


def _single(value: object) -> object:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"must be a finite number, not {value}")
    if not isinstance(value, bool | int | float | date | str):
        raise ValueError("must be a number, a text, a moment, true or false")
    return value


def _expression(text: str) -> str:
    sql(text)
    return text


Duration = Annotated[Any, BeforeValidator(_duration)]
Columns = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
Expression = Annotated[str, AfterValidator(_expression)]
Value = Annotated[bool | int | float | datetime | date | str, BeforeValidator(_single)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class ColumnRules(_Section):
    """Rules for one column. A null breaks ``nullable`` only; NaN counts as null."""

    type: str | None = None
    """Such as ``int32`` or ``datetime[us, UTC]``; None: any type."""
    nullable: bool = False
    min: Value | None = None
    max: Value | None = None
    one_of: tuple[Value, ...] | None = Field(default=None, alias="in", min_length=1)
    regex: Annotated[str, AfterValidator(_regex)] | None = None
    """The whole value must match (the syntax of Rust's regex)."""
    min_length: int | None = Field(default=None, ge=0)
    """Characters of text, elements of a list."""
    max_length: int | None = Field(default=None, ge=0)
    unique: bool = False

    @property
    def dtype(self) -> pl.DataType | None:
        """The declared type."""
        return None if self.type is None else parse_dtype(self.type)

    def misfit(self, dtype: pl.DataType) -> str | None:
        """Return which rule is for other types than this one; None if all are for it.

        >>> ColumnRules(regex="a+").misfit(pl.Int64()), ColumnRules(min_length=3).misfit(pl.List(pl.Float64))
        ('regex is for strings', None)
        """
        if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
            return None
        if self.regex is not None:
            return "regex is for strings"
        lengths = [name for name in ("min_length", "max_length") if getattr(self, name) is not None]
        if lengths and not isinstance(dtype, pl.List | pl.Array):
            return f"{lengths[0]} is for strings and lists"
        return None

    @model_validator(mode="after")
    def _fits_its_type(self) -> "ColumnRules":
        dtype = self.dtype
        if dtype is not None:
            if problem := self.misfit(dtype):
                raise ValueError(f"{problem}, but type is {self.type}")
            for value in (self.min, self.max, *(self.one_of or ())):
                if value is not None:
                    literal(value, dtype)
        for low, high in (("min", "max"), ("min_length", "max_length")):
            first, last = getattr(self, low), getattr(self, high)
            if first is not None and last is not None and type(first) is type(last) and first > last:
                raise ValueError(f"{low} {first} is greater than {high} {last}")
        return self


class Freshness(_Section):
    """Greatest age of the newest row, in event time: at ``data.as_of``, not now."""

    column: str
    """A date or moment; without time zone it is UTC."""
    max_age: Duration
    ahead: Duration | None = None
    """A row may be this much later than ``data.as_of``; a later row fails. None: it must not be later."""


class Volume(_Section):
    """Limits for the number of rows, absolute and relative to earlier data versions."""

    min: int = Field(default=1, ge=0)
    max: int | None = Field(default=None, ge=0)
    change: float | None = Field(default=None, gt=0)
    """Greatest relative change from earlier versions: 0.5 allows 50 % more or less."""
    versions: int = Field(default=1, ge=1, le=100)
    """Compare with the median of this many earlier versions."""
    per_day: str | None = None
    """Column of moments: compare rows per day, for data sets whose time span grows."""


class Reference(_Section):
    """Values of these columns must occur in those of another data set; nulls refer to nothing."""

    columns: Columns
    to: str
    """The other data set; its source is read."""
    keys: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = ()
    """Its columns; None: columns of the same names."""
    max_orphans: Share | None = None
    """None: every orphan row fails. A share: orphans are kept, and with more the whole data set fails."""

    @model_validator(mode="after")
    def _as_many_keys(self) -> "Reference":
        if self.keys and len(self.keys) != len(self.columns):
            raise ValueError(
                f"{counted(len(self.columns), 'column')} cannot refer to {counted(len(self.keys), 'key')}"
            )
        return self


class Edges(_Section):
    """Groups a column of numbers by bins, each of which begins with one of these values."""

    column: str
    edges: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> "Edges":
        if any(later <= earlier for earlier, later in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must ascend")
        return self


class BiasConfig(_Section):
    """Groups whose share of the rows and rate of the label are reported."""

    label: Expression
    """A column of 0 and 1, or an SQL expression that is true, false or null (no label)."""
    groups: tuple[str | Edges, ...] = Field(min_length=1)
    min_rows: int = Field(default=100, ge=1)
    """A group with fewer labelled rows is too small to be judged."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the intervals; 1 minus it is the accepted share of false findings."""
    tolerance: float = Field(default=1.25, gt=1)
    """A rate between 1/tolerance and tolerance times that of the other groups counts as equal."""

    @property
    def named_by_value(self) -> frozenset[str]:
        """Return the columns whose values are used as names of groups."""
        return frozenset(group for group in self.groups if isinstance(group, str))


class DatasetRules(_Section):
    """Rules for one data set."""

    source: str
    """File, folder or pattern, relative to the project."""
    accepted: str | None = None
    """Parquet file for the rows that pass."""
    rejected: str | None = None
    """Parquet file for the rows that fail, with the reasons."""
    mode: Annotated[Mode, BeforeValidator(_mode)] = "stop"
    max_rejected: Share = 0.05
    coerce: bool = False
    """Whether to cast columns to their types; a value that cannot be cast makes its row fail."""
    strict: bool = False
    """Whether undeclared columns are a failure."""
    columns: dict[str, ColumnRules] = Field(default_factory=dict)
    unique: tuple[Columns, ...] = ()
    """Sets of columns whose values must be unique; all copies fail."""
    rules: dict[str, Expression] = Field(default_factory=dict)
    """Description → SQL expression; a row for which it is null passes."""
    freshness: Freshness | None = None
    volume: Volume | None = None
    references: tuple[Reference, ...] = ()
    pandera: str | None = Field(default=None, alias="schema", pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """``module:object``, a pandera schema for rules that YAML cannot express."""
    bias: BiasConfig | None = None

    @property
    def dtypes(self) -> dict[str, pl.DataType]:
        """Return the declared types by column."""
        return {name: column.dtype for name, column in self.columns.items() if column.dtype is not None}

    def mentioned(self) -> list[tuple[str, str]]:
        """Return field and column of every column that is named outside ``columns``."""
        found = [(f"unique.{n}", name) for n, names in enumerate(self.unique) for name in names]
        for rule, text in self.rules.items():
            found += [(f"rules.{rule}", name) for name in sql(text).meta.root_names()]
        for n, reference in enumerate(self.references):
            found += [(f"references.{n}.columns", name) for name in reference.columns]
        if self.freshness:
            found.append(("freshness.column", self.freshness.column))
        if self.volume and self.volume.per_day:
            found.append(("volume.per_day", self.volume.per_day))
        if self.bias:
            found += [("bias.label", name) for name in sql(self.bias.label).meta.root_names()]
            found += [
                ("bias.groups", group if isinstance(group, str) else group.column)
                for group in self.bias.groups
            ]
        return found


class Expectations(_Section):
    """The whole content of ``expectations.yaml``."""

    report: str = REPORT
    """Path of the report of stage validate."""
    datasets: dict[Name, DatasetRules] = Field(default_factory=dict)

    @field_validator("datasets", mode="before")
    @classmethod
    def _none(cls, given: Any) -> Any:
        """Take an empty ``datasets:`` for none."""
        return {} if given is None else given
