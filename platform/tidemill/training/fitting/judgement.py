"""Judge a fitted model on the hold-out, and keep what monitors and gates compare with."""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from mlflow import MlflowClient

from tidemill.project import Project
from tidemill.tasks.paired_bootstrap import metric_interval
from tidemill.tasks.task import Answers
from tidemill.training.fitting.split_rows import SplitRows, sample_rows
from tidemill.training.splits import blocks_of
from tidemill.training.tracking.mlflow_tracking import log_values
from tidemill.training.tracking.reference_rows import ReferenceRows
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.training_result import HOLDOUT, REFERENCE

__all__ = ["judge", "log_judged", "reference_of"]

_REFERENCE_ROWS = 10_000
_HOLDOUT_ROWS = 200_000


def log_judged(
    project: Project,
    client: MlflowClient,
    rows: SplitRows,
    run_id: str,
    answer: Callable[[pl.DataFrame], Answers],
) -> dict[str, float]:
    """Log the hold-out and the version's reference to the run, and return the metrics on the hold-out.

    The run has the interval of the task's metric, too: ``holdout_…_low`` and ``holdout_…_high``.

    Args:
        project: whose task and metrics count.
        client: of the tracking store.
        rows: the sides of the split.
        run_id: the run.
        answer: gives a model's answers to some of the rows.
    """
    answers = answer(rows.holdout)
    metrics = judge(project, rows.holdout, answers)
    log_values(client, run_id, metrics=_interval(project, rows.holdout, answers))
    log_table(client, run_id, reference_of(project, rows, answers).table(), REFERENCE)
    log_table(client, run_id, sample_rows(rows.holdout, _HOLDOUT_ROWS, project.config.train.seed), HOLDOUT)
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def judge(project: Project, holdout: pl.DataFrame, answers: Answers) -> Mapping[str, float]:
    """Return the metrics of answers to the hold-out, of all of it and by month."""
    dataset, task = project.config.dataset, project.task
    truth = task.truth(holdout, dataset.label)
    judged = {f"holdout_{name}": value for name, value in task.evaluate(truth, answers).items()}
    if dataset.time is None:
        return judged
    months = task.by_month(holdout[dataset.time], truth, answers)
    return {
        **judged,
        **{f"{task.metric}_{month}": found[task.metric] for month, found in months.items()},
    }


def _interval(project: Project, holdout: pl.DataFrame, answers: Answers) -> dict[str, float]:
    """Return the ends of the task's metric on the hold-out, or on a part of it if it is very large."""
    task, seed = project.task, project.config.train.seed
    every = -(-holdout.height // _HOLDOUT_ROWS)
    rows, answers = holdout.gather_every(every), answers[::every]
    truth = task.truth(rows, project.config.dataset.label)
    found = metric_interval(task, truth, answers, blocks_of(rows, project.config.dataset), seed)
    name = f"holdout_{task.metric}"
    return {} if found is None else {f"{name}_low": found.low, f"{name}_high": found.high}


def reference_of(project: Project, rows: SplitRows, answers: Answers) -> ReferenceRows:
    """Return the reference of a model: a sample of the fitted rows, and of its answers to the hold-out.

    Args:
        project: what is predicted.
        rows: the sides of the split.
        answers: to all rows of the hold-out, in their order.
    """
    task, label, seed = project.task, project.config.dataset.label, project.config.train.seed
    fitted = sample_rows(rows.fit, _REFERENCE_ROWS, seed)
    size = min(len(answers), _REFERENCE_ROWS)
    places = np.sort(np.random.default_rng(seed).permutation(len(answers))[:size])
    answers, held_out = answers[places], rows.holdout[places]
    logged = pl.Series([task.logged(answer) for answer in answers], dtype=pl.String)
    return ReferenceRows(
        fitted[list(rows.features)],
        fitted[label],
        pl.Series(task.scores(answers)),
        logged if logged.null_count() < len(logged) else None,
        held_out[list(rows.features)],
        held_out[label],
    )
