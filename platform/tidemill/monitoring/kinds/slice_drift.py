"""Judges drift of the features within declared slices, which that of all rows may hide."""

from dataclasses import asdict

import polars as pl

from tidemill.monitoring.drift.drift_columns import Comparison, compare
from tidemill.monitoring.example_predictions import furthest_from_reference, worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kinds.data_drift import by_other_rows
from tidemill.monitoring.monitor_config import unknown_features
from tidemill.monitoring.slice_config import SliceDriftConfig
from tidemill.monitoring.slices.slice_rows import Slice, declared_slices, unknown_columns
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted

__all__ = ["judge"]

_NAMED = 3


def judge(window: WindowRows, config: SliceDriftConfig) -> Judged:
    """Compare each declared slice with the same slice of the reference, as ``data_drift`` does all rows."""
    before, now = window.baseline.features, window.features
    slices = declared_slices(window.monitor.slices, before, now)
    large = [one for one in slices if min(one.before.sum(), one.now.sum()) >= config.min_rows]
    if not large:
        there = [name for name in before.columns if name in now.columns]
        unknown = unknown_columns(window.monitor.slices, there)
        why = f"they name no feature of the version: {', '.join(unknown)}" if unknown else "too few rows"
        told = f"no declared slice has {config.min_rows} rows on both sides: {why}"
        return Judged(unjudged=told, warnings=_unknown(window))
    drifts = {one.name: _compared(one, window, config, len(large)) for one in large}
    alarming = [name for name, drift in drifts.items() if drift.share >= config.share or drift.broken]
    results = {
        name: {
            "rows": drift.current_rows,
            "share": drift.share,
            "drifted": list(drift.drifted),
            "columns": [asdict(column) for column in drift.by_excess if column.drifted],
        }
        for name, drift in drifts.items()
    }
    worst = max(drifts, key=lambda name: drifts[name].share)
    said = f"at most {drifts[worst].share:.0%} of the features have drifted ({worst})"
    said += f", alert at {config.share:.0%}"
    if broken := next((name for name in alarming if drifts[name].broken), None):
        first = drifts[broken].broken[0]
        said += f"; {first.name} is far off in {broken} ({first.broken})"
    return Judged(
        found=(_drift({name: drifts[name] for name in alarming}, window),) if alarming else (),
        results={
            "slice_drift": {
                "threshold": config.share,
                "thresholds": {column.name: column.threshold for column in drifts[worst].columns},
                "slices": results,
            }
        },
        said=said,
        examples={"slice_drift": _examples(window, large, drifts, alarming)},
        warnings=_unknown(window),
    )


def _unknown(window: WindowRows) -> tuple[str, ...]:
    """Return a warning for each feature that is named and that the version does not have."""
    features = window.baseline.features.columns
    told = unknown_features(window.monitor, features, "slice_drift")
    if window.monitor.slice_quality is None:  # which warns of slices itself
        told += [
            f"monitor {window.monitor.name!r}: slices name {name!r}, not a feature of the version "
            f"(it has: {', '.join(features)})"
            for name in unknown_columns(window.monitor.slices, features)
        ]
    return tuple(f"monitoring/monitors.yaml: {each}" for each in told)


def _compared(one: Slice, window: WindowRows, config: SliceDriftConfig, slices: int) -> Comparison:
    before, now = window.baseline.features, window.features
    inside, inside_before = pl.Series(one.now), pl.Series(one.before)
    versions = window.baseline_versions
    columns = compare(
        before.filter(inside_before),
        now.filter(inside),
        config,
        window.rows["version"].filter(inside),
        window.version,
        slices,
        None if versions is None else versions.filter(inside_before),
    )
    return Comparison(columns, None, int(one.before.sum()), int(one.now.sum()))


def _examples(
    window: WindowRows, slices: list[Slice], drifts: dict[str, Comparison], alarming: list[str]
) -> list[str]:
    """Return the predictions of the first alarming slice that are furthest off in what has moved most."""
    if not alarming:
        return []
    inside = pl.Series(next(one.now for one in slices if one.name == alarming[0]))
    odd = furthest_from_reference(drifts[alarming[0]].by_excess, window.features.filter(inside))
    return worst_ids(window.rows["prediction_id"].filter(inside), odd)


def _drift(drifts: dict[str, Comparison], window: WindowRows) -> Finding:
    listed = "; ".join(
        f"{name} ({counted(drift.current_rows, 'row')}): {_named(drift)}"
        for name, drift in list(drifts.items())[:_NAMED]
    )
    broken = {each.name: each for drift in drifts.values() for each in drift.broken if each.at_fault}
    faults = [
        each.name
        for each in broken.values()
        if by_other_rows(window, window.features, each).at_fault  # of all rows, which grow with the slice
    ]
    more = f"; and {len(drifts) - _NAMED} more" if len(drifts) > _NAMED else ""
    what = "slice has" if len(drifts) == 1 else "slices have"
    return Finding(
        "slice_drift",
        f"{len(drifts)} {what} features that have drifted: {listed}{more}",
        {
            "slices": {name: list(drift.drifted) for name, drift in drifts.items()},
            "faults": faults,
        },
    )


def _named(drift: Comparison) -> str:
    """Return the first features that have drifted, the broken ones with what is wrong."""
    broken = {each.name: f"{each.name} ({each.broken})" for each in drift.broken}
    return ", ".join(broken.get(name, name) for name in drift.drifted[:_NAMED])
