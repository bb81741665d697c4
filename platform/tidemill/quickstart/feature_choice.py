"""Decides which columns are features, and why the others are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import polars as pl

from tidemill.data.profiling.leakage import Kind, find_leaks
from tidemill.data.profiling.table_profile import ColumnProfile, TableProfile
from tidemill.data.tables.column_names import is_pattern
from tidemill.errors import DataError
from tidemill.project.feature_columns import ColumnType, Unseen
from tidemill.quickstart.init_options import Ask
from tidemill.quickstart.invented_examples import invented
from tidemill.quickstart.target_choice import TargetChoice
from tidemill.quickstart.time_and_key import TimeChoice, moments_of

__all__ = ["FeatureChoice", "Features", "as_field", "choose_features"]

_NOT_KNOWN_YET = 0.5
_FREQUENT = 5
_UNSIGNED = 2**63
"""Whole numbers from which on one is of 64 bits without a sign, which its example then shows."""
_FREE_TEXT = 0.5
"""Share of distinct values above which a text is no category."""
_NO_COUNT = 1000
"""Numbers from which on those of a column that looks personal are years of birth, or numbers of persons."""


@dataclass(frozen=True)
class FeatureChoice:
    """A column that is a feature, as ``features.yaml`` declares it."""

    name: str
    type: ColumnType
    required: bool
    categories: tuple[str, ...]
    example: Any
    length: int = 0
    """Of a list: its number of elements."""
    unseen: Unseen = "unknown"
    """What happens to other texts than ``categories``."""
    personal: bool = False
    """Whether it looks personal: the prediction log holds none of its values."""


@dataclass(frozen=True)
class Features:
    """The features, and the columns that are left out."""

    chosen: tuple[FeatureChoice, ...]
    left_out: Mapping[str, str]
    """Column → the reason."""
    suspicious: Mapping[str, str]
    """Features that predict the target suspiciously well → how well."""


def choose_features(
    profile: TableProfile,
    target: TargetChoice,
    time: TimeChoice | None,
    key: str | None,
    ask: Ask,
    months: Mapping[str, str],
) -> Features:
    """Choose the features among the columns, and give the reasons why the others are left out.

    Args:
        profile: of the table.
        target: what is predicted.
        time: the moment of the prediction.
        key: what a row is about.
        ask: asks about leaks.
        months: columns of months or quarters of a year, as ``2025-01``: where rows have a time, those to come
            are all unseen.

    Raises:
        DataError: none is left.
    """
    left_out: dict[str, str] = {}
    able: list[ColumnProfile] = []
    for one in profile.columns.values():
        if one.name in (target.column, key) or (time and one.name == time.column):
            continue
        passed = "a month or quarter of one year, which no later row has" if time else None
        reason = passed if one.name in months else None
        if reason := reason or _reason_against(one) or _known_later(profile, one, time):
            left_out[one.name] = reason
        else:
            able.append(one)
    kind = cast("Kind", target.task)
    found = find_leaks(profile.sample, target.column, kind, [one.name for one in able])
    leaks = {leak.column: leak.reason for leak in found if leak.certain}
    if leaks and len(leaks) == len(able):
        leaks = {name: why for name, why in leaks.items() if not why.startswith("predicts")}
    for name, why in list(leaks.items()):
        if ask(f"leave out {name}? It {why}", ("yes", "no"), "yes") == "no":
            del leaks[name]
    left_out |= {name: f"a leak? It {why}" for name, why in leaks.items()}
    chosen = tuple(as_field(one, profile.sample) for one in able if one.name not in leaks)
    if not chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:6])
        raise DataError(
            f"no column is left as a feature of {target.column}" + (f": {reasons}" if reasons else ""),
            hint="add columns that are known before the target is",
        )
    suspicious = {leak.column: leak.reason for leak in found if leak.column not in leaks}
    return Features(chosen, left_out, suspicious)


def _reason_against(column: ColumnProfile) -> str | None:
    if is_pattern(column.name):
        return "its name reads as a pattern of names: rename it"
    if column.is_constant:
        return "always missing" if column.distinct == 0 else "one value in all rows"
    if isinstance(column.dtype, pl.List) and column.low != column.high:
        return f"lists of {column.low} to {column.high} elements: a feature has one length"
    if _type(column) is None:
        return _no_feature(column.dtype)
    if column.identifies:
        return f"looks like {column.personal}"
    if column.is_text and not column.values and column.distinct > _FREE_TEXT * column.known:
        return f"free text: {column.distinct / column.known:.0%} of its values are distinct"
    if column.looks_like_id:
        return "nearly every row has its own value" if column.is_text else "an id"
    return None


def _no_feature(dtype: pl.DataType) -> str:
    """Return why a column of such a type is no feature, and what could be made of it.

    >>> _no_feature(pl.Duration()), _no_feature(pl.List(pl.String))
    ('a duration: make it a number, as of minutes', 'a list of text: make it numbers, or a text for each')
    """
    if dtype == pl.Duration:
        return "a duration: make it a number, as of minutes"
    if dtype == pl.Time:
        return "a time of day: make it a number, as of hours"
    if dtype == pl.Binary:
        return "bytes: make them text, or a list of numbers"
    if isinstance(dtype, pl.List | pl.Array):
        of = (
            "text" if dtype.inner == pl.String else "objects" if dtype.inner.is_nested() else str(dtype.inner)
        )
        return f"a list of {of}: make it numbers, or a text for each"
    return f"of type {dtype}, which is no feature: make it a number or text"


def _known_later(profile: TableProfile, column: ColumnProfile, time: TimeChoice | None) -> str | None:
    if time is None or not column.is_moment:
        return None
    sample = profile.sample
    if not isinstance(sample.schema[time.column], pl.Datetime | pl.Date):
        return None
    both = sample.select(
        (moments_of(column.name, column.dtype) > moments_of(time.column, sample.schema[time.column])).mean()
    )
    share = both.item()
    if share is None or share < _NOT_KNOWN_YET:
        return None
    return (
        f"later than {time.column} in {share:.0%} of the rows: not known yet; if labels are known then, "
        "name it in dataset.label_known"
    )


def _type(column: ColumnProfile) -> ColumnType | None:
    if column.dtype == pl.Boolean:
        return "truth"
    if column.dtype.is_integer():
        return "integer"
    if column.dtype.is_numeric():
        return "number"
    if column.is_text:
        return "text"
    if column.is_list_of_numbers:
        return "list"
    return "moment" if column.is_moment else None


def as_field(column: ColumnProfile, sample: pl.DataFrame) -> FeatureChoice:
    """Return a column as a field of requests.

    Git keeps what is written of it: of one that looks personal that is no value of the table.

    >>> from tidemill.data.profiling.table_profile import profile_table
    >>> profile = profile_table(pl.LazyFrame({"e": [[1.0, None], [2.0, 3.0]], "f": [[1.0], [2.0]]}))
    >>> [as_field(one, profile.sample).required for one in profile.columns.values()]  # a gap inside, and none
    [False, True]
    """
    kind = _type(column)
    assert kind is not None
    beyond = kind == "integer" and column.high is not None and column.high >= _UNSIGNED
    categories = column.values if kind == "text" and column.personal is None else ()
    values = sample[column.name].alias("")
    return FeatureChoice(
        name=column.name,
        type=kind,
        required=not (column.nulls or column.gaps),
        categories=categories,
        unseen="flag" if categories and _are_all(values) else "unknown",
        example=_example(column.high if beyond else column.typical, kind)
        if column.personal is None
        else invented(column, values),
        length=column.low if kind == "list" else 0,
        personal=_is_personal(column, kind),
    )


def _is_personal(column: ColumnProfile, kind: ColumnType) -> bool:
    """Return whether a column that looks personal may name somebody: no truth, count or share does."""
    if column.personal is None or kind in ("truth", "list"):
        return False
    return kind in ("text", "moment") or bool(max(abs(column.low), abs(column.high)) >= _NO_COUNT)


def _are_all(values: pl.Series) -> bool:
    """Return whether there are hardly other values: each of those that there are is frequent."""
    fewest: Any = values.drop_nulls().unique_counts().min()
    return bool(fewest is not None and fewest >= _FREQUENT)


def _example(value: Any, kind: ColumnType) -> Any:
    if kind == "list":
        return [float(f"{one:.4g}") for one in value]
    if kind == "number":
        return float(f"{float(value):.4g}")
    if kind == "moment":
        moment = value if isinstance(value, datetime) else datetime.combine(value, datetime.min.time())
        return moment.isoformat() + ("" if moment.tzinfo else "+00:00")
    return value
