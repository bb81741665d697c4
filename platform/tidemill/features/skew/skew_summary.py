"""Combine the tallies of all batches into one finding for each feature. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from tidemill.features.skew.comparison import BROUGHT, COMPARED, EARLY, UNRESOLVED, BatchDifferences
from tidemill.features.skew.skew_report import Cause, DayShare, FeatureSkew

__all__ = ["summarise"]

_EXAMPLES = 3


def summarise(
    tallies: Iterable[BatchDifferences], features: Mapping[str, str], threshold: float
) -> tuple[FeatureSkew, ...]:
    """Combine the tallies of all batches: one value a feature, those that differ most first.

    Args:
        tallies: of all batches.
        features: name → view.
        threshold: share of a day's rows from which on the day counts as differing, in `FeatureSkew.since`.
    """
    tallies = list(tallies)
    counts = [each.counts for each in tallies if each.counts.width]
    differing = [frame for each in tallies for frame in each.differing]
    all_counts = pl.concat(counts).partition_by("feature", as_dict=True) if counts else {}
    all_found = pl.concat(differing).partition_by("feature", as_dict=True) if differing else {}
    skews = [
        _one(name, view, all_counts.get((name,)), all_found.get((name,)), threshold)
        for name, view in features.items()
    ]
    return tuple(sorted(skews, key=lambda skew: -skew.share))


def _one(
    name: str, view: str, counts: pl.DataFrame | None, found: pl.DataFrame | None, threshold: float
) -> FeatureSkew:
    standings: dict[str, int] = {}
    compared: dict[date, int] = {}
    for day, standing, count in (
        counts.select("day", "standing", "rows").iter_rows() if counts is not None else ()
    ):
        standings[standing] = standings.get(standing, 0) + count
        if standing == COMPARED:
            compared[day] = compared.get(day, 0) + count
    rows = standings.get(COMPARED, 0)
    by_day = dict(found.group_by("day").agg(pl.col("rows").sum()).iter_rows()) if found is not None else {}
    daily = tuple(DayShare(day, compared[day], by_day.get(day, 0)) for day in sorted(compared))
    stretch = _latest_stretch(daily, threshold)
    since = _edge(found, stretch[0], "first") if found is not None and stretch else None
    return FeatureSkew(
        feature=name,
        view=view,
        rows=rows,
        differing=sum(by_day.values()),
        share=sum(by_day.values()) / rows if rows else 0.0,
        served_null=_total(found, "served_null"),
        expected_null=_total(found, "expected_null"),
        mean_difference=_mean_difference(found),
        since=since,
        until=_edge(found, stretch[-1], "last") if found is not None and stretch else None,
        ongoing=bool(stretch) and stretch[-1] == daily[-1].day,
        or_earlier=since is not None and since == _first_compared(counts),
        causes=_causes(found) if found is not None else (),
        examples=tuple(found.sort("first")["examples"].explode().head(_EXAMPLES))
        if found is not None
        else (),
        not_comparable_yet=standings.get(EARLY, 0),
        unresolved=standings.get(UNRESOLVED, 0),
        daily=daily,
        brought=standings.get(BROUGHT, 0),
    )


def _first_compared(counts: pl.DataFrame | None) -> datetime | None:
    if counts is None:
        return None
    moment = counts.filter(pl.col("standing") == COMPARED)["first"].min()
    assert moment is None or isinstance(moment, datetime)
    return moment


def _latest_stretch(daily: Sequence[DayShare], threshold: float) -> list[date]:
    """Return the last unbroken run of days that differ by the threshold, else of days that differ at all."""
    for least in (threshold, 0.0):
        stretch: list[date] = []
        for day in reversed(daily):
            if day.differing and day.share >= least:
                stretch.insert(0, day.day)
            elif stretch:
                break
        if stretch:
            return stretch
    return []


def _edge(found: pl.DataFrame, day: date, edge: str) -> datetime:
    moments = found.filter(pl.col("day") == day)[edge]
    moment = moments.min() if edge == "first" else moments.max()
    assert isinstance(moment, datetime)
    return moment


def _total(found: pl.DataFrame | None, column: str) -> int:
    return int(found[column].sum()) if found is not None else 0


def _mean_difference(found: pl.DataFrame | None) -> float | None:
    both = _total(found, "both")
    return float(found["apart"].sum()) / both if found is not None and both else None


def _causes(found: pl.DataFrame) -> tuple[Cause, ...]:
    merged = (
        found.group_by("cause", "origin")
        .agg(
            pl.col("rows").sum(),
            pl.col("lag", "newest").max(),
            pl.col("first", "known").min(),
            versions=pl.col("versions").explode().unique().sort(),
        )
        .sort(["rows", "cause"], descending=[True, False])
    )
    return tuple(
        Cause(each["cause"], each["rows"], each["origin"], _evidence(each))
        for each in merged.iter_rows(named=True)
    )


def _evidence(cause: Mapping[str, object]) -> str:
    view, lag, newest = cause["origin"], cause["lag"], cause["newest"]
    behind = f", up to {_length(lag)} older than the newest known then" if isinstance(lag, timedelta) else ""
    upto = f"; nothing newer than {newest:%Y-%m-%d %H:%M} was served" if isinstance(newest, datetime) else ""
    versions = cause["versions"]
    which = ", ".join(map(str, versions)) if isinstance(versions, list) else ""
    name = str(cause["cause"])
    return f"{name}: " + {
        "stale materialisation": f"the online store had an earlier row of {view}{behind}{upto}",
        "late data": f"an earlier row of {view} was served{behind}, while newer rows of other keys were; or "
        "the row says itself that it was written later",
        "expired": f"what the online store had of {view} was past the TTL, a training set has a valid row",
        "missing": f"the online store had nothing of {view} for the key, a training set has a valid row",
        "from the future": f"the online store's row of {view} is from after the moment of the prediction",
        "transformation changed": f"{view} computes or writes it differently: its inputs, or most of the "
        "rest of its row, agree",
        "definition changed": f"version {which} was trained on other definitions than those applied now",
    }.get(name, f"the served values are in no row that {view} has for the key up to then")


def _length(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    for size, unit in ((1440, "d"), (60, "h")):
        if minutes >= 2 * size:
            return f"{minutes / size:.3g} {unit}"
    return f"{minutes} min"
