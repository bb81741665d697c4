"""Tells what a process runs in: packages by the folders that hold them, lock file, hardware, threads."""

import hashlib
import os
import sys
from functools import lru_cache
from pathlib import Path
from platform import machine, python_version, system
from typing import Any

__all__ = ["LOCKS", "environment", "hardware", "lock_digest", "packages", "threads"]

LOCKS = ("requirements.lock", "uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "conda-lock.yml")
"""Files that fix an environment; the first that a project has is taken."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_GIB = 2**30


def environment(root: Path) -> dict[str, Any]:
    """Return lock file, packages, hardware and threads of a process that works in the project at ``root``."""
    return {
        "lock": lock_digest(root),
        "packages": packages(),
        "hardware": hardware(),
        "threads": threads(),
    }


def packages() -> dict[str, str]:
    """Return the version of Python and of each installed package.

    They stand in the names of folders: reading each package's own metadata takes a hundred times longer.

    >>> "numpy" in packages(), packages()["python"] == python_version()
    (True, True)
    """
    folders = tuple(path for path in sys.path if path.endswith("-packages"))
    stamps = tuple(Path(path).stat().st_mtime_ns if Path(path).is_dir() else 0 for path in folders)
    return {"python": python_version(), **_packages(folders, stamps)}


@lru_cache(maxsize=4)
def _packages(folders: tuple[str, ...], _stamps: tuple[int, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders:
        for name in sorted(file.name for file in Path(folder).glob("*.*-info")):
            if name.endswith((".dist-info", ".egg-info")):
                package, _, version = name.rpartition(".")[0].partition("-")
                found.setdefault(package.replace("_", "-").lower(), version.partition("-")[0])
    return dict(sorted(found.items()))


def lock_digest(root: Path) -> dict[str, str] | None:
    """Return name and SHA-256 of the project's lock file; None without one."""
    for name in LOCKS:
        file = root / name
        if file.is_file():
            state = file.stat()
            return {"file": name, "sha256": _sha256(file, state.st_mtime_ns, state.st_size)}
    return None


@lru_cache(maxsize=8)
def _sha256(file: Path, _changed: int, _size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def hardware() -> dict[str, str]:
    """Return processor, cores, memory and graphics cards of this machine, as far as files tell them."""
    found = {
        "system": f"{system()} {machine()}",
        "processor": _processor(),
        "cores": f"{os.cpu_count()} cores",
    }
    if "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{memory / _GIB:.0f} GiB"
    cards = [_line(file, "Model") for file in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    if cards:
        found["gpus"] = " + ".join(sorted(cards))
    return {name: value for name, value in found.items() if value}


def threads() -> dict[str, str]:
    """Return how many cores this process may use, and what limits the threads of numerical libraries."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = {name: os.environ[name] for name in _THREADS if os.environ.get(name)}
    return {"usable cores": str(usable), **limits}


def _processor() -> str:
    return _line(Path("/proc/cpuinfo"), "model name")


def _line(file: Path, name: str) -> str:
    """Return the value of a line ``name : value``; an empty text where there is none."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
