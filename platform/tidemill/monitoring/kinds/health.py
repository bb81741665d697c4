"""Judges the service itself: latency, answers without a part of the platform, and refused requests."""

from dataclasses import asdict

import polars as pl

from tidemill.monitoring.drift.chance import above_limit
from tidemill.monitoring.example_predictions import worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import HealthConfig
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted
from tidemill.serving.observability.request_counts import RequestCounts

__all__ = ["judge", "judge_requests"]

_SLOWEST = 0.01
_FALLBACK = "fallback:"


def judge(window: WindowRows, config: HealthConfig) -> Judged:
    """Count slow answers and those with a flag ``fallback:…``, of all versions, and refused requests."""
    rows = window.only(("milliseconds", "flags")).rows
    took = rows["milliseconds"].fill_null(0.0)
    p99 = float(took.quantile(1 - _SLOWEST) or 0.0)
    slow = float((took > config.p99_ms).mean() or 0.0)  # type: ignore[arg-type]
    flags = rows.select(
        pl.col("flags").list.eval(pl.element().filter(pl.element().str.starts_with(_FALLBACK)))
    ).to_series()
    fallbacks = float((flags.list.len().fill_null(0) > 0).mean() or 0.0)  # type: ignore[arg-type]
    said, odd = [], pl.repeat(0.0, rows.height, eager=True)
    if above_limit(slow, _SLOWEST, rows.height, 3):
        said.append(f"one answer in a hundred took {p99:.0f} ms or longer (alert at {config.p99_ms:g} ms)")
        odd = odd + took / max(float(took.max() or 0.0), 1.0) * (took > config.p99_ms)  # type: ignore[arg-type]
    if above_limit(fallbacks, config.fallbacks, rows.height, 3):
        odd = odd + (flags.list.len().fill_null(0) > 0).cast(pl.Float64)
        counts = flags.explode().drop_nulls().value_counts(sort=True)
        named = ", ".join(f"{name} {count:,}" for name, count in counts.iter_rows())
        said.append(
            f"{fallbacks:.1%} of the answers were made without a part of the platform "
            f"(alert at {config.fallbacks:.1%}): {named}"
        )
    if (refusals := judge_requests(window.requests, config)) is not None:
        said.append(refusals)
    figure = f"p99 {p99:.3g} ms of {config.p99_ms:g}; fallbacks {fallbacks:.1%} of {config.fallbacks:.1%}"
    details = {"p99_ms": p99, "slow": slow, "fallbacks": fallbacks, "limits": config.model_dump()}
    if window.requests is not None:
        details["requests"] = asdict(window.requests)
        figure += f"; refused {_refused(window.requests):.1%} of {config.refused:.1%}"
    return Judged(
        found=(Finding("health", "; ".join(said), details),) if said else (),
        results={"health": details},
        examples={"health": worst_ids(rows["prediction_id"], odd)},
        said=figure,
    )


def judge_requests(requests: RequestCounts | None, config: HealthConfig) -> str | None:
    """Return in words that too many requests got no predictions, or None.

    >>> judge_requests(RequestCounts(500, {"malformed": 60, "overloaded": 15}), HealthConfig())
    '15.0% of 500 requests got no predictions (alert at 5.0%): malformed 60, overloaded 15'
    >>> judge_requests(RequestCounts(500, {"malformed": 27}), HealthConfig())
    """
    if requests is None or not above_limit(_refused(requests), config.refused, requests.requests, 3):
        return None
    by_kind = sorted(requests.refused.items(), key=lambda pair: -pair[1])
    return (
        f"{_refused(requests):.1%} of {counted(requests.requests, 'request')} got no predictions "
        f"(alert at {config.refused:.1%}): {', '.join(f'{kind} {count:,}' for kind, count in by_kind)}"
    )


def _refused(requests: RequestCounts) -> float:
    return sum(requests.refused.values()) / max(requests.requests, 1)
