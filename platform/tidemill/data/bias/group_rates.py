"""Calculates the shares of groups in data, and how their label rates differ (bias).

The interval of a share or rate is Wilson's (Wilson 1927). A group is compared with all other rows together:
the ratio of the two rates with its interval (Katz et al. 1978), and a two-proportion z test whose p values
are corrected for the number of groups (Benjamini and Hochberg 1995).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.expectations.rules import BiasConfig, Edges, sql
from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.data.tables.column_names import literal_name
from tidemill.errors import DataError

__all__ = ["BiasReport", "Group", "Proportion", "compare", "find_bias", "proportion"]

_MOST_GROUPS = 200
_MISSING = "(missing)"
_Count = tuple[str, int, int, int]
"""Of a group: its name, its rows, those with a label, those whose label is 1."""
Verdict = Literal["alike", "higher", "lower", "too small", "only group"]


@dataclass(frozen=True)
class Proportion:
    """A share with its interval."""

    value: float | None
    """None if there are no rows."""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """One group: its number of rows, and its rate of label 1."""

    group: str
    rows: int
    share: Proportion
    """Share of all rows."""
    labelled: int
    positive: int
    rate: Proportion
    """Rate of label 1 among its labelled rows."""
    ratio: Proportion
    """Its rate divided by the rate of all other rows."""
    p_value: float | None
    """p value of the difference; None where it is undefined."""
    q_value: float | None
    """The p value, corrected for the number of groups."""
    verdict: Verdict


@dataclass(frozen=True)
class BiasReport:
    """The comparison of groups in one data set."""

    label: str
    rows: int
    labelled: int
    rate: Proportion
    min_rows: int
    confidence: float
    tolerance: float
    groups: Mapping[str, tuple[Group, ...]]
    """Column → its groups, the largest first; bins in their order."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, with rounded numbers."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded


def find_bias(
    table: pl.LazyFrame, config: BiasConfig, name: str, personal: Mapping[str, Pseudonymiser] | None = None
) -> BiasReport:
    """Compare the groups of a data set.

    Args:
        table: the rows; they are aggregated lazily.
        config: label, groups and limits.
        name: of the data set, for messages.
        personal: columns whose groups are named by pseudonyms, and the function that makes these.

    Raises:
        DataError: a column is missing, the label is neither 0/1 nor true/false, or cannot be computed.
    """
    label = _label(table, config.label, name)
    counts = {}
    for group in config.groups:
        column, order, value = _grouping(table, group, name, personal or {})
        counts[column] = _counted(table, value, order, label)
    first = next(iter(counts.values()))
    rows, labelled = sum(count[1] for count in first), sum(count[2] for count in first)
    positive = sum(count[3] for count in first)
    found = {
        column: [_group(count, (rows, labelled, positive), config) for count in of_column]
        for column, of_column in counts.items()
    }
    judged = [g for groups in found.values() for g in groups if g.p_value is not None]
    corrected = _corrected([g.p_value for g in judged if g.p_value is not None])
    q_values = {id(g): q for g, q in zip(judged, corrected, strict=True)}
    return BiasReport(
        label=config.label,
        rows=rows,
        labelled=labelled,
        rate=proportion(positive, labelled, config.confidence),
        min_rows=config.min_rows,
        confidence=config.confidence,
        tolerance=config.tolerance,
        groups={
            column: tuple(_judged(group, q_values.get(id(group)), config) for group in groups)
            for column, groups in found.items()
        },
    )


def proportion(part: int, whole: int, confidence: float = 0.95) -> Proportion:
    """Return a share with Wilson's interval.

    >>> found = proportion(1, 10)
    >>> found.value, round(found.low, 4), round(found.high, 4)
    (0.1, 0.0179, 0.4042)
    >>> proportion(0, 0).value is None
    True
    """
    if not whole:
        return Proportion(None)
    z = _two_sided(confidence)
    middle, half = 2 * part + z**2, z * math.sqrt(z**2 + 4 * part * (whole - part) / whole)
    low, high = ((middle + side) / (2 * (whole + z**2)) for side in (-half, half))
    return Proportion(part / whole, low if part else 0.0, high if part < whole else 1.0)


def compare(
    ours: tuple[int, int], others: tuple[int, int], confidence: float = 0.95
) -> tuple[Proportion, float | None]:
    """Return the ratio of two rates with its interval, and the p value of a two-proportion z test.

    Args:
        ours: number of positive rows and of all rows of the first group.
        others: the same of the second group.
        confidence: confidence of the interval.

    >>> ratio, p = compare((30, 100), (10, 100))
    >>> round(ratio.value, 2), round(ratio.low, 2), round(ratio.high, 2), round(p, 5)
    (3.0, 1.55, 5.8, 0.00041)
    """
    (a, n), (b, m) = ours, others
    if not n or not m:
        return Proportion(None), None
    pooled = (a + b) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    p_value = math.erfc(abs(a / n - b / m) / spread / math.sqrt(2)) if spread else 1.0
    if not a or not b:
        return Proportion(0.0 if b else None), p_value
    ratio = (a / n) / (b / m)
    width = _two_sided(confidence) * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    return Proportion(ratio, ratio * math.exp(-width), ratio * math.exp(width)), p_value


def _two_sided(confidence: float) -> float:
    """Return how many standard deviations around a mean hold this share of a normal distribution."""
    return -NormalDist().inv_cdf((1 - confidence) / 2)


