"""Says what of a run is compared with other runs: a kind's figure and limit, and what the version is made of.

Imports no engine.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.monitoring.kind_figures import FIGURES, kind_figures
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from tidemill.registry.versions.model_versions import ModelVersion

__all__ = ["figure_of", "made_of"]

Facts = Mapping[str, Any]


def made_of(version: "ModelVersion", root: Path) -> dict[str, str]:
    """Return what tells a version from the one before it: digests of its data, features, code and parameters.

    Where git does not know the version's commit, or files were not committed, the commit stands for the code.

    Args:
        version: with its lineage.
        root: the project's folder.
    """
    from tidemill.data.repository.committed_files import committed_digests

    made = version.lineage
    if made is None:
        return {}
    data = hashlib.sha256(json.dumps(dict(made.data), sort_keys=True).encode()).hexdigest()
    committed = {} if made.uncommitted else committed_digests(root, made.git_commit)
    return {
        "data": data[:12],
        "feature_definitions": made.feature_definition[:12],
        **(committed or {"code": made.git_commit[:12]}),
    }


def figure_of(kind: str, results: Facts) -> tuple[float, float | None] | None:
    """Return the figure of a kind in a run's results, and the limit beyond which it alarms; None without one.

    >>> figure_of("data_drift", {"data_drift": {"share": 0.4, "threshold": 0.3}})
    (0.4, 0.3)
    >>> quality = {"metric": "neg_mae", "value": -11.5, "expected": -10.0, "max_drop": 1.0}
    >>> figure_of("quality", {"quality": quality})
    (11.5, 11.0)
    """
    of_kind = {
        "feature_drift": _of_features,
        "prediction_drift": _of_answers,
        "quality": _of_metric,
        "estimated_quality": _of_metric,
        "kpi": _of_business,
    }.get(kind, _of_threshold if kind in FIGURES else _of_share)
    found = of_kind(kind, results)
    return None if found is None or not isinstance(found[0], int | float) else found


def _of_share(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind)
    if not isinstance(found, Mapping):
        return None
    value = next((found[name] for name in ("share", "value", "auc") if found.get(name) is not None), None)
    return None if value is None else (value, found.get("threshold", found.get("limit")))


def _of_features(_: str, results: Facts) -> tuple[float, float | None] | None:
    columns = (results.get("data_drift") or {}).get("columns")
    return None if columns is None else (sum(1 for each in columns if each["broken"]), 1)


def _of_answers(_: str, results: Facts) -> tuple[float, float | None] | None:
    both = [results.get(name) for name in ("prediction_drift", "class_drift")]
    known = [each for each in both if each is not None and each["value"] is not None]
    worst = max(known, key=lambda each: each["value"] / each["threshold"], default=None)
    return None if worst is None else (worst["value"], worst["threshold"])


def _of_metric(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind) or {}
    value, expected, drop = found.get("value"), found.get("expected"), found.get("max_drop")
    if value is None:
        return None
    sign = metric_of(found["metric"]).sign
    limit = None if expected is None or drop is None else sign * (expected - drop)
    return sign * value, limit


def _of_business(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind) or {}
    value, before, allowed = found.get("value"), found.get("before"), found.get("allowed")
    if value is None:
        return None
    limits = [each for each in (found.get("floor"), found.get("ceiling")) if each is not None]
    if before is not None and allowed is not None:
        limits.append(before - allowed)
    return value, min(limits, key=lambda limit: abs(value - limit), default=None)


def _of_threshold(kind: str, results: Facts) -> tuple[float, float | None] | None:
    return next(((figure, limit) for _, figure, limit in kind_figures(kind, results)), None)
