"""Read from the records and the registry which versions should answer now."""

import logging
from collections.abc import Callable

from tidemill.errors import RegistryError
from tidemill.project import Project
from tidemill.registry.deployments import live, reconcile
from tidemill.registry.versions.alias_names import differs
from tidemill.registry.versions.model_versions import CHAMPION
from tidemill.registry.versions.registry_reader import read_alias_names
from tidemill.serving.routing.traffic_split import DeployedVersion, DesiredState
from tidemill.state import State
from tidemill.state.tables import Deployment

__all__ = ["deployed_version", "desired_state_reader"]

_log = logging.getLogger(__name__)


def deployed_version(row: Deployment) -> DeployedVersion:
    """Return what a replica needs to know of a deployment."""
    return DeployedVersion(row.kind, row.name, row.version, row.share, row.salt)  # type: ignore[arg-type]


def desired_state_reader(project: Project, state: State) -> Callable[[], DesiredState]:
    """Return a function that says which versions should answer, for a poller to call.

    If the registry and the records have disagreed for two looks in a row, it has them settled: a deployment
    was killed half-way, or an alias was moved in the registry itself. It is asked every second: MLflow would
    load all versions of the model for it.
    """
    disagreed = False

    def read() -> DesiredState:
        nonlocal disagreed
        aliases, rows = read_alias_names(project), live(state, project.model)
        if differs(aliases, rows):
            if disagreed:
                rows = _settled(project, state, rows)
            disagreed = True
        else:
            disagreed = False
        return DesiredState(aliases.get(CHAMPION), tuple(sorted(map(deployed_version, rows))))

    return read


def _settled(project: Project, state: State, rows: list[Deployment]) -> list[Deployment]:
    try:
        reconcile(project, state, seconds=0)
    except RegistryError as error:  # another process moves aliases now, and settles it
        _log.info("the records and the registry do not agree yet: %s", error)
        return rows
    return live(state, project.model)
