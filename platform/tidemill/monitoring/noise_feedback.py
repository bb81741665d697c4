"""Learns from alerts that people have marked as noise: which thresholds would not have alarmed.

A mark says that a figure beyond its threshold was nothing to act on. What is proposed is a tenth more than
the greatest figure that was marked. A monitor that sets ``raise_on_noise`` takes it by itself, up to so many
times its threshold; else it is a proposal, which ``tidemill alerts show`` and ``monitor explain`` show.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tidemill.monitoring.kind_figures import FIGURES, kind_figures
from tidemill.plurals import counted

if TYPE_CHECKING:
    from tidemill.monitoring.monitor_config import Monitor
    from tidemill.state import State

__all__ = [
    "NOISE",
    "WITHDRAWN",
    "NoiseMark",
    "Proposal",
    "marks_of",
    "proposals_of",
    "raised",
    "with_noise",
]

NOISE = "noise"
"""The step of an alert by which a person marks it as noise."""
WITHDRAWN = "noise_withdrawn"
"""What that step becomes when somebody takes the mark back: it counts no more."""
_MARGIN = 1.1
_SHARE = "data_drift.share"
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class NoiseMark:
    """An alert that was marked as noise, and the results of the run that had found it."""

    kind: str
    results: Facts


@dataclass(frozen=True)
class Proposal:
    """A threshold that what was marked as noise would not have reached."""

    field: str
    """Where it stands in the monitor's declaration, as in ``data_drift.thresholds.wind``."""
    times: int
    """How many alerts about it were marked as noise."""
    threshold: float
    """As it was when the first of them was marked."""
    proposed: float
    in_force: float | None = None
    """The threshold by which the monitor judges since, where it takes proposals by itself."""

    @property
    def said(self) -> str:
        """Return it in words."""
        if self.in_force is not None and self.in_force >= self.proposed:
            change = f"{self.field} {self.threshold:.3g} → {self.in_force:.3g} in force"
        else:
            change = f"{self.field} {self.threshold:.3g} → {self.proposed:.3g} proposed"
            change += "" if self.in_force is None else f", {self.in_force:.3g} in force by raise_on_noise"
        return f"marked as noise {counted(self.times, 'time')}: {change}"


def proposals_of(marks: Sequence[NoiseMark], now: Facts | None = None) -> list[Proposal]:
    """Return a proposal for each threshold that marked figures were beyond.

    Args:
        marks: in order of time.
        now: the results of the monitor's last run: what its thresholds allow by now is not proposed, and
            named only if the marks themselves raised them.

    >>> drift = {"name": "score", "value": 0.125, "threshold": 0.1, "drifted": True}
    >>> mark = NoiseMark("prediction_drift", {"prediction_drift": drift})
    >>> [each.said for each in proposals_of([mark, mark])]
    ['marked as noise 2 times: prediction_drift.threshold 0.1 → 0.14 proposed']
    >>> now = {"raise_on_noise": 1.2, "prediction_drift": {**drift, "threshold": 0.12}}
    >>> [each.said for each in proposals_of([mark], now)]
    ['marked as noise 1 time: prediction_drift.threshold 0.1 → 0.14 proposed, \
0.12 in force by raise_on_noise']
    """
    figures: dict[str, list[tuple[float, float]]] = {}
    for mark in marks:
        for field, figure, threshold in _figures(mark.kind, mark.results):
            figures.setdefault(field, []).append((figure, threshold))
    found = [
        Proposal(field, len(marked), marked[0][1], _beyond(field, max(one for one, _ in marked)))
        for field, marked in figures.items()
    ]
    allowed, raises = _thresholds(now or {}), (now or {}).get("raise_on_noise") is not None
    told = []
    for each in found:
        stands = allowed.get(each.field, each.threshold)
        by_marks = replace(each, in_force=stands) if raises and stands > each.threshold else each
        if each.proposed > stands or by_marks.in_force is not None:
            told.append(by_marks)
    return told


