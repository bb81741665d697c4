"""Reads from the records which versions have passed a stage, and which were taken back."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from tidemill.project import Project
from tidemill.registry.history.serving_history import past_champions
from tidemill.state import State
from tidemill.state.tables import StageMove

if TYPE_CHECKING:
    from tidemill.registry.versions.version_record import ModelVersion  # imports MLflow; pages import this

__all__ = ["done_moves", "earlier_versions", "has_passed", "passed_stages"]


def passed_stages(project: Project, state: State, found: "ModelVersion") -> dict[str, datetime]:
    """Return the declared stages that a version has passed, and when it last did, event time."""
    when = {one.name: _passed_at(state, found, one.name) for one in project.config.stages}
    return {stage: at for stage, at in when.items() if at is not None}


def has_passed(state: State, found: "ModelVersion", stage: str) -> bool:
    """Return whether a version has passed a stage, and was not taken back since."""
    return _passed_at(state, found, stage) is not None


def _passed_at(state: State, found: "ModelVersion", stage: str) -> datetime | None:
    """Return when a version passed a stage; an alias that was set past Tidemill is no sign of that."""
    at = None
    for move in done_moves(state, found.model, stage, found.version):
        if move.kind == "rollback" and move.from_version == found.version:
            at = None
        if move.kind == "promotion" and (move.to_version, move.digest) == (found.version, found.digest):
            at = move.at
    return at


def done_moves(state: State, model: str, stage: str, version: str | None = None) -> list[StageMove]:
    """Return the moves of a stage's alias, in order; of one version, those to it and from it."""
    of = StageMove.model == model, StageMove.stage == stage, StageMove.status == "done"
    query = select(StageMove).where(*of).order_by(StageMove.requested_at, StageMove.id)
    if version is not None:
        query = query.where(or_(StageMove.to_version == version, StageMove.from_version == version))
    with state.transaction() as session:
        return list(session.scalars(query))


def earlier_versions(moves: Sequence[Any], now_there: str) -> list[str]:
    """Return the versions that a stage can go back to, the last one first.

    Args:
        moves: the records of its alias that are done, in order.
        now_there: the version that has it.

    >>> moves = [StageMove(kind="promotion", to_version=each) for each in "123"]
    >>> earlier_versions([*moves, StageMove(kind="rollback", to_version="2")], "2")
    ['1']
    >>> earlier_versions([*moves, StageMove(kind="rollback", to_version=None)], "4")
    []
    """
    known: list[tuple[str, str]] = []
    for move in moves:
        if move.to_version is None and move.kind == "rollback":
            known.clear()
        elif move.to_version is not None and move.kind != "outside":
            known.append((move.kind, move.to_version))
    return [version for version in reversed(past_champions(known)) if version != now_there]
