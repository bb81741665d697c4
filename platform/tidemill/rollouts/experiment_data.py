"""Reads the answers of versions that were deployed at the same time from the prediction log, by key."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from tidemill.prediction_log.prediction_log import read_labelled, read_predictions
from tidemill.project import Project
from tidemill.rollouts.comparison_periods import Periods
from tidemill.rollouts.group_differences import Arm
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.feature_readers import open_reader
from tidemill.serving.inference.row_scoring import FALLBACK
from tidemill.serving.routing.traffic_split import CHAMPION, entity_key
from tidemill.tasks.task import Task

__all__ = ["arm", "arms", "of_role", "read_answers"]

_COLUMNS = (
    "prediction_id",
    "version",
    "role",
    "score",
    "answer",
    "decision",
    "flags",
    "keys",
    "instance",
    "served_at",
    "shadow_of",
)


def read_answers(
    project: Project, start: datetime, end: datetime, *, include_shadows: bool = False
) -> pl.DataFrame:
    """Return the answers in a window of event time, without test traffic.

    Args:
        project: whose log it is.
        start: first moment, event time, aware.
        end: last moment, itself in it; labels that became known later are not seen.
        include_shadows: whether answers of shadows are included.

    Returns:
        Columns of `PredictionRecord` (``prediction_id``, ``version``, ``role``, ``score``, ``answer``,
        ``decision``, ``flags``, ``served_at``, ``shadow_of``), ``key``: its routing key, and ``label`` and
        ``target``, null where no label is known.

    Raises:
        ServingError: the log cannot be read.
    """
    after = end + timedelta(microseconds=1)
    answers = read_predictions(
        project.predictions,
        project.model,
        start,
        after,
        include_shadows=include_shadows,
        columns=_COLUMNS,
    )
    labels = read_labelled(
        project.predictions,
        project.model,
        start,
        after,
        known_by=end,
        include_shadows=include_shadows,
        columns=("prediction_id",),
    ).select("prediction_id", "label", "target")
    found = answers.join(
        labels.unique("prediction_id"), on="prediction_id", how="left", maintain_order="left"
    )
    return found.with_columns(_keys(project, found)).drop("keys", "instance")


def of_role(answers: pl.DataFrame, role: str, version: str) -> pl.DataFrame:
    """Return the answers of a version in a role, without those that it gave in place of another version."""
    return answers.filter(
        pl.col("role").fill_null(CHAMPION) == role,
        pl.col("version") == version,
        ~pl.col("flags").list.contains(FALLBACK).fill_null(False),
    )


def arm(task: Task, answers: pl.DataFrame, labelled: bool = False) -> Arm:
    """Return a group of answers as numbers, weighted by a column ``weight`` if there is one.

    Args:
        task: what is predicted.
        answers: of `read_answers`.
        labelled: whether only those with a label of the task are wanted.

    >>> from tidemill.tasks.regression import Regression
    >>> task, frame = Regression("neg_mae"), pl.DataFrame({"score": [0.1, 0.2], "key": ["a", "a"]})
    >>> frame = frame.with_columns(label=None, target=pl.Series([None, "2.5"]))
    >>> arm(task, frame).clusters, arm(task, frame, labelled=True).labels.tolist()
    (1, [2.5])
    """
    if labelled:
        answers = task.labelled_in_log(answers)
    _, keys = np.unique(answers["key"].to_numpy(), return_inverse=True)
    return Arm(
        scores=answers["score"].cast(pl.Float64).to_numpy(),
        keys=np.asarray(keys, dtype=np.int64),
        labels=task.truth_of_log(answers) if labelled else None,
        weights=answers["weight"].to_numpy() if "weight" in answers.columns else None,
        outputs=task.given_in_log(answers) if labelled else None,
    )


def arms(
    task: Task, ours: pl.DataFrame, theirs: pl.DataFrame, periods: Periods, labelled: bool = False
) -> tuple[Arm, Arm]:
    """Return the groups of a version and of the champion, as far as they answered at the same times.

    Args:
        task: what is predicted.
        ours: the version's, of `of_role`.
        theirs: the champion's.
        periods: in which the shares stood.
        labelled: whether only those with a label are wanted.
    """
    if labelled:
        ours, theirs = task.labelled_in_log(ours), task.labelled_in_log(theirs)
    first, second = periods.balanced(ours, theirs)
    return arm(task, first, labelled), arm(task, second, labelled)


def _keys(project: Project, answers: pl.DataFrame) -> pl.Series:
    """Return the routing key of each answer as the log has it: what is personal is a pseudonym there."""
    application: Application[Any] = project.load_application()
    if application.routing_key is not None:
        declared = _by_declaration(application)
        return answers["instance"].map_elements(declared, pl.String, skip_nulls=False).alias("key")
    distinct = answers["keys"].drop_nulls().unique()
    known: dict[str, str] = {}
    if len(distinct):
        columns = open_reader(project).keys
        known = {keys: entity_key(json.loads(keys), columns) for keys in distinct}
    # Where features were given there are no keys: each answer is on its own.
    own = answers["prediction_id"].to_list()
    return pl.Series(
        "key",
        [one if keys is None else known[keys] for one, keys in zip(own, answers["keys"], strict=True)],
        pl.String,
    )


def _by_declaration(application: Application[Any]) -> Callable[[str | None], str]:
    routing_key = application.routing_key
    assert routing_key is not None

    def key(instance: str | None) -> str:
        values = json.loads(instance or "{}")
        try:
            return str(routing_key(application.request.model_construct(**values)))
        except Exception:  # noqa: BLE001 — the declaration may not expect pseudonyms
            return instance or ""

    return key
