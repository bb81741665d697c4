"""Open a replica's dependencies beside its model: API keys, records, registry, online features."""

from collections.abc import Callable
from dataclasses import dataclass

from tidemill.clock import Clock
from tidemill.errors import TidemillError
from tidemill.features.online.circuit_breaker import CircuitBreaker
from tidemill.prediction_log.writing.log_writer import LogHealth
from tidemill.project import Project
from tidemill.registry.versions.model_versions import list_versions
from tidemill.serving.http.admission import Admission
from tidemill.serving.http.keyring import Keyring
from tidemill.serving.observability.degradation import Degradation
from tidemill.serving.routing.cached_desired_state import CachedDesiredState
from tidemill.serving.routing.desired_state import desired_state_reader
from tidemill.serving.runtime.bind_policy import keys_required
from tidemill.state import State

__all__ = ["Dependencies", "body_bytes", "open_dependencies"]

_BYTES_PER_INSTANCE = 4096
_BYTES = 64 * 1024


@dataclass(frozen=True)
class Dependencies:
    """The parts; `start` and `stop` belong to the life of the application."""

    admission: Admission
    keyring: Keyring
    breaker: CircuitBreaker
    desired_state: CachedDesiredState
    degradation: Degradation

    def start(self) -> None:
        """Read the keys, and go on reading them."""
        self.keyring.start()

    def stop(self) -> None:
        """End the threads."""
        self.keyring.stop()
        self.breaker.stop()


def body_bytes(project: Project) -> int:
    """Return the largest body of a request, in bytes."""
    serve = project.config.serve
    return serve.limits.body_bytes or _BYTES + serve.max_instances * _BYTES_PER_INSTANCE


def open_dependencies(
    project: Project, state: State, clock: Clock, log_health: Callable[[], LogHealth]
) -> Dependencies:
    """Return what a replica of the project needs; nothing is asked yet."""
    jobs = project.config.serve.jobs
    larger = {"/jobs": jobs.max_bytes} if jobs.enabled else {}
    admission = Admission(keys_required(project), body_bytes(project), larger=larger)
    keyring = Keyring(admission, state, project.model, project.home / "keys.json", clock)
    breaker = CircuitBreaker(project.config.serve.feature_seconds)
    desired_state = CachedDesiredState(
        desired_state_reader(project, state),
        project.home / "models" / project.model / "wanted.json",
        lambda: _is_empty(project),
    )
    degradation = Degradation(
        {
            "features": lambda: breaker.problem,
            "registry": lambda: desired_state.problem,
            "records": lambda: keyring.problem,
            "log": lambda: log_health().error,
        }
    )
    return Dependencies(admission, keyring, breaker, desired_state, degradation)


def _is_empty(project: Project) -> bool:
    try:
        return not list_versions(project)
    except TidemillError:
        return True
