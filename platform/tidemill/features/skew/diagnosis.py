"""Find out why a served feature differs from the training value, from the history of its key. Pure.

The evidence for each cause; the first that applies is taken:

- ``from the future``: the row was flagged so: the online store held a value from after its moment.
- ``expired``, ``missing``: it was flagged so in serving, and yet a training set has a value.
- ``late data``: an earlier row of the same key was served although by then newer rows of *other* keys had
  been; or the row that should have been served says in its created timestamp that it was written later.
- ``stale materialisation``: an earlier row of the same key was served, and nothing newer of any key.
- ``definition changed``: the version was trained on other definitions than those applied now.
- ``transformation changed``: what the feature is computed from agrees, or the other features of its row do.
- ``unknown``: none of these.

A feature of an on-demand view has the cause of its input, if one of its inputs differs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.data.tables.list_elements import known_elements
from tidemill.features.offline.asof import History, point_in_time_join, utc_moments
from tidemill.features.skew.comparable_values import as_number, is_list, is_text
from tidemill.features.skew.provenance import OnDemandSource, Provenance, Source

__all__ = [
    "Diagnosis",
    "OnDemandSource",
    "explain_computed",
    "explain_view",
    "is_behind",
    "served_column",
]

_MOMENT = pl.Datetime("us", "UTC")
_EVENT, _CHANGED, _CREATED, _TUPLE = "__event", "__changed", "__made", "__tuple"


@dataclass(frozen=True)
class Diagnosis:
    """Why the rows of a batch differ; null in those that do not."""

    causes: pl.DataFrame
    """One column of cause names a feature."""
    view: pl.Series
    """The feature view where it comes from."""
    known: pl.Series
    """Event time of the row that a training set has."""
    served: pl.Series
    """Event time of the row that was served."""

    def of_row(self) -> pl.Series:
        """Return one cause a row: that of its first differing feature."""
        return self.causes.select(pl.coalesce(pl.all()).alias("cause"))["cause"]


def served_column(name: str) -> str:
    """Return the column with what was served of a feature.

    >>> served_column("wind")
    'feature.wind'
    """
    return f"feature.{name}"


def explain_view(rows: pl.DataFrame, source: Source, differs: pl.DataFrame, compared: pl.Series) -> Diagnosis:
    """Explain the differences in the features of one view that has a history.

    Args:
        rows: as in `tidemill.features.skew.comparison.compare_batch`.
        source: the view.
        differs: a column of booleans a feature.
        compared: which rows can be compared.
    """
    any_differs = differs.select(pl.any_horizontal(pl.all()).alias("any"))["any"]
    history, asked = _history(source.history, rows, source.features), _asked(rows, source)
    expected = point_in_time_join(asked, "at", [_expected(source.history, history)])
    served = point_in_time_join(asked.filter(any_differs), "at", [_served(source.history, history)])
    event = pl.Series("served", [None] * rows.height, dtype=_MOMENT)
    event = event.scatter(any_differs.arg_true(), served["served"].cast(_MOMENT))
    facts = rows.select("at", "served_at", "flags").with_columns(
        expected["known"].cast(_MOMENT), expected["made"].cast(_MOMENT), event
    )
    agreeing = compared & ~any_differs & expected["changed"]
    facts = facts.with_columns(_fresh(facts["at"], facts["known"], agreeing))
    of_row = facts.select(_cause_of_row(source.name).alias("cause"))["cause"]
    return Diagnosis(
        causes=rows.select(
            pl.when(pl.lit(differs[name])).then(_of_feature(name, differs, of_row)).alias(name)
            for name in differs.columns
        ),
        view=pl.select(pl.when(pl.lit(any_differs)).then(pl.lit(source.name)).alias("view"))["view"],
        known=facts["known"],
        served=facts["served"],
    )


def is_behind(rows: pl.DataFrame, source: Source) -> pl.Series:
    """Return which rows got an older value than the newest of their key, or none where there is one."""
    history, asked = _history(source.history, rows, source.features), _asked(rows, source)
    known = point_in_time_join(asked, "at", [_expected(source.history, history)])["known"]
    served = point_in_time_join(asked, "at", [_served(source.history, history)])["served"]
    missing = rows.select(pl.col("flags").list.contains(f"missing:{source.name}"))["flags"]
    return ((served < known) | (missing & known.is_not_null())).fill_null(False)


def _asked(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Return moment, keys and a hash of what was served of a view."""
    return rows.select(
        pl.col("at"),
        pl.col("^key\\..*$"),
        _fingerprint([(_as_stored(n), rows.schema[served_column(n)]) for n in source.features]),
    )