def _corrected(p_values: Sequence[float]) -> list[float]:
    """Return the p values, corrected for their number, in their order.

    >>> _corrected([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.03]
    """
    found, least = [0.0] * len(p_values), 1.0
    falling = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    for rank, place in zip(range(len(p_values), 0, -1), falling, strict=True):
        least = min(least, p_values[place] * len(p_values) / rank)
        found[place] = least
    return found


def _label(table: pl.LazyFrame, text: str, name: str) -> pl.Expr:
    try:
        found = table.select(sql(text).alias("label"))
        dtype = found.collect_schema()["label"]
        if dtype != pl.Boolean:
            odd = found.filter(
                pl.col("label").is_not_null() & ~pl.col("label").cast(pl.Float64).is_in([0.0, 1.0])
            )
            if odd.head(1).collect(engine="streaming").height:
                raise DataError(
                    f"{name}: the label {text!r} is neither 0 and 1 nor true and false",
                    hint="write an expression that is, such as arr_delay > 15",
                )
    except (PolarsError, ValueError) as error:
        raise DataError(
            f"{name}: the label {text!r} cannot be computed: {str(error).splitlines()[0]}",
            hint=f"columns: {', '.join(table.collect_schema())}",
        ) from error
    return sql(text).cast(pl.Float64).cast(pl.Boolean)


def _grouping(
    table: pl.LazyFrame, group: str | Edges, name: str, personal: Mapping[str, Pseudonymiser]
) -> tuple[str, list[str], pl.Expr]:
    """Return the column, its bins in order (none for a column of categories), and the group of a row."""
    schema = table.collect_schema()
    column = group if isinstance(group, str) else group.column
    if column not in schema:
        raise DataError(f"{name} has no column {column!r}", hint=f"columns: {', '.join(schema)}")
    if isinstance(group, str):
        if schema[column].is_nested() or schema[column] == pl.Binary:
            raise DataError(
                f"{name}: {column} is {schema[column]}: rows cannot be grouped by it",
                hint="group by a column of text, numbers, booleans or dates",
            )
        values = pl.col(literal_name(column))
        if column in personal:
            values = values.map_batches(
                personal[column].hide_series, return_dtype=pl.String, is_elementwise=True
            )
        return column, [], values.cast(pl.String).fill_null(_MISSING)
    if not schema[column].is_numeric():
        raise DataError(
            f"{name}: {column} is {schema[column]}: edges divide numbers only",
            hint="list it without edges",
        )
    bins = [f"below {group.edges[0]:g}"]
    bins += [f"{low:g} to {high:g}" for low, high in zip(group.edges, group.edges[1:], strict=False)]
    bins += [f"{group.edges[-1]:g} and more"]
    values, chosen = pl.col(literal_name(column)).cast(pl.Float64).fill_nan(None), pl.lit(bins[0])
    for edge, label in zip(group.edges, bins[1:], strict=True):
        chosen = pl.when(values >= edge).then(pl.lit(label)).otherwise(chosen)
    return column, bins, pl.when(values.is_null()).then(pl.lit(_MISSING)).otherwise(chosen)


def _counted(table: pl.LazyFrame, group: pl.Expr, order: list[str], label: pl.Expr) -> list[_Count]:
    """Return group, rows, labelled rows and positive rows; of very many groups, merge the smallest."""
    seen = table.select(group.alias("group"), label.alias("label"))
    counted = seen.group_by("group").agg(pl.len(), pl.col("label").count().alias("n"), pl.col("label").sum())
    found = sorted(counted.collect(engine="streaming").rows(), key=lambda row: (-row[1], row[0]))
    if order:
        found.sort(key=lambda row: order.index(row[0]) if row[0] in order else len(order))
    kept, rest = found[:_MOST_GROUPS], found[_MOST_GROUPS:]
    if rest:
        kept.append((f"({len(rest)} others)", *(sum(row[n] for row in rest) for n in (1, 2, 3))))
    return [(text, int(rows), int(n), int(positive)) for text, rows, n, positive in kept]


def _group(count: _Count, whole: tuple[int, int, int], config: BiasConfig) -> Group:
    text, rows, labelled, positive = count
    others = (whole[2] - positive, whole[1] - labelled)
    ratio, p_value = compare((positive, labelled), others, config.confidence)
    small = labelled < config.min_rows
    verdict: Verdict = "too small" if small else "only group" if p_value is None else "alike"
    return Group(
        group=text,
        rows=rows,
        share=proportion(rows, whole[0], config.confidence),
        labelled=labelled,
        positive=positive,
        rate=proportion(positive, labelled, config.confidence),
        ratio=ratio,
        p_value=None if small else p_value,
        q_value=None,
        verdict=verdict,
    )


def _judged(group: Group, q_value: float | None, config: BiasConfig) -> Group:
    if q_value is None:
        return group
    # No positive row among the others: the ratio is infinite.
    ratio = group.ratio.value if group.ratio.value is not None else (math.inf if group.positive else 1.0)
    verdict = group.verdict
    if q_value < 1 - config.confidence:
        if ratio > config.tolerance:
            verdict = "higher"
        elif ratio < 1 / config.tolerance:
            verdict = "lower"
    return replace(group, q_value=q_value, verdict=verdict)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
