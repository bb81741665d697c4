"""Judges the quality of slices: declared segments, and the worst that a search finds."""

from dataclasses import asdict

from tidemill.digits import digits_apart
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.slice_config import SliceQualityConfig
from tidemill.monitoring.slices.slice_quality import SliceQuality
from tidemill.monitoring.slices.window_slices import WindowSlices, judge_slices
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted
from tidemill.prediction_log.prediction_log import features_of
from tidemill.tasks.task_names import loss_name

__all__ = ["judge"]

_NAMED = 3


def judge(window: WindowRows, config: SliceQualityConfig) -> Judged:
    """Compare slices with those of the hold-out; one that is worse than it was is alarming."""
    features = features_of(window.labelled)
    found = judge_slices(
        window.reference, window.labelled, features, window.task, window.monitor.slices, config
    )
    worst = [asdict(one) for one in sorted(found.slices, key=lambda one: (not one.decayed, one.p_value))]
    measured = {name: value for name, value in asdict(found).items() if name != "worst_rows"}
    results = {"slice_quality": {**measured, "slices": worst, "decayed": [one.name for one in found.decayed]}}
    unknown = tuple(
        f"monitoring/monitors.yaml: monitor {window.monitor.name!r}: slices name {name!r}, "
        f"not a feature of the version (it has: {', '.join(features.columns)})"
        for name in found.unknown
    )
    if found.note is not None:
        return Judged(unjudged=found.note, results=results, warnings=unknown)
    return Judged(
        found=(_decay(found),) if found.decayed else (),
        results=results,
        said=_nearest(found),
        examples={"slice_quality": window.labelled["prediction_id"][list(found.worst_rows)].to_list()},
        warnings=unknown,
        notes=tuple(f"Slice {_in_words(one)}." for one in found.slices[:_NAMED]),
    )


def _decay(found: WindowSlices) -> Finding:
    listed = "; ".join(map(_in_words, found.decayed[:_NAMED]))
    more = f"; and {len(found.decayed) - _NAMED} more" if len(found.decayed) > _NAMED else ""
    what = "slice is" if len(found.decayed) == 1 else "slices are"
    return Finding(
        "slice_quality",
        f"{len(found.decayed)} {what} worse than on the hold-out by more than {found.max_drop:.3g}: "
        f"{listed}{more}",
        {"metric": found.metric, "slices": [asdict(one) for one in found.decayed]},
    )


def _nearest(found: WindowSlices) -> str:
    worst = min(found.slices, key=lambda one: one.p_value)
    tried = f"; {found.searched} slices were searched" if found.searched else ""
    few = f"; too few labels in {', '.join(found.few)}" if found.few else ""
    return f"nearest: {_in_words(worst)}; allowed: {found.max_drop:.3g}{tried}{few}"


def _in_words(one: SliceQuality) -> str:
    loss = loss_name(one.metric)
    name, sign = (one.metric.rpartition(":")[2], 1) if loss is None else (loss, -1)
    rows = f"{counted(one.rows, 'label')}, {one.share:.0%}"
    if one.value is None or one.expected is None:
        return f"{one.name} ({rows}): {name} is undefined there"
    others = [other for other in (one.expected, one.rest) if other is not None]
    digits = digits_apart(*((one.value, other) for other in others))
    rest = "" if one.rest is None else f", {sign * one.rest:.{digits}f} in all other rows"
    before = f"{sign * one.expected:.{digits}f} there on the hold-out"
    return f"{one.name} ({rows}): {name} {sign * one.value:.{digits}f}, {before}{rest} (p {one.p_value:.2g})"
