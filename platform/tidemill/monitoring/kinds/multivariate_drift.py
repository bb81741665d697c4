"""Judges drift of all features together, which single features may not show."""

from dataclasses import asdict

from tidemill.data.tables.column_names import literal_names
from tidemill.monitoring.drift.domain_classifier import Separation, separation
from tidemill.monitoring.drift.knowing_versions import knowing_all, known_together
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import MultivariateDriftConfig
from tidemill.monitoring.monitor_config import unknown_features
from tidemill.monitoring.windows.window_rows import WindowRows

__all__ = ["judge"]

_NAMED = 5
_RARELY = 0.01


def judge(window: WindowRows, config: MultivariateDriftConfig) -> Judged:
    """Teach a classifier to tell the window's rows from the reference's; one that can is alarming.

    Rows of versions that were made for other features are left out.
    """
    sides = window.read_features, window.features
    warnings = tuple(
        f"monitoring/monitors.yaml: {each}"
        for each in unknown_features(window.monitor, window.baseline.features.columns, "multivariate_drift")
    )
    versions = window.baseline_versions, window.rows["version"]
    before, now = (side.drop(literal_names(config.exclude), strict=False) for side in sides)
    before, now = known_together(before, now, versions, window.version)
    found = separation(before, now, config.auc)
    measured = {name: value for name, value in asdict(found).items() if name != "unlike"}
    results = {"multivariate_drift": {**measured, "threshold": config.auc}}
    if found.auc is None or found.p_value is None:
        return Judged(unjudged=found.note, results=results, warnings=warnings)
    drifted = found.auc >= config.auc and found.p_value <= _RARELY
    said = f"AUC {found.auc:.3f} ({found.low:.3f} to {found.high:.3f}), alert at {config.auc:g}"
    return Judged(
        found=(_drift(found, said, window.compared),) if drifted else (),
        results=results,
        said=said,
        examples={"multivariate_drift": _examples(window, now.columns, found) if drifted else []},
        warnings=warnings,
    )


def _examples(window: WindowRows, names: list[str], found: Separation) -> list[str]:
    """Return the predictions that the classifier is surest to be the window's."""
    told_apart = knowing_all(
        window.features.select(literal_names(names)), window.rows["version"], window.version
    )
    return window.rows["prediction_id"].filter(told_apart)[list(found.unlike)].to_list()


def _drift(found: Separation, said: str, compared: str) -> Finding:
    names = list(found.carried_by)
    listed = ", ".join(f"{name} ({found.carried_by[name]:.3f})" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    carried = f"; the AUC lost without each feature: {listed}{more}" if names else ""
    return Finding(
        "multivariate_drift",
        f"a classifier tells the window's rows from {compared}: {said}{carried}",
        {"auc": found.auc, "low": found.low, "high": found.high, "carried_by": dict(found.carried_by)},
    )
