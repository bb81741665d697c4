"""Compare the candidate with the champion on rows that neither was trained on."""

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from tidemill.errors import DataError, RegistryError
from tidemill.project import Project
from tidemill.registry.gates.gate_rules import Evaluation, Interval, Verdict, decide
from tidemill.registry.gates.paired_bootstrap import gain_interval
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_versions import load_holdout, load_scorer
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.training.binary_labels import as_labels
from tidemill.training.metrics import evaluate
from tidemill.training.tracking.mlflow_tracking import shortened

__all__ = ["compare", "milliseconds_per_row"]

_CALLS = 20
_LONGEST = 1000  # characters of an error, which may name hundreds of features


def compare(project: Project, candidate: ModelVersion, champion: ModelVersion | None) -> Verdict:
    """Judge both versions on the candidate's hold-out and decide by the project's gate.

    A problem that prevents a fair comparison is recorded as a reason to refuse, and raises no error.
    """
    gate, service = project.config.gate, project.config.features.service
    if gate.mode == "off":
        return decide(gate, Evaluation(candidate.version, {}, 0), None)
    try:
        rows = load_holdout(project, candidate.version)
        as_labels(rows, project.config.dataset.label)
    except (RegistryError, DataError) as error:
        return decide(gate, Evaluation(candidate.version, {}, 0, (shortened(str(error), _LONGEST),)), None)
    mine, my_scores, my_speed = _judge(project, candidate, rows)
    theirs, their_scores, their_speed = None, None, None
    if champion is not None:
        theirs, their_scores, their_speed = _judge(project, champion, rows)
    interval = _interval(project, rows, my_scores, their_scores)
    verdict = decide(gate, mine, theirs, service=service, interval=interval)
    times = rows[project.config.dataset.time]
    about: dict[str, Any] = {
        "period": [str(times[0]), str(times[-1])] if len(times) else None,
        "milliseconds_per_row": {"candidate": my_speed, "champion": their_speed},
    }
    return replace(verdict, numbers={**verdict.numbers, **about})


def milliseconds_per_row(scorer: Scorer, rows: pd.DataFrame) -> float:
    """Return the median time of a prediction for one row, in milliseconds."""
    row, seconds = rows.head(1), []
    for _ in range(_CALLS):
        start = time.perf_counter()
        scorer.predict(row)
        seconds.append(time.perf_counter() - start)
    return round(float(np.median(seconds)) * 1000, 3)


def _judge(
    project: Project, version: ModelVersion, rows: pl.DataFrame
) -> tuple[Evaluation, npt.NDArray[np.float64] | None, float | None]:
    service = version.lineage.feature_service if version.lineage else None
    nothing = Evaluation(version.version, {}, rows.height, service=service)
    problem = _unfair(version, rows, project.config.dataset.time)
    if problem is not None:
        return replace(nothing, problems=(problem,)), None, None
    try:
        scorer = load_scorer(project, version.version)
        frame = rows[[name for name in scorer.features if name in rows.columns]].to_pandas()
        scores = scorer.predict(frame)
    except RegistryError as error:
        return replace(nothing, problems=(shortened(str(error), _LONGEST),)), None, None
    metrics = evaluate(as_labels(rows, project.config.dataset.label), scores)
    return replace(nothing, metrics=metrics), scores, milliseconds_per_row(scorer, frame)


def _unfair(version: ModelVersion, rows: pl.DataFrame, time: str) -> str | None:
    if rows.is_empty():
        return f"there is no row to judge version {version.version} on"
    if version.lineage is None:
        return f"version {version.version} does not say which rows it learnt from: Tidemill did not train it"
    learnt_until, first = version.lineage.split.fit.end, rows[time].min()
    assert isinstance(first, datetime)
    if first < learnt_until:
        return (
            f"version {version.version} learnt from rows up to {learnt_until:%Y-%m-%d %H:%M}, but the "
            f"hold-out begins on {first:%Y-%m-%d %H:%M}: it has seen what it would be judged on"
        )
    return None


def _interval(
    project: Project,
    rows: pl.DataFrame,
    mine: npt.NDArray[np.float64] | None,
    theirs: npt.NDArray[np.float64] | None,
) -> Interval | None:
    if mine is None or theirs is None:
        return None
    dataset = project.config.dataset
    return gain_interval(
        project.config.gate.metric,
        as_labels(rows, dataset.label),
        mine,
        theirs,
        rows[dataset.time].dt.date().to_numpy(),
        seed=project.config.train.seed,
    )
