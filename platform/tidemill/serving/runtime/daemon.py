"""Start a stack in the background, and stop exactly this stack."""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import psutil

from tidemill import orphan_reaper
from tidemill.errors import ServingError, StackNotRunning
from tidemill.project import Project
from tidemill.serving.runtime import stack_record
from tidemill.serving.runtime.bind_policy import require_safe_start
from tidemill.serving.runtime.child_processes import tail
from tidemill.serving.runtime.configuration_checks import require_coherent
from tidemill.serving.runtime.network import require_port
from tidemill.serving.runtime.stack_record import DASHBOARD, StackInfo

__all__ = ["down", "up"]

_START_SECONDS = 240.0


def up(
    project: Project,
    on_progress: Callable[[str], None] = lambda message: None,
    *,
    companions: Mapping[str, Sequence[str]] | None = None,
    foreground: bool = False,
    before: Callable[[], None] = lambda: None,
) -> StackInfo:
    """Start a stack for the project, and return when it is ready.

    It goes on when this process ends; ``supervisor.log`` in the project's logs says what it does.

    Args:
        project: what to serve, and where (its settings).
        on_progress: called with each step.
        companions: name → command line of programs to run beside it; they are restarted when they end.
            The one called ``dashboard`` is waited for.
        foreground: stay, and stop the stack at Ctrl-C; then there is no log of the supervisor.
        before: called when nothing stands against the start, right before it.

    Raises:
        ConfigError: the API would be open beyond this machine without keys or TLS; nothing was started.
        PortTaken: a port that was asked for is in use; nothing was started.
        ServingError: a stack runs already, or it did not come up: the message says why.
    """
    running = stack_record.status(project)
    if running is not None:
        raise ServingError(
            f"the stack of {project.root} is {running.state} already: {running.url or running.message} "
            f"(process {running.pid})",
            hint="`tidemill status` shows it, `tidemill down` stops it",
        )
    _clean(project)
    require_coherent(project)
    require_safe_start(project)
    settings = project.settings
    require_port(settings.serve_port, settings.host, "--port", "TIDEMILL_SERVE_PORT")
    require_port(settings.mlflow_port, settings.mlflow_host, "--mlflow-port", "TIDEMILL_MLFLOW_PORT")
    if DASHBOARD in (companions or {}):
        require_port(
            settings.dashboard_port, settings.dashboard_host, "--dashboard-port", "TIDEMILL_DASHBOARD_PORT"
        )
    before()
    if foreground:
        return _stay(project, companions or {}, on_progress)
    process = _detach(project, companions or {})
    try:
        return _wait(project, process, on_progress)
    except BaseException:
        with contextlib.suppress(psutil.Error):  # it has ended by itself
            process.terminate()
            process.wait()
        raise


def down(project: Project, seconds: float = 60.0, *, before: Callable[[], None] = lambda: None) -> StackInfo:
    """Stop the stack that runs in the background; return what it was.

    Args:
        project: whose stack.
        seconds: to wait for its end.
        before: called right before it is stopped, if it runs.

    Raises:
        StackNotRunning: none does. What a dead one left is removed all the same.
    """
    info = stack_record.status(project)
    if info is None:
        _clean(project)
        raise StackNotRunning(f"no stack is running for {project.root}", hint="`tidemill up` starts one")
    before()
    with contextlib.suppress(psutil.Error):  # it has ended by itself
        process = psutil.Process(info.pid)
        process.terminate()
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)
    _clean(project, info)
    return info


def _clean(project: Project, info: StackInfo | None = None) -> None:
    """End what is left of a stack whose supervisor is gone, and forget it."""
    info = info or stack_record.read(project)
    if info is not None and info.mark:
        left = orphan_reaper.kill_marked(info.mark)
        if left:
            raise ServingError(
                f"processes of the stack cannot be ended: {', '.join(str(one.pid) for one in left)}",
                hint="end them by their number: kill PID",
            )
    stack_record.forget(project)


def _stay(
    project: Project, companions: Mapping[str, Sequence[str]], on_progress: Callable[[str], None]
) -> StackInfo:
    from tidemill.serving.runtime.stack_supervisor import supervise

    last = StackInfo("starting", "", os.getpid(), psutil.Process().create_time())

    def tell(message: str) -> None:
        nonlocal last
        last = stack_record.read(project) or last
        on_progress(message)

    with contextlib.suppress(SystemExit):  # the way in which a signal ends it
        supervise(project, companions, tell)
    return last


def _detach(project: Project, companions: Mapping[str, Sequence[str]]) -> psutil.Process:
    project.logs.mkdir(parents=True, exist_ok=True)
    log = project.logs / "supervisor.log"
    lines = json.dumps({name: list(command) for name, command in companions.items()})
    # Not Popen: that would mind that the process outlives it.
    pid = os.posix_spawn(
        sys.executable,
        [
            *(sys.executable, "-m", "tidemill.serving.runtime.stack_supervisor"),
            *("--project", str(project.root), "--companions", lines),
        ],
        {**os.environ, **project.settings.variables()},
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    return psutil.Process(pid)


def _wait(project: Project, process: psutil.Process, on_progress: Callable[[str], None]) -> StackInfo:
    log = project.logs / "supervisor.log"
    deadline = time.monotonic() + _START_SECONDS
    told = ""
    while time.monotonic() < deadline:
        info = stack_record.status(project)
        if info is not None and info.pid == process.pid:
            if info.message != told:
                told = info.message
                on_progress(told)
            if info.state == "ready":
                return info
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise ServingError(f"the stack did not start: {_message(tail(log, 1))}", hint=f"see {log}")
        time.sleep(0.1)
    raise ServingError(f"the stack is not ready after {_START_SECONDS:.0f} s", hint=f"see {log}")


def _message(line: str) -> str:
    """Return what a line of the supervisor's log says, without its time, level and logger.

    >>> _message("2013-04-01 10:15:00,123 ERROR __main__: Ray: it has ended")
    'Ray: it has ended'
    >>> _message("ImportError: no such module")
    'ImportError: no such module'
    """
    return re.sub(r"^[\d-]+ [\d:,]+ [A-Z]+ [\w.]+: ", "", line)
