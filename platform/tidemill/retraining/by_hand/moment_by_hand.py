"""Chooses the moment of a turn, an import or a question that a person asks for."""

from datetime import datetime

from sqlalchemy import select

from tidemill.clock import utc
from tidemill.data.repository.git import git_try
from tidemill.project import Project
from tidemill.project.moments import declared_moment, turn_moment
from tidemill.retraining.turns.turn_steps import data_message
from tidemill.state import State
from tidemill.state.tables import Turn

__all__ = ["moment_by_hand"]


def moment_by_hand(project: Project, state: State, given: datetime | None) -> datetime:
    """Return the moment of what is asked for by hand, as `turn_moment` does with the model's turns.

    They are those on record, and in a clone, which has no records of the original, the one whose data version
    the repository has.

    Raises:
        ConfigError, UsageError: as `turn_moment` raises them.
    """
    with state.transaction() as session:
        made = session.scalars(select(Turn.as_of).where(Turn.model == project.model)).all()
    turns = {utc(moment) for moment in made}
    if given is None and (declared := declared_moment(project)) not in turns:
        said = ("log", "-1", "--format=%H", "--fixed-strings", "--grep", data_message(declared))
        if git_try(project.root, *said).stdout.strip():
            turns.add(declared)
    return turn_moment(project, given, turns)