def raised(monitor: "Monitor", proposals: Sequence[Proposal]) -> "Monitor":
    """Return a monitor with the proposals as its thresholds, up to ``raise_on_noise`` times what they were.

    A threshold that is declared higher stays as it is.
    """
    if monitor.raise_on_noise is None:
        return monitor
    for each in proposals:
        most = each.threshold + (monitor.raise_on_noise - 1) * abs(each.threshold)  # a ceiling may be below 0
        value = min(each.proposed, most)
        section, field, *column = each.field.split(".", 2)
        declared = getattr(monitor, section, None)
        if declared is None:
            continue
        if column:
            thresholds = declared.thresholds
            update: dict[str, Any] = {
                field: {**thresholds, column[0]: max(value, thresholds.get(column[0], each.threshold))}
            }
        else:
            is_set = field in declared.model_fields_set
            update = {field: max(value, (is_set and getattr(declared, field)) or each.threshold)}
        monitor = monitor.model_copy(update={section: declared.model_copy(update=update)})
    return monitor


def with_noise(state: "State", model: str, monitor: "Monitor", now: datetime) -> "Monitor":
    """Return a monitor as people's marks until ``now`` raise it; itself if it does not take them."""
    if monitor.raise_on_noise is None:
        return monitor
    from sqlalchemy import select

    from tidemill.state.tables import Alert, AlertStep, MonitorRun

    with state.transaction() as session:
        of = Alert.model == model, Alert.monitor == monitor.name, AlertStep.at <= now
        steps = select(AlertStep.at, Alert.kind).join(Alert, Alert.id == AlertStep.alert_id)
        found = session.execute(steps.where(AlertStep.step == NOISE, *of).order_by(AlertStep.at)).all()
        if not found:
            return monitor
        about = MonitorRun.model == model, MonitorRun.monitor == monitor.name, MonitorRun.verdict == "alert"
        runs = session.scalars(select(MonitorRun).where(*about).order_by(MonitorRun.at)).all()
        return raised(monitor, proposals_of(marks_of([(each.at, each.kind) for each in found], runs)))


def marks_of(steps: Sequence[tuple[datetime, str]], runs: Sequence[Any]) -> list[NoiseMark]:
    """Return the marks, each with the results of the last run before it that had found its kind.

    Args:
        steps: moment of each mark and the kind of its alert.
        runs: the records of the monitor's alarming runs, in order of time.
    """
    found = []
    for at, kind in steps:
        before = [
            run.results
            for run in runs
            if run.at <= at and any(each["kind"] == kind for each in run.results.get("findings", ()))
        ]
        found += [NoiseMark(kind, results) for results in before[-1:]]
    return found


def _figures(kind: str, results: Facts) -> Iterator[tuple[str, float, float]]:
    """Yield field, figure and threshold of what a kind found beyond its threshold."""
    if kind == "data_drift":
        yield from _of_many(results.get("data_drift") or {})
    elif kind == "feature_drift":
        yield from _of_broken((results.get("data_drift") or {}).get("columns", ()))
    elif kind == "slice_drift":
        yield from _of_slices(results.get("slice_drift") or {})
    elif kind == "prediction_drift":
        for part, field in (("prediction_drift", "threshold"), ("class_drift", "categorical")):
            found = results.get(part)
            if found and found["drifted"] and found["value"] is not None:
                yield f"prediction_drift.{field}", found["value"], found["threshold"]
    elif kind in ("quality", "estimated_quality"):
        found = results.get(kind) or {}
        best = found.get("high" if kind == "estimated_quality" else "value")
        expected, allowed = found.get("expected"), found.get("max_drop")
        if best is None or expected is None or allowed is None:
            return
        if expected - best > allowed:
            yield f"{kind}.max_drop", expected - best, allowed
    else:
        for field, figure, limit in kind_figures(kind, results):
            if limit is not None and _is_beyond(figure, limit):
                yield f"{kind}.{field}", figure, limit


def _is_beyond(figure: float, limit: float) -> bool:
    """Return whether a figure is at its limit or beyond; beyond 0, where that is the limit."""
    return figure > limit or figure == limit != 0