def _fresh(at: pl.Series, known: pl.Series, agreeing: pl.Series) -> pl.Series:
    """Return the newest event time that was served by each row's moment, of any key.

    Only rows that differ from their key's previous row count: equal rows look the same.
    """
    frame = pl.DataFrame([at.alias("at"), known.alias("known"), agreeing.alias("agreeing")])
    frame = frame.with_columns(pl.when("agreeing").then("known").cum_max().forward_fill().alias("fresh"))
    return frame.select(pl.col("fresh").max().over("at"))["fresh"]


def explain_computed(
    rows: pl.DataFrame,
    view: OnDemandSource,
    differs: pl.DataFrame,
    explained: Mapping[str, Diagnosis],
    origins: Provenance,
) -> Diagnosis:
    """Explain the differences in the features of an on-demand view: by its inputs, else by itself.

    Args:
        rows: as in `tidemill.features.skew.comparison.compare_batch`.
        view: the on-demand view.
        differs: a column of booleans a feature.
        explained: of the views with a history, those that differ.
        origins: tells which of its inputs are in the log.
    """
    inputs = [explained[name] for name in view.reads if name in explained]
    observed = all(source.features for source in origins.sources if source.name in view.reads)
    flagged = [
        pl.when(pl.col("flags").list.contains(f"{flag}:{source.name}")).then(pl.lit(cause))
        for source in origins.sources
        if source.name in view.reads and not source.features
        for flag, cause in _FLAGS.items()
    ]
    own = (
        pl.when(pl.lit(not observed) & ~pl.col("other_definition"))
        .then(pl.lit("unknown"))
        .when("other_definition")
        .then(pl.lit("definition changed"))
        .otherwise(pl.lit("transformation changed"))
    )
    inherited = pl.coalesce(pl.lit(_first(rows, pl.String(), [each.of_row() for each in inputs])), *flagged)
    return Diagnosis(
        causes=rows.select(
            pl.when(pl.lit(differs[name])).then(pl.coalesce(inherited, own)).alias(name)
            for name in differs.columns
        ),
        view=_first(rows, pl.String(), [each.view for each in inputs]).fill_null(view.name),
        known=_first(rows, _MOMENT, [each.known for each in inputs]),
        served=_first(rows, _MOMENT, [each.served for each in inputs]),
    )


def _first(rows: pl.DataFrame, dtype: pl.DataType, columns: Sequence[pl.Series]) -> pl.Series:
    """Return for each row the first of ``columns`` that is not null."""
    none = pl.Series("value", [None] * rows.height, dtype=dtype)
    return pl.select(pl.coalesce(pl.lit(each) for each in (none, *columns)).alias("value"))["value"]


_FLAGS = {"future": "from the future", "expired": "expired", "missing": "missing"}


def _cause_of_row(view: str) -> pl.Expr:
    """Return the cause that holds for the whole row; null where only single features can show it."""
    flags = {name: pl.col("flags").list.contains(f"{name}:{view}") for name in _FLAGS}
    known, served = pl.col("known"), pl.col("served")
    replayed = (pl.col("made") - pl.col("at")).abs() < (pl.col("served_at") - pl.col("made")).abs()
    written_later = (pl.col("made") > pl.col("served_at")) | ((pl.col("made") > pl.col("at")) & replayed)
    return (
        pl.when(flags["future"])
        .then(pl.lit("from the future"))
        .when(flags["expired"] & known.is_not_null())
        .then(pl.lit("expired"))
        .when(flags["missing"] & known.is_not_null())
        .then(pl.lit("missing"))
        .when(known.is_null() & served.is_not_null())
        .then(pl.lit("expired"))
        .when(written_later | (served == known) | ((served < known) & (pl.col("fresh") >= known)))
        .then(pl.lit("late data"))
        .when(served < known)
        .then(pl.lit("stale materialisation"))
    )


