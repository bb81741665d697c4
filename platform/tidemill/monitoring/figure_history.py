"""Says what of a run is compared with other runs: a kind's figure and limit, and what the version is made of.

Imports no engine.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.tasks.task_names import loss_name

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
        "feature_skew": _of_skew,
        "slice_drift": _of_slices,
        "data_quality": _of_rules,
        "staleness": _of_views,
        "health": _of_latency,
        "concept_drift": _of_errors,
    }.get(kind, _of_share)
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
    sign = 1 if loss_name(found["metric"].rpartition(":")[2]) is None else -1
    limit = None if expected is None or drop is None else sign * (expected - drop)
    return sign * value, limit


def _of_slices(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind) or {}
    shares = [each["share"] for each in (found.get("slices") or {}).values()]
    return (max(shares), found.get("threshold")) if shares else None


def _of_rules(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind) or {}
    shares = [max(each["share"] - (each.get("in_training") or 0.0), 0.0) for each in found.get("rules", ())]
    return (max(shares), found.get("share")) if shares else None


def _of_views(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind) or {}
    shares = list((found.get("views") or {}).values())
    return (max(shares), found.get("share")) if shares else None


def _of_latency(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind) or {}
    p99 = found.get("p99_ms")
    return None if p99 is None else (p99, found["limits"]["p99_ms"])


def _of_errors(kind: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get(kind) or {}
    rise = found.get("rise")
    return None if rise is None else (rise, found.get("max_rise"))


def _of_skew(_: str, results: Facts) -> tuple[float, float | None] | None:
    found = results.get("feature_skew") or {}
    shares = [each.get("share") or 0.0 for each in found.get("features", ())]
    return (max(shares), found.get("threshold")) if shares else None
