"""Find out whether a model failed because features are not known, and which of them it needs."""

from collections.abc import Sequence
from typing import Any

from tidemill.features.request_features import FeatureRow
from tidemill.serving.routing.loaded_version import LoadedModel

__all__ = ["refused_gaps"]

_MOST = 64  # features that are tried one by one


def refused_gaps(model: LoadedModel, rows: Sequence[FeatureRow]) -> list[list[str]]:
    """Return for each row that a model failed on the features whose absence it does not take.

    The model is asked again with zeros and empty texts in their place. If it answers then, the gaps are why
    it failed; if not, no row has any.
    """
    scorer = model.scorer
    stand_ins: dict[str, Any] = {
        name: "" if name in scorer.words else (0.0,) * scorer.lists[name] if name in scorer.lists else 0.0
        for name in scorer.features
    }
    gaps = [[name for name in stand_ins if row.values[name] is None] for row in rows]
    there = dict.fromkeys(name for of_row in gaps for name in of_row)
    if not there:
        return gaps
    filled = [
        row._replace(values={**row.values, **{name: stand_ins[name] for name in of_row}})
        for row, of_row in zip(rows, gaps, strict=True)
    ]
    if not _answers(model, filled):
        return [[] for _ in rows]
    if len(there) <= _MOST:
        first = filled[0]
        refused = {
            name
            for name in there
            if not _answers(model, [first._replace(values={**first.values, name: None})])
        } or set(there)
        gaps = [[name for name in of_row if name in refused] for of_row in gaps]
    return gaps


def _answers(model: LoadedModel, rows: Sequence[FeatureRow]) -> bool:
    try:
        return model.gives_all(model.answers(rows), len(rows))
    except Exception:  # noqa: BLE001 — a model can raise anything; why it failed is known already
        return False
