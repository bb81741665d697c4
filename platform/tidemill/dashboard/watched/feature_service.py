"""Says how fresh a feature was and whether it was served as training would see it, by the record of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidemill.dashboard.watched.metric_words import number_in

__all__ = ["Freshness", "Skew", "freshness_in", "skew_in"]


@dataclass(frozen=True)
class Skew:
    """What was served beside what training would see."""

    at: datetime
    view: str | None
    """The feature view that the feature is of."""
    rows: int
    """Those that could be compared."""
    share: float | None
    """Of those, the ones that differ."""
    threshold: float | None
    waiting: int
    """Rows that cannot be compared yet."""
    reaches: str | None
    """The newest row of the view in the offline store."""
    brought: int = 0
    """Rows whose request brought the value, or one that it is computed from."""


@dataclass(frozen=True)
class Freshness:
    """How old the newest value of the feature's view was."""

    at: datetime
    view: str
    state: str
    age_seconds: float | None
    ttl_seconds: float | None
    expired: float | None
    """Share of the window's rows that were served without it because it was too old."""


def skew_in(run: Any, feature: str) -> Skew | None:
    """Return a feature's skew as a run measured it; None if it did not."""
    found = run.results.get("feature_skew")
    if not isinstance(found, Mapping):
        return None
    for each in found.get("features") or ():
        if each.get("feature") == feature:
            view, rows = each.get("view"), int(each.get("rows") or 0)
            share = number_in(each, "share")
            if share is None and rows:
                share = (number_in(each, "differing") or 0.0) / rows
            return Skew(
                run.at,
                view,
                rows,
                share,
                number_in(found, "threshold"),
                int(each.get("not_comparable_yet") or 0),
                (found.get("reaches") or {}).get(view),
                int(each.get("brought") or 0),
            )
    return None


def freshness_in(run: Any, skew: Skew | None) -> Freshness | None:
    """Return how fresh a feature's view was at a run; None if it did not look, or the view is not known."""
    found = run.results.get("staleness")
    if not isinstance(found, Mapping) or skew is None or skew.view is None:
        return None
    expired = number_in(found.get("views") or {}, skew.view)
    for each in found.get("newest") or ():
        if each.get("view") == skew.view:
            ages = number_in(each, "age_seconds"), number_in(each, "ttl_seconds")
            return Freshness(run.at, skew.view, str(each.get("state")), *ages, expired)
    return None
