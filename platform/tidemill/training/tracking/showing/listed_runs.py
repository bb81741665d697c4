"""Lists the runs of a project: ten thousand within a second where their database is a local SQLite file."""

import json
import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from tidemill.project import ProjectFolder, load_project
from tidemill.training.tracking.killed_runs import TurnsAtRest
from tidemill.training.tracking.local_documents import AskMlflow, open_database
from tidemill.training.tracking.run_values import TURN, Shown, TrackedRun, run_moment
from tidemill.training.tracking.showing.stored_runs import (
    IS_ITS,
    OF_PROJECT,
    names_of,
    versions_in,
)

__all__ = ["ListedRun", "list_project_runs"]

_STATUS = "CASE WHEN run.run_uuid IN (SELECT value FROM json_each(:killed)) THEN 'KILLED' ELSE run.status END"
_GOING = f"""
    SELECT run.run_uuid, turn.value AS turn {OF_PROJECT}
    JOIN tags AS turn ON turn.run_uuid = run.run_uuid AND turn.key = :turn
    WHERE run.lifecycle_stage = 'active' AND run.status = 'RUNNING' AND {IS_ITS}
"""
_LIST = f"""
    SELECT run.run_uuid, run.name, {_STATUS} AS status, run.start_time, run.end_time,
        parent.value AS parent, role.value AS role, coalesce(own.value, git.value) AS commit_id,
        changed.value AS changed, metric.value AS score, metric.is_nan
    {OF_PROJECT}
    LEFT JOIN tags AS parent ON parent.run_uuid = run.run_uuid AND parent.key = :parent
    LEFT JOIN tags AS role ON role.run_uuid = run.run_uuid AND role.key = :role
    LEFT JOIN tags AS own ON own.run_uuid = run.run_uuid AND own.key = :own_commit
    LEFT JOIN tags AS git ON git.run_uuid = run.run_uuid AND git.key = 'mlflow.source.git.commit'
    LEFT JOIN tags AS changed ON changed.run_uuid = run.run_uuid AND changed.key = :changed
    LEFT JOIN latest_metrics AS metric ON metric.run_uuid = run.run_uuid AND metric.key = :metric
    WHERE run.lifecycle_stage = 'active' AND {IS_ITS}
        AND (:status IS NULL OR {_STATUS} = :status)
        AND (:shown = 'all' OR (parent.value IS NULL) = (:shown = 'searches'))
    ORDER BY CASE WHEN :best THEN CASE WHEN metric.is_nan THEN NULL ELSE metric.value END END DESC NULLS LAST,
        run.start_time DESC, run.run_uuid
    LIMIT :size
"""


@dataclass(frozen=True)
class ListedRun:
    """A run in a list."""

    run_id: str
    name: str
    status: str
    role: str | None
    """``search``, ``trial``, or None for a run that Tidemill did not make."""
    parent: str | None
    started_at: datetime | None
    ended_at: datetime | None
    score: float | None
    """Value on record of the metric of the list."""
    commit: str | None
    uncommitted: str | None
    """How many files of its code no commit holds, and the first names; None: none."""
    versions: tuple[str, ...]
    """Versions of the project's model that were registered from it."""
    left: bool
    """Its process was killed, and nobody has gone on with it."""


def list_project_runs(
    folder: ProjectFolder,
    *,
    metric: str,
    shown: Shown = "searches",
    status: str | None = None,
    best: bool = False,
    size: int = 25,
) -> list[ListedRun]:
    """Return runs of the project: those of its experiment, and plain ones that were started in its folder.

    Args:
        folder: the project.
        metric: name on record of the metric that is shown.
        shown: ``searches``: those that are nobody's trial; ``trials``: only trials; or all.
        status: only those with this status of MLflow.
        best: the greatest value of the metric first; default: the latest first.
        size: the greatest number of runs.

    Raises:
        NotAnswering: MLflow's store is away, or cannot be read.
    """
    rest = TurnsAtRest(folder)
    try:
        database = open_database(folder)
        if database is None:
            return []
        with closing(database):
            names = {**names_of(folder), "turn": TURN}
            going = {row["run_uuid"]: row["turn"] for row in database.execute(_GOING, names)}
            wanted = {"metric": metric, "shown": shown, "status": status, "best": best, "size": size}
            killed = rest.killed(going)
            wanted |= {"killed": json.dumps(sorted(killed))}
            rows = database.execute(_LIST, {**names, **wanted}).fetchall()
            versions = versions_in(database, folder.model)
            return [_listed(row, versions.get(row["run_uuid"], ()), killed) for row in rows]
    except (AskMlflow, sqlite3.Error):
        from tidemill.training.tracking.run_reading import list_plain_runs, list_runs, versions_by_run

        project, by = load_project(folder.root), metric if best else None
        found = [
            *list_runs(project, shown=shown, status=status, metric=by, size=size).runs,
            *list_plain_runs(project, shown=shown, status=status, metric=by, size=size),
        ]
        registered = versions_by_run(project, [run.run_id for run in found])
        listed = [_as_listed(run, metric, registered.get(run.run_id, ())) for run in found]
        return sorted(listed, key=lambda run: _place_in_list(run, best=best))[:size]


def _place_in_list(run: ListedRun, *, best: bool) -> tuple[float, float, str]:
    """Return by what runs are sorted: those without a value last, the latest first."""
    value = -run.score if best and run.score is not None else math.inf
    return value, -run.started_at.timestamp() if run.started_at else math.inf, run.run_id


def _listed(row: sqlite3.Row, versions: tuple[str, ...], killed: frozenset[str]) -> ListedRun:
    return ListedRun(
        row["run_uuid"],
        row["name"] or "",
        row["status"],
        row["role"],
        row["parent"],
        run_moment(row["start_time"]),
        run_moment(row["end_time"]),
        None if row["is_nan"] else row["score"],
        row["commit_id"],
        row["changed"],
        versions,
        row["run_uuid"] in killed,
    )


def _as_listed(run: TrackedRun, metric: str, versions: Sequence[str]) -> ListedRun:
    score = run.metrics.get(metric)
    return ListedRun(
        run.run_id,
        run.name,
        run.status,
        run.role,
        run.parent,
        run.started_at,
        run.ended_at,
        None if score != score else score,
        run.origin.get("commit") or run.commit,
        run.origin.get("uncommitted"),
        tuple(versions),
        run.left,
    )