def _of_feature(name: str, differs: pl.DataFrame, of_row: pl.Series) -> pl.Expr:
    """Return the cause for one feature: that of the row, else one inferred from the row's other features."""
    others = [other for other in differs.columns if other != name]
    has_value = [pl.col(f"expected.{other}").is_not_null() for other in others]
    agreeing = [value & ~pl.lit(differs[other]) for other, value in zip(others, has_value, strict=True)]
    most = pl.sum_horizontal(pl.lit(0), *agreeing) * 2 > pl.sum_horizontal(pl.lit(0), *has_value)
    return pl.coalesce(
        pl.lit(of_row),
        pl.when("other_definition").then(pl.lit("definition changed")),
        pl.when(most).then(pl.lit("transformation changed")),
        pl.lit("unknown"),
    )


def _history(history: History, rows: pl.DataFrame, features: Sequence[str]) -> pl.LazyFrame:
    """Return the relevant part of a history: event time, hash of the values, whether they changed then."""
    schema = history.values.collect_schema()
    event = utc_moments(history.timestamp, schema[history.timestamp], "us")
    last = rows["at"].max()
    values = history.values.filter(event <= pl.lit(last, _MOMENT))
    if history.ttl:
        values = values.filter(event >= pl.lit(rows["at"].min(), _MOMENT) - pl.lit(3 * history.ttl))
    columns = {new: old for old, new in history.features.items()}
    made = (
        utc_moments(history.created, schema[history.created], "us")
        if history.created
        else pl.lit(None, _MOMENT)
    )
    needed = [*history.keys, history.timestamp, *([history.created] if history.created else [])]
    values = values.select(
        *map(literal_name, dict.fromkeys(needed)),
        event.alias(_EVENT),
        made.alias(_CREATED),
        _fingerprint([(pl.col(literal_name(columns[n])), schema[columns[n]]) for n in features]),
    ).sort(_EVENT, _CREATED, nulls_last=False, maintain_order=True)
    before = pl.col(_TUPLE).shift(1)
    if history.keys:
        before = before.over(literal_names(history.keys))
    return values.with_columns(pl.col(_TUPLE).ne_missing(before).alias(_CHANGED))


def _expected(history: History, values: pl.LazyFrame) -> History:
    features = {_EVENT: "known", _CHANGED: "changed", _CREATED: "made"}
    return replace(history, values=values, keys=_prefixed(history.keys), features=features)


def _served(history: History, values: pl.LazyFrame) -> History:
    keys = {**_prefixed(history.keys), _TUPLE: _TUPLE}
    return replace(history, values=values, keys=keys, features={_EVENT: "served"}, ttl=None)


def _prefixed(keys: Mapping[str, str]) -> dict[str, str]:
    return {column: f"key.{name}" for column, name in keys.items()}


def _as_stored(name: str) -> pl.Expr:
    """Return the stored value, before a default replaced None."""
    value = pl.col(served_column(name))
    return pl.when(~pl.col("flags").list.contains(f"default:{name}")).then(value)


def _fingerprint(values: Sequence[tuple[pl.Expr, pl.DataType]]) -> pl.Expr:
    """Hash values, given with their types, independently of the precision in which a store keeps numbers."""
    plain = [(_plain(value, dtype)).alias(f"v{index}") for index, (value, dtype) in enumerate(values)]
    return pl.struct(plain).hash(seed=0).alias(_TUPLE)


def _plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if is_text(dtype):
        return value.cast(pl.String)
    if is_list(dtype):
        return known_elements(value.cast(pl.List(pl.Float32)))
    return as_number(value, dtype).cast(pl.Float32).fill_nan(None)
