"""Judges drift of the inputs: of all rows, because inputs do not depend on the version that answers."""

from dataclasses import asdict, replace

import polars as pl

from tidemill.monitoring.drift.column_histograms import histograms_of
from tidemill.monitoring.drift.drift_columns import (
    USUAL_IN_TRAINING,
    ColumnDrift,
    Comparison,
    compare,
    compare_column,
)
from tidemill.monitoring.drift.model_impact import columns_by_impact
from tidemill.monitoring.drift.quiet_columns import quiet_columns
from tidemill.monitoring.drift.slow_moves import moved_slowly
from tidemill.monitoring.example_predictions import furthest_from_reference, worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import DataDriftConfig
from tidemill.monitoring.monitor_config import unknown_features
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import agreeing, counted
from tidemill.prediction_log.log_records import FEATURE_PREFIX

__all__ = ["by_other_rows", "findings_of", "judge"]

_NAMED = 5
_TRAINING = "what the model was trained on"


def judge(window: WindowRows, config: DataDriftConfig) -> Judged:
    """Compare the features with the reference's; many that drifted are alarming, and each broken one is.

    Rows of a version that was made for other features do not count as missing these. Of a window with a
    sketch, only those features are read that this does not clear.
    """
    reference, quiet, rows = window.read_features, dict[str, ColumnDrift](), window
    if window.sketch is not None:
        quiet = quiet_columns(reference, window.sketch, window.version, config)
        loud = [f"{FEATURE_PREFIX}{name}" for name in reference.columns if name not in quiet]
        rows = window.only([name for name in loud if name in window.sketch.names])
    columns = compare(
        reference,
        rows.features,
        config,
        rows.rows["version"],
        window.version,
        served_before=window.baseline_versions,
        quiet=quiet,
    )
    columns = tuple(by_other_rows(window, rows.features, column) for column in columns)
    columns, by_distance = columns_by_impact(rows, columns)
    drift = Comparison(columns, None, reference.height, window.height)
    found = findings_of(drift, config, window.compared)
    odd = furthest_from_reference(drift.by_excess, rows.features) if found else None
    pictured = histograms_of(drift, reference, rows.features) if found else {}
    ids = worst_ids(rows.rows["prediction_id"], odd)
    unknown = unknown_features(window.monitor, window.baseline.features.columns)
    results = {
        "share": drift.share,
        "threshold": config.share,
        "drifted": list(drift.drifted),
        "broken": [column.name for column in drift.broken],
        "not_compared": drift.not_compared,
        **({} if by_distance is None else {"ordered_by_distance": by_distance}),
        "columns": [asdict(column) for column in drift.by_excess],
    }
    return Judged(
        found=found,
        unjudged=None if columns else "no features to compare",
        results={"data_drift": results, **({"histograms": pictured} if pictured else {})},
        examples={each.kind: ids for each in found},
        warnings=tuple(f"monitoring/monitors.yaml: {each}" for each in unknown),
        columns=columns,
    )


def by_other_rows(window: WindowRows, features: pl.DataFrame, column: ColumnDrift) -> ColumnDrift:
    """Return a column that looks wrong as one that does not, if the log or training rows say so.

    What seems to be in another unit may have grown bit by bit; what differs from earlier predictions may be
    usual in training, once it was mended.

    Args:
        window: that is judged.
        features: of its predictions, all or those that matter.
        column: of all of them, or of a slice.
    """
    now, name = features.get_column(column.name, default=None), column.name
    if now is None or not column.at_fault:
        return column
    if window.monitor.against != "training":
        config = window.monitor.data_drift or DataDriftConfig()
        sides = window.reference.features[name].alias("before"), now.alias("now")
        trained = compare_column(name, *sides, config, columns=features.width)
        if trained.broken is None:
            told = f"{USUAL_IN_TRAINING}{column.broken}"
            return replace(column, broken=told, note=told)
    before = window.baseline.features[name]
    return moved_slowly(column, before, now, lambda windows: window.values_before(windows, name))


def findings_of(drift: Comparison, config: DataDriftConfig, compared: str = _TRAINING) -> tuple[Finding, ...]:
    """Return what is alarming: the share of the features that drifted, and the broken ones."""
    many = (_many(drift, config.share, compared),) if drift.columns and drift.share >= config.share else ()
    return (*many, _broken(drift, compared)) if drift.broken else many


def _many(drift: Comparison, threshold: float, compared: str) -> Finding:
    names = drift.drifted
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    since = "" if compared == _TRAINING else f" from {compared}"
    return Finding(
        "data_drift",
        f"{len(names)} of {counted(len(drift.columns), 'feature')} "
        f"{agreeing(len(names), 'has', 'have')} drifted "
        f"({drift.share:.0%}, alert at {threshold:.0%}){since}: {listed}",
        {"share": drift.share, "threshold": threshold, "drifted": list(names)},
    )


def _broken(drift: Comparison, compared: str) -> Finding:
    broken = drift.broken
    listed = "; ".join(f"{each.name} ({each.broken})" for each in broken[:_NAMED])
    more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return Finding(
        "feature_drift",
        f"{len(broken)} of {counted(len(drift.columns), 'feature')} {agreeing(len(broken), 'is', 'are')} far "
        f"from {compared}: {listed}{more}",
        {
            "features": {each.name: each.broken for each in broken},
            "faults": [each.name for each in broken if each.at_fault],
        },
    )
