"""Lists outputs of scoring schedules outside the project, which an erasure names but does not search."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from tidemill.privacy.subject import Subject
from tidemill.project import Project
from tidemill.state import open_state
from tidemill.state.tables import BatchRun

__all__ = ["outputs_elsewhere"]


def outputs_elsewhere(project: Project, subject: Subject) -> list[dict[str, Any]]:
    """Return the recorded outputs that may still exist: ``schedule``, ``output``, ``rows``; oldest first.

    Outputs of a manual `tidemill score` are not recorded.
    """
    found = {run.output: run for run in _runs(project) if run.output and _is_elsewhere(project, run.output)}
    return [
        {"schedule": run.schedule, "output": subject.hidden_in(output), "rows": run.rows}
        for output, run in found.items()
    ]


def _runs(project: Project) -> Iterator[BatchRun]:
    state = open_state(project.state_url)
    try:
        with state.transaction() as session:
            yield from session.scalars(select(BatchRun).order_by(BatchRun.slot))
    finally:
        state.close()


def _is_elsewhere(project: Project, output: str) -> bool:
    """Return whether an output may exist outside the project's folder; no if its folder was deleted."""
    if "://" in output:
        return True
    path = (project.root / output).resolve()
    return path.exists() and not path.is_relative_to(project.root.resolve())
