"""Judges whether features are older than is allowed: in the answers, and as the online store has them.

A row is served without a view's values where these are older than its time to live. Beside that, the newest
value of each view is looked at as of the window's latest request: a view whose source stands still is stale
before anybody asks for its keys, and one without a time to live is as old as a monitor declares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import polars as pl

from tidemill.errors import FeatureError
from tidemill.features.feature_status import feature_status
from tidemill.features.online.view_freshness import ViewFreshness
from tidemill.monitoring.drift.chance import above_limit
from tidemill.monitoring.example_predictions import worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import StalenessConfig
from tidemill.monitoring.windows.window_rows import WindowRows

__all__ = ["judge", "overdue"]

_EXPIRED = "expired:"


def judge(window: WindowRows, config: StalenessConfig) -> Judged:
    """Count the flags ``expired:<view>`` of the rows of all versions, and look how old views are.

    Raises:
        ConfigError: the project has no feature store.
    """
    window.project.require_store()
    rows = window.only(("flags", "at")).rows
    flags = rows.select("prediction_id", pl.col("flags").alias("flag")).explode("flag")
    expired = flags.filter(pl.col("flag").str.starts_with(_EXPIRED)).with_columns(
        view=pl.col("flag").str.strip_prefix(_EXPIRED)
    )
    counts = dict(expired["view"].value_counts(sort=True).iter_rows())
    shares = {str(view): count / rows.height for view, count in counts.items()}
    in_rows = [
        view for view, share in shares.items() if above_limit(share, config.share, rows.height, len(shares))
    ]
    views, warnings = _views(window, rows["at"].max(), config)
    late = overdue(views, config.max_age)
    stale = list(dict.fromkeys([*in_rows, *late]))
    brought = [view.view for view in views if view.state == "request"]
    worst = max(shares.items(), key=lambda pair: pair[1], default=None)
    figure = (
        "no row had expired values"
        if worst is None
        else f"{worst[0]} had expired in {worst[1]:.1%} of the rows"
    )
    ids = rows["prediction_id"]
    odd = ids.is_in(expired.filter(pl.col("view").is_in(in_rows))["prediction_id"].implode())
    details = {"share": config.share, "views": shares, "about": stale, "faults": stale, "overdue": late}
    said = [f"{view} in {shares[view]:.1%} of the rows" for view in in_rows]
    said += [f"{view}, {told}" for view, told in late.items()]
    message = f"features were older than their view allows (alert at {config.share:.1%}): {'; '.join(said)}"
    return Judged(
        found=(Finding("staleness", message, details),) if stale else (),
        results={"staleness": details | {"newest": [_as_json(view) for view in views]}},
        said=f"{figure}, alert at {config.share:.1%}"
        + "".join(f"; {each} is overdue" for each in late)
        + "".join(f"; {each} is left out, as it comes in the request" for each in brought),
        examples={"staleness": worst_ids(ids, odd.cast(pl.Float64) if in_rows else None)},
        warnings=warnings,
    )


def overdue(views: Sequence[ViewFreshness], allowed: Mapping[str, timedelta]) -> dict[str, str]:
    """Return the views whose newest value is too old, and in words how old.

    >>> hour = 3600.0
    >>> view = ViewFreshness("weather", "fresh", 3, datetime(2013, 1, 1), 9 * hour, None, 0.0, None)
    >>> overdue([view], {"weather": timedelta(hours=6)}), overdue([view], {})
    ({'weather': 'whose newest value was 9:00:00 old (6:00:00 allowed)'}, {})
    """
    found = {}
    for view in views:
        limits = [view.ttl_seconds] if view.ttl_seconds else []
        if view.view in allowed:
            limits.append(allowed[view.view].total_seconds())
        if view.age_seconds is not None and limits and view.age_seconds > min(limits):
            age, limit = (timedelta(seconds=round(each)) for each in (view.age_seconds, min(limits)))
            found[view.view] = f"whose newest value was {age} old ({limit} allowed)"
    return found


def _views(
    window: WindowRows, at: object, config: StalenessConfig
) -> tuple[list[ViewFreshness], tuple[str, ...]]:
    """Return how old the views were at a moment, and what to warn of."""
    assert isinstance(at, datetime)
    try:
        views = feature_status(window.project, at)
    except FeatureError as error:
        return [], (f"staleness: how old the views are cannot be read: {error}",)
    where = f"monitoring/monitors.yaml: monitor {window.monitor.name!r}: staleness.max_age"
    told = {name: f"the service reads no view {name}" for name in sorted(config.max_age)}
    told |= {view.view: _no_age(view) for view in views if view.view in told}
    return views, tuple(f"{where}: {each}" for each in told.values() if each)


def _no_age(view: ViewFreshness) -> str:
    """Return why a view has no age; empty if it has one."""
    if view.state == "request":
        return f"{view.view} comes in the request by features.from, and has no age: remove it"
    if view.age_seconds is None:
        return f"the online store has no value of {view.view}, or cannot say how old it is"
    return ""


def _as_json(view: ViewFreshness) -> dict[str, object]:
    found = asdict(view)
    return {name: found[name] for name in ("view", "state", "age_seconds", "ttl_seconds")}
