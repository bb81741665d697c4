"""Windows of a monitor made of frames, without a log or a registry."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.windows.time_windows import window_before
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.prediction_log.log_records import FEATURE_PREFIX
from tidemill.project import Project, load_project
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

NOW = datetime(2013, 4, 15, tzinfo=UTC)
DAYS = 14


def project_of(root: Path, task: str = "binary", **dataset: Any) -> Project:
    """Write a project without a feature store."""
    params = {
        "project": {"name": "made", "model": "made", "task": task, "training": "p:a"},
        "dataset": {"path": "data/set.parquet", "label": "label", **dataset},
        "features": {"from": "request"},
        "train": {"metric": "own:hits"} if task == "custom" else {},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "own.py").write_text("def hits(truth, answers):\n    return 1.0\n")
    return load_project(root)


def monitor_of(**sections: Any) -> Monitor:
    """Return a monitor that judges 300 rows and labels."""
    least = {"min_rows": 300, "min_labelled": 300}
    return Monitor.model_validate(
        {"name": "weekly", "window": f"{DAYS}d", "every": "7d", **least, **sections}
    )


def logged(
    task: Task,
    answers: np.ndarray,
    labels: list[object] | np.ndarray | None = None,
    features: Mapping[str, Any] | None = None,
    *,
    end: datetime = NOW,
    **columns: Any,
) -> pl.DataFrame:
    """Return rows as the log has them, spread over the fortnight before ``end``; other columns by name."""
    rows = len(answers)
    given = (
        [(None, None)] * rows
        if labels is None
        else [task.label_given(one) for one in pl.Series(labels).to_list()]
    )
    made = {
        "prediction_id": [f"p{place:05d}" for place in range(rows)],
        "version": ["1"] * rows,
        "at": [end - timedelta(days=DAYS) * (1 - place / rows) for place in range(rows)],
        "instance": ["{}"] * rows,
        "decision": ["{}"] * rows,
        "flags": pl.Series([[]] * rows, dtype=pl.List(pl.String)),
        "milliseconds": [1.0] * rows,
        "score": pl.Series(task.scores(answers)).fill_nan(None),
        "answer": pl.Series([task.logged(one) for one in answers], dtype=pl.String),
        "label": pl.Series([label for label, _ in given], dtype=pl.Int64),
        "target": pl.Series([target for _, target in given], dtype=pl.String),
    }
    made |= {f"{FEATURE_PREFIX}{name}": values for name, values in (features or {}).items()}
    return pl.DataFrame(made | columns)


def reference_of(
    task: Task, answers: np.ndarray, labels: np.ndarray | list[object], features: Mapping[str, Any]
) -> ReferenceRows:
    """Return a reference whose fitted rows are those of its hold-out."""
    frame, rows = pl.DataFrame(features), logged(task, answers)
    kept = rows["answer"] if rows["answer"].count() else None
    return ReferenceRows(
        frame, pl.Series(labels), rows["score"], kept, held_out=frame, held_out_labels=pl.Series(labels)
    )


def window_of(
    project: Project,
    monitor: Monitor,
    reference: ReferenceRows,
    rows: pl.DataFrame,
    on_holdout: Mapping[str, float] | None = None,
) -> WindowRows:
    """Return a window; rows with a label are labelled."""
    known = pl.col("label").is_not_null() | pl.col("target").is_not_null()
    metrics = on_holdout or {}
    span = window_before(NOW, timedelta(days=DAYS))
    return WindowRows(project, monitor, "1", metrics.get, span, reference, rows, rows.filter(known))


def as_json(values: list[Any]) -> list[str]:
    """Return values as a column of JSON."""
    return [json.dumps(value) for value in values]
