"""Profiles a table: types, gaps, distinct values, typical values, and what looks personal or like an id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tidemill.data.personal.pii_detection import looks_personal
from tidemill.data.tables.column_names import literal_name

__all__ = ["ColumnProfile", "TableProfile", "profile_table", "sample_rows"]

_SAMPLE = 50_000
_LISTED = 20
_LISTS = 1_000
_COUNTED_EXACTLY = 2_000_000
_ID = re.compile(
    r"(^|[^a-zA-Z])(id|uuid|guid|key|index|no|nr|number)$|[a-z](Id|ID|Key)$|^(Unnamed: \d+|)$", re.I
)
_PROSE = 4
"""Words of a value, on average, from which on text is prose: ids and names have fewer."""
_MOST_OWN = 0.9
"""Share of distinct values from which on text is not a category, but a name, an id or prose."""


@dataclass(frozen=True)
class ColumnProfile:
    """What one column is like."""

    name: str
    dtype: pl.DataType
    rows: int
    nulls: int
    distinct: int
    """Without null; estimated for tables of more than two million rows."""
    low: Any = None
    high: Any = None
    """The extremes of numbers and moments; of lists those of their lengths."""
    typical: Any = None
    """The median of numbers and moments, the mean of lists of one length, of others the most frequent."""
    values: tuple[str, ...] = ()
    """For text of at most twenty distinct values: all of them, sorted."""
    personal: str | None = None
    """The kind of personal data that it seems to contain."""
    words: float = 0.0
    """Of text: how many words a value has on average."""
    gaps: int = 0
    """Of lists of numbers: in how many an element is missing."""

    @property
    def known(self) -> int:
        """Number of values."""
        return self.rows - self.nulls

    @property
    def is_text(self) -> bool:
        """Whether it is text."""
        return self.dtype in (pl.String, pl.Categorical) or isinstance(self.dtype, pl.Enum)

    @property
    def is_moment(self) -> bool:
        """Whether it holds dates or moments."""
        return isinstance(self.dtype, pl.Datetime | pl.Date)

    @property
    def is_list_of_numbers(self) -> bool:
        """Whether it holds lists of numbers, all of the same length, such as embeddings."""
        if not isinstance(self.dtype, pl.List) or not self.low:
            return False
        return self.low == self.high and self.dtype.inner.is_numeric()

    @property
    def is_constant(self) -> bool:
        """Whether it says nothing: one value in every row, or none at all."""
        return self.distinct == 0 or (self.distinct == 1 and not self.nulls)

    @property
    def is_prose(self) -> bool:
        """Whether it is free text of several words: it describes a row, and names none."""
        return self.is_text and self.words >= _PROSE and self.looks_like_id

    @property
    def is_unique(self) -> bool:
        """Whether each row has a value of its own."""
        return not self.nulls and self.distinct == self.rows and self.rows > 1

    @property
    def looks_like_id(self) -> bool:
        """Whether its values name rows or things, rather than describe them."""
        if self.rows < 20:
            return False
        if self.is_text:
            return self.distinct >= max(1, _MOST_OWN * self.known)
        if not self.dtype.is_integer():
            return False
        named = self.is_named_id
        if self.is_unique and (named or self.high - self.low < 2 * self.rows):
            return True
        return named and self.distinct > max(1000, self.known // 10)

    @property
    def is_named_id(self) -> bool:
        """Whether it is called an id, and may be one: text or whole numbers."""
        return _ID.search(self.name) is not None and (self.is_text or self.dtype.is_integer())

    @property
    def identifies(self) -> bool:
        """Whether it looks personal, and has too many values to be a category."""
        return self.personal is not None and self.distinct > 20


@dataclass(frozen=True)
class TableProfile:
    """What a table is like."""

    rows: int
    columns: Mapping[str, ColumnProfile]
    sample: pl.DataFrame = field(repr=False)
    """Rows spread evenly over the table, at most 50,000."""


def profile_table(table: pl.LazyFrame) -> TableProfile:
    """Profile a table in one pass, and a sample of it; numbers that are infinite or NaN count as missing.

    >>> profile = profile_table(pl.LazyFrame({"size": ["S", "L", "L"], "price": [1.5, None, 2.5]}))
    >>> profile.columns["size"].values, profile.columns["price"].nulls, profile.columns["price"].typical
    (('L', 'S'), 1, 2.0)
    """
    floats = pl.col(pl.Float32, pl.Float64)
    table = table.with_columns(pl.when(floats.is_finite()).then(floats))  # as training takes infinite values
    schema = table.collect_schema()
    rows = int(table.select(pl.len()).collect(engine="streaming").item())
    facts = table.select(_facts(schema, rows)).collect(engine="streaming").row(0, named=True) if rows else {}
    sample = sample_rows(table, rows)
    columns = {name: _column(name, schema[name], rows, facts, sample) for name in schema}
    texts = [one.name for one in columns.values() if one.is_text and 0 < one.distinct <= _LISTED]
    return TableProfile(rows, {**columns, **_with_values(table, texts, columns)}, sample)


def sample_rows(table: pl.LazyFrame, rows: int, most: int = _SAMPLE) -> pl.DataFrame:
    """Return at most ``most`` rows, spread evenly over the table, in its order."""
    step = -(-rows // most) or 1
    if step == 1:
        return table.collect(engine="streaming")
    place = pl.col("\0place")
    chosen = table.with_row_index("\0place").filter(place % step == 0).sort(place)
    return chosen.drop("\0place").collect(engine="streaming")


def _facts(schema: pl.Schema, rows: int) -> list[pl.Expr]:
    found = []
    for name, dtype in schema.items():
        column = pl.col(literal_name(name))
        found.append(column.null_count().alias(f"nulls\0{name}"))
        if not dtype.is_nested():
            known = column.drop_nulls()
            counted = known.n_unique() if rows <= _COUNTED_EXACTLY else known.approx_n_unique()
            found.append(counted.alias(f"distinct\0{name}"))
        if dtype.is_numeric() or dtype.is_temporal():
            found += [column.min().alias(f"low\0{name}"), column.max().alias(f"high\0{name}")]
        if isinstance(dtype, pl.List):
            lengths = column.list.len()
            found += [lengths.min().alias(f"low\0{name}"), lengths.max().alias(f"high\0{name}")]
            if dtype.inner.is_numeric():
                known = column.list.eval(pl.element().is_finite().fill_null(False))
                found.append(known.list.all().not_().sum().alias(f"gaps\0{name}"))
    return found


def _column(
    name: str, dtype: pl.DataType, rows: int, facts: Mapping[str, Any], sample: pl.DataFrame
) -> ColumnProfile:
    nulls = int(facts.get(f"nulls\0{name}", rows))
    column = sample[name].alias("")  # methods of a series named like a pattern fail
    values = column.drop_nulls()
    typical: Any = None
    if len(values) and (dtype.is_numeric() or dtype.is_temporal()) and dtype != pl.Boolean:
        typical = values.sort()[len(values) // 2] if not dtype.is_float() else values.median()
    elif len(values) and isinstance(dtype, pl.List):
        typical = _mean_of_lists(values.head(_LISTS))
    elif len(values) and not dtype.is_nested():
        typical = values.mode().sort()[0]
    return ColumnProfile(
        name=name,
        dtype=dtype,
        rows=rows,
        nulls=nulls,
        distinct=int(
            facts.get(f"distinct\0{name}", 1 if _is_one_list(values, rows - nulls) else rows - nulls)
        ),
        low=facts.get(f"low\0{name}"),
        high=facts.get(f"high\0{name}"),
        typical=typical,
        personal=looks_personal(name, column.head(1000)),
        words=_words(values.head(1000)) if dtype == pl.String else 0.0,
        gaps=int(facts.get(f"gaps\0{name}", 0)),
    )


def _is_one_list(values: pl.Series, known: int) -> bool:
    """Return whether a column has one list in all rows; False if only a sample of it is there."""
    return isinstance(values.dtype, pl.List) and len(values) == known and values.n_unique() == 1


def _words(texts: pl.Series) -> float:
    """Return how many words a text has on average.

    >>> _words(pl.Series(["my parcel is late", "refund"])), _words(pl.Series([], dtype=pl.String))
    (2.5, 0.0)
    """
    return float(texts.str.count_matches(r"\S+").cast(pl.Float64).mean() or 0.0)  # type: ignore[arg-type]


def _mean_of_lists(lists: pl.Series) -> list[Any]:
    """Return the mean of each element: no row's own list; of lists of several lengths the first."""
    length = lists.list.len()
    if not isinstance(lists.dtype, pl.List) or not lists.dtype.inner.is_numeric() or length.n_unique() > 1:
        return list(lists[0].to_list())
    elements = (lists.list.get(place).cast(pl.Float64) for place in range(length[0]))
    return [element.filter(element.is_finite()).mean() or 0.0 for element in elements]


def _with_values(
    table: pl.LazyFrame, names: list[str], columns: Mapping[str, ColumnProfile]
) -> dict[str, ColumnProfile]:
    if not names:
        return {}
    lists = [
        pl.col(literal_name(name)).cast(pl.String).drop_nulls().unique().implode().alias(name)
        for name in names
    ]
    found = table.select(lists).collect(engine="streaming").row(0, named=True)
    from dataclasses import replace

    return {name: replace(columns[name], values=tuple(sorted(found[name]))) for name in names}
