"""The local stack: the prediction API on Ray Serve, and beside it MLflow's server and other programs."""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from tidemill.errors import ServingError
from tidemill.orphan_reaper import MARK, OrphanReaper
from tidemill.project import Project
from tidemill.serving.runtime import tracking_server
from tidemill.serving.runtime.bind_policy import require_safe_start
from tidemill.serving.runtime.child_processes import ChildProcess
from tidemill.serving.runtime.configuration_checks import require_coherent
from tidemill.serving.runtime.network import free_port, require_port
from tidemill.serving.runtime.stack_record import DASHBOARD, DASHBOARD_PORT, StackInfo, status

__all__ = ["LocalStack", "StackInfo", "attach", "status"]

_READY_SECONDS = 120.0
_LONGEST_FOLDER = 28  # Ray puts sockets 70 characters below it, and Linux allows 107


class LocalStack:
    """A stack that lives as long as the block, or from `start` to `stop`.

    It runs in this process's name: when this process ends, in whatever way, all of it ends within seconds,
    and its temporary folder goes too (see `tidemill.orphan_reaper`).

        with LocalStack(project, print) as stack:
            PredictionClient(stack.url).predict([...])
    """

    def __init__(
        self,
        project: Project,
        on_progress: Callable[[str], None] = lambda message: None,
        *,
        mlflow_server: bool = True,
        companions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Take the parts; nothing is started yet.

        Args:
            project: what to serve. Its settings say where to listen, and how many CPUs Ray may use.
            on_progress: called with each step.
            mlflow_server: whether MLflow's server is started too; never if the project uses one already.
            companions: name → command line of other programs, started last, with Ray's address.
                The one called ``dashboard`` is told where to listen and where the servers are.
        """
        self.project = project
        self.url = ""
        """Of the prediction API, when it has started."""
        self.mlflow_url: str | None = None
        """Of MLflow's server, if there is one."""
        self.dashboard_url = ""
        """Of the dashboard, if it is among the companions."""
        self.ray_address = ""
        """Of Ray, for other processes."""
        self._tell = on_progress
        self._mlflow = mlflow_server
        self._companions = dict(companions or {})
        self._children: list[ChildProcess] = []
        self._engines: list[psutil.Process] = []
        self._guard: OrphanReaper | None = None

    @property
    def mark(self) -> str:
        """The mark in the environment of every process of the stack."""
        return self._guard.mark if self._guard else ""

    def start(self) -> None:
        """Start everything, and return when it answers.

        Raises:
            ConfigError: the project's application cannot be imported, its ``serve`` section does not fit
                together, or the API would be open beyond this machine without keys or TLS; nothing started
            PortTaken: a port that was asked for is in use; nothing was started.
            ServingError: a process did not start; those that did were stopped.
        """
        settings = self.project.settings
        require_coherent(self.project)  # now, not after a minute of tries
        require_safe_start(self.project)
        port = require_port(settings.serve_port, settings.host, "--port", "TIDEMILL_SERVE_PORT")
        mlflow_port = require_port(
            settings.mlflow_port, settings.mlflow_host, "--mlflow-port", "TIDEMILL_MLFLOW_PORT"
        )
        try:
            self._start(port, mlflow_port)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything that was started; may be called at any time, and twice."""
        if self._guard is None:
            return
        try:
            for child in reversed(self._children):
                child.stop()
            if "tidemill.serving.runtime.ray_cluster" in sys.modules:
                sys.modules["tidemill.serving.runtime.ray_cluster"].stop()
        finally:
            self._guard.stop()
            self._guard, self._children, self._engines = None, [], []

    def restart_if_ended(self) -> None:
        """Start again what has ended beside the API; call it now and then.

        Raises:
            ServingError: Ray itself has ended, and the API with it.
        """
        for child in self._children:
            child.restart_if_ended()
        for engine in self._engines:
            if not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE:
                raise ServingError(f"Ray's process {engine.pid} has ended", hint="start the stack again")

    def __enter__(self) -> "LocalStack":
        """Start everything."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self.stop()

    def _start(self, port: int, mlflow_port: int) -> None:
        folder = _new_folder()
        self._guard = OrphanReaper.start(folder)
        host = self.project.settings.host
        mlflow = self._start_mlflow(self.project.settings.mlflow_host, mlflow_port)
        self._tell("starting Ray and Ray Serve")
        from tidemill.serving.runtime import ray_cluster

        self.ray_address = ray_cluster.start(self.project, folder, self.mark, host, port)
        self._engines = [
            child for child in psutil.Process().children() if child.name() in ("gcs_server", "raylet")
        ]
        self.url = _address(host, port)
        self._tell("waiting for the prediction API")
        _wait(f"{self.url}/healthz", "the prediction API", self.project.logs, lambda: None)
        if mlflow is not None:
            self._tell("waiting for MLflow's server")
            self.mlflow_url = _address(self.project.settings.mlflow_host, mlflow_port)
            _wait(f"{self.mlflow_url}/health", "MLflow's server", self.project.logs, mlflow.require_alive)
        for name, command in self._companions.items():
            self._tell(f"starting the {name}")
            environment = ray_cluster.join_variables() | self._addresses()
            if name == DASHBOARD:
                self._start_dashboard(command, environment)
            else:
                self._add_child(name, command, environment)

    def _start_mlflow(self, host: str, port: int) -> ChildProcess | None:
        if not self._mlflow or self.project.tracking_uri.startswith("http"):
            return None
        self._tell("starting MLflow's server")
        command = tracking_server.command(self.project, host, port)
        return self._add_child("mlflow", command, tracking_server.environment())

    def _start_dashboard(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        host = self.project.settings.dashboard_host
        port = self.project.settings.dashboard_port or free_port(host, DASHBOARD_PORT)
        servers = [*("--api", self.url), *(("--mlflow", self.mlflow_url) if self.mlflow_url else ())]
        child = self._add_child(
            DASHBOARD, [*command, "--host", host, "--port", str(port), *servers], environment
        )
        self.dashboard_url = _address(host, port)
        _wait(f"{self.dashboard_url}/healthz", "the dashboard", self.project.logs, child.require_alive)

    def _addresses(self) -> dict[str, str]:
        return {"TIDEMILL_RAY_ADDRESS": self.ray_address}

    def _add_child(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> ChildProcess:
        log = self.project.logs / f"{name}.log"
        child = ChildProcess(name, command, {**environment, MARK: self.mark}, log, self.project.root)
        self._children.append(child)
        child.start()
        return child


def attach(project: Project) -> Project:
    """Return the project with the addresses of its running stack, so that this process works on its Ray.

    A project without a running stack, or whose settings name a Ray, is returned as it is.
    """
    info = status(project)
    if info is None or info.state != "ready" or project.settings.ray_address:
        return project
    from tidemill.serving.runtime import ray_cluster

    ray_cluster.join()
    return replace(project, settings=replace(project.settings, ray_address=info.ray_address))


def _new_folder() -> Path:
    base = tempfile.gettempdir()
    if len(base) + len("/tidemill-12345678") > _LONGEST_FOLDER:
        base = "/tmp"  # noqa: S108 — the folder in it is made by mkdtemp, for us alone
    return Path(tempfile.mkdtemp(prefix="tidemill-", dir=base))


def _address(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://{f'[{reachable}]' if ':' in reachable and reachable[0] != '[' else reachable}:{port}"


def _wait(url: str, what: str, logs: Path, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    with httpx.Client(trust_env=False, timeout=5) as client:
        while True:
            check()
            try:
                if client.get(url).is_success:
                    return
            except httpx.HTTPError:
                pass  # not up yet: the deadline below has the last word
            if time.monotonic() > deadline:
                raise ServingError(
                    f"{what} does not answer at {url} after {_READY_SECONDS:.0f} s",
                    hint=f"see the logs in {logs}",
                )
            time.sleep(0.05)
