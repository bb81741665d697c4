"""Returns the figures of a run that have a threshold of their own, by the field that declares it. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = ["FIGURES", "KindFigure", "kind_figures"]

Facts = Mapping[str, Any]
KindFigure = tuple[str, float, float | None]
"""Field of the kind's section, figure, and the threshold beyond which it alarms."""
Found = Iterator[tuple[str, Any, Any]]
"""The same, as it may be on record: where nothing was measured, None."""


def kind_figures(kind: str, results: Facts) -> list[KindFigure]:
    """Return what a kind measured in a run; of several columns, slices or groups the one nearest to an alert.

    >>> kind_figures("staleness", {"staleness": {"share": 0.05, "views": {"weather": 0.2, "carrier": 0.1}}})
    [('share', 0.2, 0.05)]
    """
    measured, found = FIGURES.get(kind), results.get(kind)
    if measured is None or not isinstance(found, Mapping):
        return []
    return [
        (field, figure, limit) for field, figure, limit in measured(found) if isinstance(figure, int | float)
    ]


def _skew(found: Facts) -> Found:
    yield from _worst(
        "share", (each.get("share") or 0.0 for each in found.get("features", ())), found.get("threshold")
    )


def _rules(found: Facts) -> Found:
    shares = (max(each["share"] - (each.get("in_training") or 0.0), 0.0) for each in found.get("rules", ()))
    yield from _worst("share", shares, found.get("share"))


def _views(found: Facts) -> Found:
    yield from _worst("share", (found.get("views") or {}).values(), found.get("share"))


def _slices(found: Facts) -> Found:
    yield from _worst(
        "share", (each["share"] for each in (found.get("slices") or {}).values()), found.get("threshold")
    )


def _classifier(found: Facts) -> Found:
    yield "auc", found.get("auc"), found.get("threshold")


def _service(found: Facts) -> Found:
    limits, requests = found.get("limits") or {}, found.get("requests")
    for field in ("p99_ms", "fallbacks"):
        if field in found:
            yield field, found[field], limits.get(field)
    if requests is not None:
        yield (
            "refused",
            sum(requests["refused"].values()) / max(requests["requests"], 1),
            limits.get("refused"),
        )


def _concept(found: Facts) -> Found:
    yield "max_rise", found.get("rise"), found.get("max_rise")
    yield "explained", found.get("explained"), found.get("alert_at")


def _slice_drops(found: Facts) -> Found:
    known = [each for each in found.get("slices", ()) if None not in (each["value"], each["expected"])]
    yield from _worst("max_drop", (each["expected"] - each["value"] for each in known), found.get("max_drop"))


def _calibration(found: Facts) -> Found:
    if "coverage" in found:
        yield "max_rise", abs(found["coverage"] - found["expected"]), found.get("max_rise")
        return
    if None in (found.get("value"), found.get("chance")):
        return
    yield "max_rise", found["value"] - found["chance"], found.get("max_rise")
    if found.get("ceiling") is not None:
        yield "ceiling", found["value"], found["ceiling"]


def _groups(found: Facts) -> Found:
    for field, is_rate in (("max_gap", False), ("max_rate_gap", True)):
        gaps = [
            (
                abs(each["others"] - each["value"]) if is_rate else each["others"] - each["value"],
                each["allowed"],
            )
            for each in found.get("groups", ())
            if (each["what"] == "positive_rate") == is_rate
        ]
        if gaps:
            yield field, *max(gaps, key=lambda gap: gap[0] / gap[1])


def _business(found: Facts) -> Found:
    value, before, allowed = found.get("value"), found.get("before"), found.get("allowed")
    if value is not None and before is not None and allowed is not None:
        yield "max_drop", before - value, allowed
    if found.get("ceiling") is not None:
        yield "ceiling", value, found["ceiling"]


def _worst(field: str, figures: Iterable[float], limit: float | None) -> Found:
    known = list(figures)
    if known:
        yield field, max(known), limit


FIGURES: Mapping[str, Callable[[Facts], Found]] = {
    "feature_skew": _skew,
    "data_quality": _rules,
    "staleness": _views,
    "slice_drift": _slices,
    "multivariate_drift": _classifier,
    "health": _service,
    "concept_drift": _concept,
    "slice_quality": _slice_drops,
    "calibration": _calibration,
    "fairness": _groups,
    "kpi": _business,
}
"""What reads a kind's results; drift of columns, of answers, and quality have thresholds of another form."""
