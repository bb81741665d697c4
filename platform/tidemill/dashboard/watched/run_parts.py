"""Takes a monitor run's results apart for its page; what an earlier version did not record is left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.dashboard.charts.histogram import Bins
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.watched.drift_of_windows import columns_in
from tidemill.dashboard.watched.metric_words import number_in
from tidemill.dashboard.watched.verdict_words import KindVerdict, kind_verdicts
from tidemill.tasks.natural_metric import metric_of

__all__ = [
    "FeatureLine",
    "KindVerdict",
    "SliceLine",
    "Warned",
    "bins_in",
    "feature_lines",
    "kind_verdicts",
    "slice_lines",
    "warned_in",
]

Facts = Mapping[str, Any]
_SLICES = 20


@dataclass(frozen=True)
class FeatureLine:
    """One feature's drift."""

    name: str
    href: str
    method: str | None
    value: float | None
    threshold: float | None
    state: str
    """``ok``, ``drifted``, ``broken`` or ``not compared``."""
    why: str | None
    impact: float | None
    loss_change: float | None
    """By how much its drift alone changes the mean loss; None where that cannot be told."""
    mean_before: float | None
    mean_now: float | None
    missing_before: float | None
    missing_now: float | None


@dataclass(frozen=True)
class SliceLine:
    """One slice of the rows."""

    name: str
    rows: int | None
    said: str
    alarming: bool


@dataclass(frozen=True)
class Warned:
    """What kept the run from saying more."""

    warnings: Sequence[str]
    error: str | None
    hint: str | None
    report_error: str | None


def feature_line(model: str, name: str, column: Facts) -> FeatureLine:
    """Return what is on record of one feature in a run."""
    broken, note = column.get("broken"), column.get("note")
    state = "broken" if broken is not None else "drifted" if column.get("drifted") else "ok"
    if number_in(column, "value") is None and broken is None:
        state = "not compared"
    return FeatureLine(
        name,
        address_of("models", model, "features", name),
        column.get("method"),
        number_in(column, "value"),
        number_in(column, "threshold"),
        state,
        None if broken is None and note is None else str(broken or note),
        number_in(column, "impact"),
        number_in(column, "loss_change"),
        number_in(column, "reference_mean"),
        number_in(column, "current_mean"),
        number_in(column, "reference_missing"),
        number_in(column, "current_missing"),
    )


def feature_lines(model: str, results: Facts) -> list[FeatureLine]:
    """Return the features of a run, in the order that it has on record."""
    return [feature_line(model, name, column) for name, column in columns_in(results).items()]


def bins_in(results: Facts) -> list[Bins]:
    """Return the histograms that a run has on record.

    >>> bins_in({"histograms": {"wind": {"bins": ["0 to 1"], "before": [1.0], "now": [0.5]}}})
    [Bins(name='wind', bins=['0 to 1'], before=[1.0], now=[0.5])]
    """
    found = results.get("histograms")
    return list(_bins(found)) if isinstance(found, Mapping) else []


def _bins(found: Facts) -> Iterator[Bins]:
    for name, each in found.items():
        sides = [each.get(side) for side in ("bins", "before", "now")]
        if all(isinstance(side, list) for side in sides) and len({len(side) for side in sides}) == 1:
            yield Bins(str(name), [str(one) for one in sides[0]], sides[1], sides[2])


def slice_lines(results: Facts) -> list[SliceLine]:
    """Return the slices that a run judged: by quality, then by drift."""
    return [*_of_quality(results.get("slice_quality")), *_of_drift(results.get("slice_drift"))][:_SLICES]


def _of_quality(found: Any) -> Iterator[SliceLine]:
    for each in (found.get("slices") or ()) if isinstance(found, Mapping) else ():
        metric = metric_of(str(each.get("metric", "")))
        value, expected, rest = (
            metric.shown(number_in(each, name)) for name in ("value", "expected", "rest")
        )
        said = f"{metric.name} undefined" if value is None else f"{metric.name} {value:.4g}"
        said += "" if expected is None else f"; {expected:.4g} there on the hold-out"
        said += "" if rest is None else f"; {rest:.4g} in all other rows"
        chance = number_in(each, "p_value")
        said += "" if chance is None else f" (p {chance:.2g})"
        yield SliceLine(str(each.get("name")), each.get("rows"), said, bool(each.get("decayed")))


def _of_drift(found: Any) -> Iterator[SliceLine]:
    slices = found.get("slices") if isinstance(found, Mapping) else None
    limit = number_in(found, "threshold") if isinstance(found, Mapping) else None
    for name, each in slices.items() if isinstance(slices, Mapping) else ():
        share, drifted = number_in(each, "share") or 0.0, each.get("drifted") or []
        said = f"{share:.0%} of the features have drifted" + (f": {', '.join(drifted)}" if drifted else "")
        yield SliceLine(str(name), each.get("rows"), said, limit is not None and share >= limit)


def warned_in(results: Facts) -> Warned:
    """Return what is wrong around a run."""
    told = results.get("warnings")
    error, hint, report = (results.get(name) for name in ("error", "hint", "report_error"))
    return Warned(
        [str(each) for each in told] if isinstance(told, list) else [],
        None if error is None else str(error),
        None if hint is None else str(hint),
        None if report is None else str(report),
    )
