"""What the dashboard shows: the records, and the projects that keep theirs in them."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.accounts.look_alikes import skeleton
from tidemill.accounts.sign_on.sign_on_providers import SignOn, read_sign_on
from tidemill.clock import Clock, SystemClock
from tidemill.dashboard.live.cluster_watch import ClusterWatch
from tidemill.dashboard.live.serving_watch import ServingWatch
from tidemill.errors import ConfigError, NotWritable, ProjectNotFound, StateError
from tidemill.project import Project, load_project
from tidemill.state import State, open_state
from tidemill.state.served_records import ServedRecords
from tidemill.state.tables import KnownProject

__all__ = ["Installation", "ShownProject", "expect_project", "record_project"]

_log = logging.getLogger(__name__)
_WAIT_SECONDS = 5.0
"""A person who waits for an act would rather hear who holds the records."""


@dataclass(frozen=True)
class ShownProject:
    """A project as the records know it."""

    name: str
    """Roles are given by it."""
    model: str
    """All records carry it."""
    root: Path
    """Its folder, if that is on this machine."""


@dataclass(frozen=True)
class Installation:
    """The records behind the dashboard, and the project whose stack it runs in.

    Pages read by `records`, which takes no lock; acts write by `state`.
    """

    home: Project
    clock: Clock = field(default_factory=SystemClock)
    mlflow_url: str | None = None
    """Of MLflow's server on this machine, which its pages are fetched from; None if there is none."""
    api_url: str | None = None
    """Of the prediction API, whose metrics are read; None if none runs."""
    watch: ServingWatch | None = field(default=None, repr=False)
    """Reads those metrics; None where nobody started it."""
    cluster: ClusterWatch | None = field(default=None, repr=False)
    """Reads how the cluster is; None where nobody started it."""
    _loading: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def records(self) -> ServedRecords:
        """The records, to read."""
        return ServedRecords(self.home.state_url)

    @cached_property
    def state(self) -> State:
        """The records, to write."""
        return open_state(self.home.state_url, wait_seconds=_WAIT_SECONDS)

    @cached_property
    def sign_on(self) -> SignOn:
        """The providers of identities that people may log in by.

        Raises:
            ConfigError: the file that declares them is missing or wrong.
        """
        return read_sign_on(self.home.settings.oidc)

    def projects(self) -> Sequence[ShownProject]:
        """Return all projects, by name.

        Raises:
            TidemillError: the records cannot be read.
        """
        rows = self.records.select("projects", "1 = 1", order="name, model")
        return [ShownProject(row.name, row.model, Path(row.root)) for row in rows]

    def load(self, shown: ShownProject) -> Project:
        """Return a project with its declarations, as its acts need it; read anew each time.

        Raises:
            ConfigError: its folder is not on this machine, or its declarations are wrong.
        """
        try:
            return load_project(shown.root, self.home.settings)
        except ProjectNotFound as error:
            raise ConfigError(
                f"the folder of the project {shown.name} is not on this machine: {shown.root}",
                hint="do this where the project's stack runs, or start the stack again after a move",
            ) from error


def expect_project(installation: Installation) -> None:
    """Record the project that a dashboard runs in; where nothing can be written it must be on record.

    Pages can be read there all the same, and each act says why it cannot be done.

    Raises:
        ConfigError: another project has recorded a model of the same name.
        NotWritable, StateError: the records can be read no more than written, or do not have the project.
    """
    try:
        record_project(installation.state, installation.home, installation.clock.now())
    except (NotWritable, StateError) as error:
        if installation.home.model not in {one.model for one in installation.projects()}:
            raise
        _log.warning("pages are shown, but nothing can be done here now: %s", error)


def record_project(state: State, project: Project, now: datetime) -> None:
    """Record that a project keeps its records here.

    Raises:
        ConfigError: another project has recorded a model of the same name.
        StateError: the records cannot be written.
    """
    with state.transaction() as session:
        known = session.get(KnownProject, project.model)
        name = project.config.project.name
        if known is None:
            _refuse_look_alike(session, project.model)
            known = KnownProject(model=project.model, name=name, root=str(project.root), seen_at=now)
            session.add(known)
        elif known.name != name:
            raise ConfigError(
                f"the model {project.model} belongs to the project {known.name} in these records",
                hint="give project.model another name, or set TIDEMILL_STATE_URL to other records",
            )
        known.root, known.seen_at = str(project.root), now


def _refuse_look_alike(session: Session, model: str) -> None:
    names = session.scalars(select(KnownProject.model))
    if (other := next((one for one in names if skeleton(one) == skeleton(model)), None)) is not None:
        raise ConfigError(
            f"the model's name {model!r} looks like {other!r} of another project in these records",
            hint="give project.model a name that nobody takes for that one",
        )
