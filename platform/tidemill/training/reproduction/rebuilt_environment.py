"""Builds the environment of a training anew with uv: from its lock file, else from its recorded packages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from platform import python_version

from tidemill.errors import TrainingError
from tidemill.training.tracking.origins.environment_capture import LOCKS
from tidemill.training.tracking.run_lineage import Lineage

__all__ = ["Interpreter", "own_interpreter", "rebuild"]

_LOCKED, _PROJECT_LOCK = "requirements.lock", "uv.lock"
_OWN = "tidemill"
_TOLD_LINES = 12
_INDEXES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
"""Where uv is told to look beside PyPI, which has no build with a local version, such as ``2.13.0+cpu``."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can fit a model."""

    python: Path
    environ: Mapping[str, str]
    """Variables that it needs beside those of this process."""
    made_from: str | None = None
    """What it was built from; None: it is that of this process."""


def own_interpreter() -> Interpreter:
    """Return the Python of this process."""
    return Interpreter(Path(sys.executable), {})


def rebuild(tree: Path, lineage: Lineage, folder: Path) -> Interpreter:
    """Build the environment of a training anew, below ``folder``.

    Tidemill itself is that of this process: it is what reads the record and fits.

    Args:
        tree: the project as it was: its lock file is what is installed.
        lineage: of the training; without a lock file the packages that it names are installed.
        folder: gets the environment.

    Raises:
        TrainingError: uv is missing or cannot install it, or neither lock file nor packages are on record.
    """
    uv, venv = _uv(), folder / "environment"
    python = lineage.packages.get("python", python_version())
    wanted = sys.executable if python == python_version() else python
    _run(uv, ["venv", "--quiet", "--python", wanted, str(venv)], tree)
    made = venv / "bin" / "python"
    lock = next((name for name in LOCKS if (tree / name).is_file()), None)
    if lock == _LOCKED:
        _run(uv, ["pip", "sync", "--quiet", "--python", str(made), lock], tree)
    elif lock == _PROJECT_LOCK:
        sync = ["sync", "--quiet", "--frozen", "--no-install-project", "--python", str(made)]
        _run(uv, sync, tree, {"UV_PROJECT_ENVIRONMENT": str(venv)})
    elif lock is not None:
        raise TrainingError(
            f"uv cannot install {lock}, the lock file of commit {lineage.git_commit[:10]}",
            hint="keep a requirements.lock beside it, or make its environment by hand and reproduce in it",
        )
    else:
        _install_recorded(uv, lineage, made, folder)
    return Interpreter(made, {"PYTHONPATH": str(_own_code(folder))}, lock or "the packages on record")


def _install_recorded(uv: str, lineage: Lineage, python: Path, folder: Path) -> None:
    recorded: Mapping[str, str] = (lineage.environment or {}).get("packages") or {}
    if not recorded:
        raise TrainingError(
            f"commit {lineage.git_commit[:10]} has no lock file, and the run no list of its packages",
            hint="without --rebuild it is fitted in the environment that is there",
        )
    elsewhere = any(os.environ.get(name) for name in _INDEXES)
    lines = [
        f"{name}=={version}\n"
        for name, version in recorded.items()
        if name not in ("python", _OWN) and (elsewhere or "+" not in version)
    ]
    (folder / "recorded.txt").write_text("".join(lines))
    _run(
        uv, ["pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", "recorded.txt"], folder
    )


def _own_code(folder: Path) -> Path:
    """Return a folder with this Tidemill and nothing else, for the path of another Python."""
    code = folder / "own"
    code.mkdir()
    (code / _OWN).symlink_to(Path(__file__).parents[2])
    return code


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    if found is None:
        raise TrainingError(
            "uv is not installed, which builds environments",
            hint="`pip install uv`, or reproduce without --rebuild",
        )
    return found


def _run(uv: str, arguments: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> None:
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        [uv, *arguments],
        cwd=folder,
        env={**env, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.strip().splitlines()[-_TOLD_LINES:]) or f"exit code {done.returncode}"
        raise TrainingError(
            f"the environment of the training cannot be built: uv {arguments[0]}: {said}",
            hint="a package may be gone from its index, or there is no network; without --rebuild the model "
            "is fitted in the environment that is there",
        )
