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
from tidemill.tasks.task import Answers
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
        truth = project.task.truth(rows, project.config.dataset.label)
    except (RegistryError, DataError) as error:
        return decide(gate, Evaluation(candidate.version, {}, 0, (shortened(str(error), _LONGEST),)), None)
    mine, my_answers, my_speed = _judge(project, candidate, rows, truth)
    theirs, their_answers, their_speed = None, None, None
    if champion is not None:
        theirs, their_answers, their_speed = _judge(project, champion, rows, truth)
    interval = _interval(project, rows, truth, my_answers, their_answers)
    verdict = decide(gate, mine, theirs, service=service, interval=interval)
    times = rows[project.config.dataset.time_column]
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
    project: Project, version: ModelVersion, rows: pl.DataFrame, truth: npt.NDArray[Any]
) -> tuple[Evaluation, Answers | None, float | None]:
    service = version.lineage.feature_service if version.lineage else None
    nothing = Evaluation(version.version, {}, rows.height, service=service)
    problem = _unfair(version, rows, project.config.dataset.time_column) or _other_target(project, version)
    if problem is not None:
        return replace(nothing, problems=(problem,)), None, None
    try:
        scorer = load_scorer(project, version.version)
        frame = rows[[name for name in scorer.features if name in rows.columns]].to_pandas()
        answers = scorer.predict(frame)
    except RegistryError as error:
        return replace(nothing, problems=(shortened(str(error), _LONGEST),)), None, None
    metrics = project.task.evaluate(truth, answers)
    return replace(nothing, metrics=metrics), answers, milliseconds_per_row(scorer, frame)


def _other_target(project: Project, version: ModelVersion) -> str | None:
    """Return why a version's answers are not those that the project asks for now; None if they are."""
    task, trained = project.task, version.trained
    classes = tuple(getattr(task, "classes", ()))
    if trained is None or (trained.task == task.kind and (trained.classes or classes) == classes):
        return None
    mine = f"{task.kind} ({', '.join(classes)})" if classes else task.kind
    its = f"{trained.task} ({', '.join(trained.classes)})" if trained.classes else trained.task
    return f"version {version.version} was trained for another target: {its}; the project's is {mine}"


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
    truth: npt.NDArray[Any],
    mine: Answers | None,
    theirs: Answers | None,
) -> Interval | None:
    if mine is None or theirs is None:
        return None
    dataset = project.config.dataset
    return gain_interval(
        project.task,
        truth,
        mine,
        theirs,
        rows[dataset.time_column].dt.date().to_numpy(),
        seed=project.config.train.seed,
    )
