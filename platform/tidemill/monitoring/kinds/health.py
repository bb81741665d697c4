"""Judges the service itself: latency, and answers that had to do without a part of the platform."""

import polars as pl

from tidemill.monitoring.drift.chance import above_limit
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import HealthConfig
from tidemill.monitoring.windows.window_rows import WindowRows

__all__ = ["judge"]

_SLOWEST = 0.01
_FALLBACK = "fallback:"


def judge(window: WindowRows, config: HealthConfig) -> Judged:
    """Count slow answers and those with a flag ``fallback:…``, of all versions."""
    rows = window.only(("milliseconds", "flags")).rows
    took = rows["milliseconds"].fill_null(0.0)
    p99 = float(took.quantile(1 - _SLOWEST) or 0.0)
    slow = float((took > config.p99_ms).mean() or 0.0)  # type: ignore[arg-type]
    flags = rows.select(
        pl.col("flags").list.eval(pl.element().filter(pl.element().str.starts_with(_FALLBACK)))
    ).to_series()
    fallbacks = float((flags.list.len().fill_null(0) > 0).mean() or 0.0)  # type: ignore[arg-type]
    said = []
    if above_limit(slow, _SLOWEST, rows.height, 2):
        said.append(f"one answer in a hundred took {p99:.0f} ms or longer (alert at {config.p99_ms:g} ms)")
    if above_limit(fallbacks, config.fallbacks, rows.height, 2):
        counts = flags.explode().drop_nulls().value_counts(sort=True)
        named = ", ".join(f"{name} {count:,}" for name, count in counts.iter_rows())
        said.append(
            f"{fallbacks:.1%} of the answers were made without a part of the platform "
            f"(alert at {config.fallbacks:.1%}): {named}"
        )
    details = {"p99_ms": p99, "slow": slow, "fallbacks": fallbacks, "limits": config.model_dump()}
    return Judged(
        found=(Finding("health", "; ".join(said), details),) if said else (),
        results={"health": details},
        said=f"p99 {p99:.3g} ms of {config.p99_ms:g}; fallbacks {fallbacks:.1%} of {config.fallbacks:.1%}",
    )