def _of_many(found: Facts) -> Iterator[tuple[str, float, float]]:
    """Yield the distances of features that drifted; if those that are broken are too many, their share.

    Thresholds that allow a broken feature would hide its own alert, which nobody has marked. They are
    proposed only where every feature is broken, because no share allows all of them.
    """
    columns, limit = found.get("columns", ()), found.get("threshold")
    drifted = [each for each in columns if each["drifted"]]
    for each in drifted:
        if each.get("broken") is None and (each.get("value") or 0) >= each["threshold"]:
            yield _field(each), each["value"], each["threshold"]
    left = [each for each in drifted if each.get("broken") or (each.get("value") or 0) < each["threshold"]]
    if limit is None or not left or len(left) < limit * len(columns):
        return
    if len(left) < len(columns):
        yield _SHARE, len(left) / len(columns), limit
        return
    for each in left:
        if (each.get("broken") or "").startswith("distance "):
            yield _field(each), each["value"], each["threshold"]


def _of_slices(found: Facts) -> Iterator[tuple[str, float, float]]:
    """Yield the share of drifted features, and the distances of features that alarm a slice alone."""
    for field, figure, limit in kind_figures("slice_drift", {"slice_drift": found}):
        if limit is not None and _is_beyond(figure, limit):
            yield f"slice_drift.{field}", figure, limit
    for one in (found.get("slices") or {}).values():
        yield from _of_broken(one.get("columns", ()), "slice_drift")


def _of_broken(columns: Sequence[Facts], section: str = "data_drift") -> Iterator[tuple[str, float, float]]:
    for each in columns:
        value, threshold, broken = each.get("value"), each["threshold"], each.get("broken")
        if value is not None and value >= threshold and broken and broken.startswith("distance "):
            severe = float(broken.rpartition(" ")[2]) / threshold  # of "distance 0.5, alert at 0.4"
            yield _field(each, section), value / severe, threshold


def _field(column: Facts, section: str = "data_drift") -> str:
    return f"{section}.thresholds.{column['name']}"


def _thresholds(results: Facts) -> dict[str, float]:
    """Return the thresholds by which a run judged, by their fields."""
    drift = results.get("data_drift") or {}
    found = {_field(each): each["threshold"] for each in drift.get("columns", ())}
    if drift.get("threshold") is not None:
        found[_SHARE] = drift["threshold"]
    within = (results.get("slice_drift") or {}).get("thresholds") or {}
    found |= {f"slice_drift.thresholds.{name}": threshold for name, threshold in within.items()}
    for part, field in (
        ("prediction_drift", "prediction_drift.threshold"),
        ("class_drift", "prediction_drift.categorical"),
    ):
        if results.get(part):
            found[field] = results[part]["threshold"]
    for part in ("quality", "estimated_quality"):
        if (allowed := (results.get(part) or {}).get("max_drop")) is not None:
            found[f"{part}.max_drop"] = allowed
    for kind in FIGURES:
        limits = kind_figures(kind, results)
        found |= {f"{kind}.{field}": limit for field, _, limit in limits if limit is not None}
    return found


def _beyond(field: str, figure: float) -> float:
    """Return a tenth more than a figure; of an area under a curve, a tenth nearer to 1; of a share at most 1.

    >>> _beyond("kpi.ceiling", 12.0), round(_beyond("multivariate_drift.auc", 0.8), 3)
    (14.0, 0.82)
    """
    if field == "multivariate_drift.auc":
        return figure + (1 - figure) * (_MARGIN - 1)
    if field == _SHARE:
        return min(_rounded_up(_MARGIN * figure), 1.0)
    return _rounded_up(figure + (_MARGIN - 1) * abs(figure))


def _rounded_up(figure: float) -> float:
    """Return the least number of two digits that is not below a figure.

    >>> _rounded_up(0.1375), _rounded_up(12.01), _rounded_up(-4.56), _rounded_up(0.0)
    (0.14, 13.0, -4.5, 0.0)
    """
    if not figure:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(figure))) - 1)
    return float(f"{math.ceil(round(figure / unit, 6)) * unit:.2g}")
