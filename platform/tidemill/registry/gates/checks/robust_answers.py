"""Checks how much of the metric is lost where one feature is missing, unseen, or of other rows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tidemill.errors import DataError
from tidemill.project.gate_checks import RobustnessCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.tasks.natural_metric import metric_of

__all__ = ["check_robustness"]

_SENTENCES = 3
_UNSEEN = "a category never seen"
_SAID = {"missing": "missing", "unseen": _UNSEEN, "permuted": "of other rows"}


def check_robustness(check: RobustnessCheck, judged: Judged) -> GateFinding:
    """Return whether no single change of a feature costs more of the metric than is allowed.

    Raises:
        DataError: the hold-out could not be scored.
    """
    every, scorer = judged.scored(), judged.scorer
    if scorer is None:
        raise DataError("not measured: the candidate could not be loaded", hint="see the other reasons")
    name, draw = judged.metric(check.metric), np.random.default_rng(every.seed)
    chosen = np.sort(draw.permutation(len(every.truth))[: check.rows])
    mask = np.isin(np.arange(len(every.truth)), chosen)
    rows, task = every.where(mask), replace(every.task, metric=name)
    frame = rows.rows[[each for each in scorer.features if each in rows.rows.columns]].to_pandas()
    usual = task.evaluate(rows.truth, rows.answers)[name]
    losses: dict[str, dict[str, float | None]] = {change: {} for change in check.changes}
    failed = []
    for change, feature, spoilt in _spoilt(check, scorer, frame, draw):
        try:
            value = task.evaluate(rows.truth, scorer.predict(spoilt))[name]
        except Exception as error:  # noqa: BLE001 — a model can raise anything
            losses[change][feature] = None
            failed.append(f"it fails where {feature} is {_SAID[change]}: {type(error).__name__}: {error}")
            continue
        losses[change][feature] = usual - value if np.isfinite(value) else None
        if not np.isfinite(value):
            failed.append(f"it answers nothing where {feature} is {_SAID[change]}")
    numbers: dict[str, Any] = {"metric": name, "rows": len(rows.truth), "unchanged": usual, "losses": losses}
    return _judged(check, numbers, failed)


def _judged(check: RobustnessCheck, numbers: dict[str, Any], failed: list[str]) -> GateFinding:
    known = [
        (loss, f"{feature} is {_SAID[change]}")
        for change, of in numbers["losses"].items()
        for feature, loss in of.items()
        if loss is not None
    ]
    metric = metric_of(numbers["metric"])
    if len(failed) > _SENTENCES:
        failed = [*failed[:_SENTENCES], f"{len(failed) - _SENTENCES} more such"]
    if not known:
        none = f"no feature can be {' or '.join(_SAID[change] for change in check.changes)}"
        return GateFinding(not failed, "; ".join(failed) or none, numbers)
    loss, where = max(known)
    said = (
        f"{metric.said(numbers['unchanged'])} loses at most {loss:.4f}, where {where}; "
        f"{check.max_loss:g} is allowed"
    )
    return GateFinding(not failed and loss <= check.max_loss, "; ".join([*failed, said]), numbers)


def _spoilt(
    check: RobustnessCheck, scorer: Scorer, frame: pd.DataFrame, draw: np.random.Generator
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield change, feature, and the rows with that feature changed."""
    for change in check.changes:
        for feature in frame.columns:
            if change == "permuted":
                given: Any = frame[feature].to_numpy()[draw.permutation(len(frame))]
            elif feature in scorer.lists or (change == "unseen" and feature not in scorer.words):
                continue
            elif change == "unseen":
                given = _UNSEEN
            else:
                given = pd.Series([None if feature in scorer.words else np.nan] * len(frame))
            yield change, feature, frame.assign(**{feature: given})
