"""Reads predictions for pages: lists, one record with its labels, and its explanation."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.errors import BeingComputed, NotAnswering, TidemillError
from tidemill.prediction_log.search.record_search import find_labels, find_prediction
from tidemill.project import Project

if TYPE_CHECKING:
    from tidemill.serving.inference.explaining import Explainer

__all__ = ["Contribution", "Explained", "explain", "labels_of", "prediction_of"]

_KEPT = 4
_KEPT_SECONDS = 600.0


@dataclass(frozen=True)
class Contribution:
    """What one feature contributed to an answer."""

    feature: str
    value: str
    contribution: float


@dataclass(frozen=True)
class Explained:
    """Why the model answered so."""

    unit: str
    """What the contributions and the base value add up to."""
    base_value: float
    contributions: Sequence[Contribution]
    """The greatest first."""


def prediction_of(project: Project, prediction_id: str) -> dict[str, Any] | None:
    """Return the record of a prediction as the log holds it; None if it does not.

    Raises:
        BeingComputed: it takes long: an id that the log does not hold is looked for everywhere.
        DataError: the log cannot be read.
    """
    key = ("prediction", str(project.root), prediction_id)
    root, model = project.predictions, project.model
    return READINGS.read("the prediction log", key, lambda: find_prediction(root, model, prediction_id))


def labels_of(project: Project, prediction_id: str) -> tuple[list[dict[str, Any]], str | None]:
    """Return the labels of a prediction, the one that counts last; and why they cannot be read.

    Raises:
        BeingComputed: it takes long.
    """
    key = ("labels", str(project.root), prediction_id)
    root, model = project.predictions, project.model
    try:
        found = READINGS.read("the list of labels", key, lambda: find_labels(root, model, prediction_id))
    except BeingComputed:
        raise
    except TidemillError as error:
        return [], str(error)
    return found, None


def explain(project: Project, record: Mapping[str, Any]) -> tuple[Explained | None, str | None]:
    """Return an explanation of a prediction by the version that answered; and why there is none.

    The first one of a version takes seconds: its model is loaded.

    Raises:
        BeingComputed: it takes longer than this request waits.
    """
    asked = repr((record["version"], record.get("features")))  # an erasure may have blanked some
    key = ("explained", str(project.root), record["prediction_id"], asked)
    what = f"the explanation of {record['prediction_id']}"
    try:
        return READINGS.read(what, key, lambda: _explain(project, record), keep=_KEPT_SECONDS), None
    except BeingComputed:
        raise
    except TidemillError as error:
        return None, str(error)


def _explain(project: Project, record: Mapping[str, Any]) -> Explained:
    from tidemill.features.request_features import FeatureRow
    from tidemill.serving.inference.calls import Refused

    features = dict(record.get("features") or {})
    try:
        [found] = _explainer(project).explain(str(record["version"]), [FeatureRow(features, ())])
    except Refused as error:
        raise NotAnswering(str(error)) from error
    except KeyError as error:
        raise NotAnswering(
            f"the log does not hold the feature {error.args[0]!r} of this prediction"
        ) from error
    shown = [
        Contribution(name, _said(features.get(name)), float(value))
        for name, value in found["contributions"].items()
    ]
    shown.sort(key=lambda one: -abs(one.contribution))
    return Explained(found["unit"], float(found["base_value"]), shown)


def _said(value: Any) -> str:
    return "not known" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


_explainers: "OrderedDict[tuple[str, str], Explainer]" = OrderedDict()
_lock = Lock()


def _explainer(project: Project) -> "Explainer":
    """Return the explainer of a project, which keeps the models that it has loaded."""
    from tidemill.registry.versions.model_cache import load_cacheable_original
    from tidemill.registry.versions.model_versions import load_reference
    from tidemill.serving.inference.explaining import Explainer

    with _lock:
        key = (str(project.root), project.tracking_uri)
        if key not in _explainers:
            _explainers[key] = Explainer(
                lambda version: load_cacheable_original(project, version),
                lambda version: load_reference(project, version).features,
            )
            while len(_explainers) > _KEPT:
                _explainers.popitem(last=False)
        return _explainers[key]
