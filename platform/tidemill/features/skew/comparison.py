"""Compare served features with those that a training set would hold (training–serving skew). Pure.

Works on frames only, without Feast, prediction log or files. A batch becomes `BatchDifferences`;
those of all batches become findings (`tidemill.features.skew.skew_summary`). So a log of any length is
compared in the memory of one batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.features.request_features import REQUEST
from tidemill.features.skew.comparable_values import as_comparable_rows, distance, is_list, is_text
from tidemill.features.skew.diagnosis import (
    Diagnosis,
    OnDemandSource,
    explain_computed,
    explain_view,
    is_behind,
    served_column,
)
from tidemill.features.skew.provenance import Provenance, Source

__all__ = ["BROUGHT", "COMPARED", "EARLY", "UNRESOLVED", "BatchDifferences", "compare_batch", "differences"]

_ABSOLUTE = 1e-12  # two floats this close to zero are zero
_EXAMPLES = 3
BROUGHT, COMPARED, EARLY, UNRESOLVED = "brought", "compared", "early", "unresolved"
"""Whether a row can be compared; ``early``: it is later than the newest row in the offline store;
``brought``: the request brought the value, or one that it is computed from: there is nothing to compare."""


@dataclass(frozen=True)
class BatchDifferences:
    """The counts and differences of one batch."""

    counts: pl.DataFrame
    """``feature``, ``view``, ``day``, ``standing``, ``rows``, ``first`` (moment)."""
    differing: tuple[pl.DataFrame, ...]
    """For each feature that differs: a row a day, cause and view."""


def differences(rows: pl.DataFrame, features: Iterable[str], tolerance: float) -> pl.DataFrame:
    """Return for each row and feature whether the served value differs from the expected one.

    Args:
        rows: ``feature.<name>`` (served) and ``expected.<name>``.
        features: names.
        tolerance: largest relative difference of two equal values. A value always differs from a
            missing one; two missing values are equal; NaN counts as missing.

    >>> rows = pl.DataFrame({"feature.wind": [1.0, 1.0, None], "expected.wind": [1.0 + 1e-9, 1.1, 3.0]})
    >>> differences(rows, ["wind"], 1e-6)["wind"].to_list()
    [False, True, True]
    """
    return rows.select(_differing(rows, name, tolerance).alias(name) for name in features)


def compare_batch(
    rows: pl.DataFrame, origins: Provenance, tolerance: float, skip: Iterable[str] = ()
) -> BatchDifferences:
    """Compare one batch.

    Args:
        rows: sorted by ``at``; ``prediction_id``, ``version``, ``at``, ``served_at``, ``flags``,
            ``other_definition`` (whether the version was trained on other definitions than those applied
            now), ``key.<name>`` of each join key and request field, ``unresolved`` (list of those whose
            pseudonym is unknown), ``feature.<name>`` and ``expected.<name>``.
        origins: the views and sources of the features.
        tolerance: as for `differences`.
        skip: features that are not compared.
    """
    left_out = frozenset(skip)
    rows = as_comparable_rows(rows, [name for name in origins.features if name not in left_out])
    days = rows["at"].dt.date().alias("day")
    counts: list[pl.DataFrame] = []
    found: list[pl.DataFrame] = []
    explained: dict[str, Diagnosis] = {}
    early: dict[str, pl.Series] = {}
    for source in origins.views:
        features = [name for name in source.features if name not in left_out]
        early[source.name] = (
            _any_early(rows, [early[name] for name in source.reads if name in early])
            if isinstance(source, OnDemandSource)
            else _early(rows, source, origins, features, tolerance)
        )
        standing = rows.select(_standing(source, origins, early[source.name]).alias("standing"))["standing"]
        standings = {name: _of_feature(standing, rows, name, source, origins) for name in features}
        counts += _counts(days, rows["at"], standings, source.name)
        differs = differences(rows, features, tolerance).select(
            pl.col(literal_name(name)) & pl.lit(standings[name] == COMPARED) for name in features
        )
        if not features or not differs.select(pl.any_horizontal(pl.all().any())).item():
            continue
        explained[source.name] = (
            explain_computed(rows, source, differs, explained, origins)
            if isinstance(source, OnDemandSource)
            else explain_view(rows, source, differs, standing == COMPARED)
        )
        found += [
            _by_day_and_cause(rows, days, name, differs[name], explained[source.name])
            for name in features
            if differs[name].any()
        ]
    return BatchDifferences(pl.concat(counts) if counts else pl.DataFrame(), tuple(found))


def _of_feature(
    standing: pl.Series, rows: pl.DataFrame, name: str, source: Source | OnDemandSource, origins: Provenance
) -> pl.Series:
    """Return the standing of each row for one feature: that of its view, where the row did not bring it."""
    brought = _brought(rows, name, source, origins)
    if not brought.any():
        return standing
    return pl.Series("standing", [BROUGHT]).new_from_index(0, len(rows)).zip_with(brought, standing)


def _counts(
    days: pl.Series, at: pl.Series, standings: Mapping[str, pl.Series], view: str
) -> Iterator[pl.DataFrame]:
    """Yield how many rows of each feature have which standing, by day; counted once where it is the same."""
    known: dict[int, pl.DataFrame] = {}
    for name, standing in standings.items():
        if id(standing) not in known:
            known[id(standing)] = (
                pl.DataFrame([days, standing, at])
                .group_by("day", "standing")
                .agg(pl.len().alias("rows"), pl.col("at").min().alias("first"))
            )
        yield known[id(standing)].with_columns(feature=pl.lit(name), view=pl.lit(view))


def _brought(
    rows: pl.DataFrame, name: str, source: Source | OnDemandSource, origins: Provenance
) -> pl.Series:
    """Return which rows brought a feature, or one that it is computed from: the store tells nothing of it."""
    names = {name}
    if isinstance(source, OnDemandSource):
        read = [each.history for each in origins.sources if each.name in source.reads]
        names |= {feature for history in read for feature in history.features.values()}
    flags = [f"{REQUEST}:{each}" for each in names]
    return rows["flags"].list.eval(pl.element().is_in(flags)).list.any().fill_null(False)


def _differing(rows: pl.DataFrame, name: str, tolerance: float) -> pl.Expr:
    served, expected = rows[served_column(name)], rows[f"expected.{name}"]
    if is_list(served.dtype):
        apart = distance(served, expected)
        largest = expected.list.eval(pl.element().abs()).list.max().fill_null(0.0)
        differs = (apart > tolerance * largest + _ABSOLUTE).fill_null(False)
        return pl.lit(differs | (served.is_null() != expected.is_null()))
    return _words_differ(name) if is_text(served.dtype) else _differs(name, tolerance)


def _words_differ(name: str) -> pl.Expr:
    return pl.col(served_column(name)).ne_missing(pl.col(f"expected.{name}"))


def _differs(name: str, tolerance: float) -> pl.Expr:
    served, expected = (
        pl.col(served_column(name)).cast(pl.Float64).fill_nan(None),
        pl.col(f"expected.{name}").cast(pl.Float64).fill_nan(None),
    )
    room = tolerance * pl.max_horizontal(served.abs(), expected.abs()) + _ABSOLUTE
    close = ((served - expected).abs() <= room) & room.is_finite()
    apart = (served != expected) & ~close
    return apart.fill_null(False) | (served.is_null() != expected.is_null())


def _early(
    rows: pl.DataFrame, source: Source, origins: Provenance, features: Sequence[str], tolerance: float
) -> pl.Series:
    """Return which rows are so late that the store may not know yet what training will see.

    Where no view has a TTL, nothing but its newest row tells how far the store reaches, and that may be years
    ago. There what was served tells: the newest value of the key is no skew so far, and an older one is,
    whatever else comes.
    """
    end = origins.end_of(source)
    late = rows["at"] > end if end is not None else rows["at"].is_null()
    if origins.has_ttl or not features or not late.any():
        return late
    asked = rows.filter(late)
    agrees = ~differences(asked, features, tolerance).select(pl.any_horizontal(pl.all()).alias("any"))["any"]
    return late.scatter(late.arg_true(), ~(agrees | is_behind(asked, source)))


def _any_early(rows: pl.DataFrame, early: Sequence[pl.Series]) -> pl.Series:
    """Return which rows are too late for one of the views that a view computes from."""
    return rows.select(pl.any_horizontal(pl.lit(False), *map(pl.lit, early)).alias("early"))["early"]


def _standing(source: Source | OnDemandSource, origins: Provenance, early: pl.Series) -> pl.Expr:
    """Return whether a row can be compared, and if not, why not."""
    unresolved = pl.any_horizontal(
        pl.lit(False), *(pl.col("unresolved").list.contains(key) for key in origins.keys_of(source))
    )
    return (
        pl.when(unresolved)
        .then(pl.lit(UNRESOLVED))
        .when(pl.lit(early))
        .then(pl.lit(EARLY))
        .otherwise(pl.lit(COMPARED))
    )


def _by_day_and_cause(
    rows: pl.DataFrame, days: pl.Series, name: str, differs: pl.Series, explained: Diagnosis
) -> pl.DataFrame:
    served, expected = pl.col(served_column(name)), pl.col(f"expected.{name}")
    dtype = rows.schema[served_column(name)]
    apart = (served - expected).abs()
    if is_text(dtype):
        apart = pl.lit(None, pl.Float64)
    elif is_list(dtype):
        apart = pl.lit(distance(rows[served_column(name)], rows[f"expected.{name}"]))
    default = pl.col("flags").list.contains(f"default:{name}")
    frame = rows.select(
        "prediction_id",
        "at",
        "version",
        days,
        served_null=served.is_null() | default,
        expected_null=expected.is_null(),
        apart=apart,
        cause=explained.causes[name],
        origin=explained.view,
        known=explained.known,
        served_event=explained.served,
    ).filter(differs)
    return (
        frame.group_by("day", "cause", "origin", maintain_order=True)
        .agg(
            pl.len().alias("rows"),
            pl.col("served_null").sum(),
            pl.col("expected_null").sum(),
            both=pl.col("apart").count(),
            apart=pl.col("apart").sum(),
            first=pl.col("at").min(),
            last=pl.col("at").max(),
            lag=(pl.col("known") - pl.col("served_event")).max(),
            newest=pl.col("served_event").max(),
            known=pl.col("known").min(),
            examples=pl.col("prediction_id").head(_EXAMPLES),
            versions=pl.col("version").unique(),
        )
        .with_columns(feature=pl.lit(name))
    )
