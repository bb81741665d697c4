"""Made-up rows with labels and answers of a model, for each task; the inputs or the concept may move."""

from collections.abc import Callable

import numpy as np
import polars as pl

from tidemill.monitoring.quality.estimated_quality import Predictions
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

NAMES = ("a", "b", "c")

World = Callable[..., tuple[pl.DataFrame, pl.DataFrame]]
"""Takes chance, the number of rows, ``shift`` and ``concept``; returns features, and rows of the log."""


def binary(
    random: np.random.Generator, rows: int, shift: float = 0.0, concept: float = 1.0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of two classes, and an overconfident model that is right about the order while concept is 1."""
    x, z = random.normal(shift, 1, rows), random.normal(0, 1, rows)
    chance = 1 / (1 + np.exp(-concept * (1.5 * x + 0.5 * z)))
    scores = 1 / (1 + np.exp(-(2.5 * x + 0.8 * z)))
    labels = (random.random(rows) < chance).astype(np.int64)
    return pl.DataFrame({"x": x, "z": z}), pl.DataFrame(
        {"score": scores, "label": labels, "answer": None, "target": None}
    )


def classes(
    random: np.random.Generator, rows: int, shift: float = 0.0, concept: float = 1.0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    x = random.normal([shift, 0, 0], 1, (rows, 3))
    chances = np.exp(concept * x) / np.exp(concept * x).sum(axis=1, keepdims=True)
    sure = np.exp(2 * x) / np.exp(2 * x).sum(axis=1, keepdims=True)
    labels = (random.random((rows, 1)) > np.cumsum(chances, axis=1)).sum(axis=1)
    task = Multiclass("neg_log_loss", classes=NAMES)
    logged = pl.DataFrame(
        {
            "score": task.scores(sure),
            "answer": [task.logged(one) for one in sure],
            "label": None,
            "target": [NAMES[number] for number in labels],
        }
    )
    return pl.DataFrame({"x": x[:, 0], "kind": np.where(x[:, 1] > 0, "up", "down")}), logged


def numbers(
    random: np.random.Generator, rows: int, shift: float = 0.0, concept: float = 1.0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Numbers whose errors grow with x, and are twice as large in one of two categories."""
    x, kind = random.normal(shift, 1, rows), random.choice(["b", "w"], rows)
    noise = random.normal(0, 1, rows) * np.exp(0.5 * x) * np.where(kind == "w", 2, 1)
    truth = 3 * x + noise * (2 - concept)
    logged = pl.DataFrame(
        {"score": 3 * x + 0.1, "answer": None, "label": None, "target": list(map(str, truth))}
    )
    return pl.DataFrame({"x": x, "kind": kind}), logged


def reference_of(task: Task, features: pl.DataFrame, logged: pl.DataFrame) -> ReferenceRows:
    labels = logged["label"] if task.kind == "binary" else logged["target"]
    answers = None if task.kind != "multiclass" else logged["answer"]
    return ReferenceRows(features, labels, logged["score"], answers, features, labels)


def true_quality(task: Task, window: Predictions) -> float:
    return task.evaluate(task.truth_of_log(window.rows), task.given_in_log(window.rows))[task.metric]
