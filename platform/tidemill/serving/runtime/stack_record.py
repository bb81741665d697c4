"""The record of a stack that runs in the background: ``.tidemill/stack.json``."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import psutil

from tidemill.files.atomic import replace_file
from tidemill.project import Project

__all__ = ["DASHBOARD", "DASHBOARD_PORT", "StackInfo", "forget", "read", "status", "status_in", "write"]

DASHBOARD = "dashboard"
"""The companion that is a server: it is told where to listen, and waited for."""
DASHBOARD_PORT = 4300
"""Taken for it if it is free, so that an address that somebody kept often works again."""
_State = Literal["starting", "ready"]


@dataclass(frozen=True)
class StackInfo:
    """A stack in the background."""

    state: _State
    message: str
    """The last step of its start."""
    pid: int
    """Of the supervisor: everything else ends with it."""
    created: float
    """When that process began, as the operating system says; with ``pid`` it identifies the process."""
    folder: int = 0
    """Inode of the project's ``.tidemill``: a copy of a project has another, one that was moved has not."""
    mark: str = ""
    """In the environment of every process of the stack; see `tidemill.orphan_reaper`."""
    url: str = ""
    """Of the prediction API."""
    mlflow_url: str | None = None
    dashboard_url: str = ""
    """Of the dashboard, if it was started."""
    ray_address: str = ""
    logs: str = ""
    seconds: float = 0.0
    """From the beginning until it was ready."""
    companions: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the very process is still there: a number alone may be another's by now."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def write(project: Project, info: StackInfo) -> None:
    """Write the file, whole or not at all."""
    info = dataclasses.replace(info, folder=project.home.stat().st_ino)
    replace_file(_path(project), json.dumps(dataclasses.asdict(info), indent=2) + "\n", flush=False)


def read(project: Project) -> StackInfo | None:
    """Return what the file says, which may be outdated; None if there is no file."""
    return _read(_path(project))


def status(project: Project) -> StackInfo | None:
    """Return the stack that runs in the background for this project; None if none does."""
    return status_in(project.root)


def status_in(root: Path) -> StackInfo | None:
    """Return what `status` does for the project at ``root``, whose ``params.yaml`` may be broken or gone."""
    info = _read(root / ".tidemill" / "stack.json")
    return info if info is not None and info.alive else None


def forget(project: Project) -> None:
    """Remove the file."""
    _path(project).unlink(missing_ok=True)


def _read(path: Path) -> StackInfo | None:
    try:
        content = json.loads(path.read_text())
        info = StackInfo(**{**content, "companions": tuple(content["companions"])})
        return info if _is_whole(info) and info.folder in (0, path.parent.stat().st_ino) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _is_whole(info: StackInfo) -> bool:
    """Return whether every value is of its type, which it is not in a file that was changed by hand."""
    numbers = (info.pid, info.created, info.folder, info.seconds)
    texts = (
        info.message,
        info.mark,
        info.url,
        info.dashboard_url,
        info.ray_address,
        info.logs,
        *info.companions,
    )
    return (
        info.state in get_args(_State)
        and all(type(number) in (int, float) for number in numbers)
        and isinstance(info.pid, int)
        and info.pid > 0
        and all(isinstance(text, str) for text in texts)
        and isinstance(info.mlflow_url, str | None)
    )


def _path(project: Project) -> Path:
    return project.home / "stack.json"
