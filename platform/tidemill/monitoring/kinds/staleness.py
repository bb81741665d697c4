"""Judges how many rows were served without a view's values because these were older than its time to live."""

import polars as pl

from tidemill.monitoring.drift.chance import above_limit
from tidemill.monitoring.example_predictions import worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import StalenessConfig
from tidemill.monitoring.windows.window_rows import WindowRows

__all__ = ["judge"]

_EXPIRED = "expired:"


def judge(window: WindowRows, config: StalenessConfig) -> Judged:
    """Count the flags ``expired:<view>`` of the rows of all versions.

    Raises:
        ConfigError: the project has no feature store.
    """
    window.project.require_store()
    rows = window.only(("flags",)).rows
    flags = rows.select("prediction_id", pl.col("flags").alias("flag")).explode("flag")
    expired = flags.filter(pl.col("flag").str.starts_with(_EXPIRED)).with_columns(
        view=pl.col("flag").str.strip_prefix(_EXPIRED)
    )
    counts = dict(expired["view"].value_counts(sort=True).iter_rows())
    shares = {str(view): count / rows.height for view, count in counts.items()}
    stale = [
        view for view, share in shares.items() if above_limit(share, config.share, rows.height, len(shares))
    ]
    listed = "; ".join(f"{view} in {shares[view]:.1%} of the rows" for view in stale)
    worst = max(shares.items(), key=lambda pair: pair[1], default=None)
    figure = (
        "no row had expired values"
        if worst is None
        else f"{worst[0]} had expired in {worst[1]:.1%} of the rows"
    )
    ids = rows["prediction_id"]
    odd = ids.is_in(expired.filter(pl.col("view").is_in(stale))["prediction_id"].implode()).cast(pl.Float64)
    details = {"share": config.share, "views": shares, "about": stale, "faults": stale}
    message = f"features were older than their view allows (alert at {config.share:.1%}): {listed}"
    return Judged(
        found=(Finding("staleness", message, details),) if stale else (),
        results={"staleness": details},
        said=f"{figure}, alert at {config.share:.1%}",
        examples={"staleness": worst_ids(ids, odd if stale else None)},
    )
