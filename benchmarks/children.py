"""Runs a benchmark's steps in child processes with limits, which end with the benchmark."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tidemill.orphan_reaper import MARK, OrphanReaper

__all__ = ["Outcome", "clean_up_after", "report", "run"]


def clean_up_after(main: Callable[[], None]) -> None:
    """Run ``main``; its processes and temporary files are gone afterwards, however it ends: SIGKILL too.

    What lies in a folder that the caller named stays if the benchmark was killed by SIGKILL.
    """
    if MARK in os.environ:  # a child of a benchmark: its parent cleans up
        main()
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folder = tempfile.mkdtemp(prefix="bench-")
    guard = OrphanReaper.start(Path(folder))
    os.environ[MARK], os.environ["TMPDIR"], tempfile.tempdir = guard.mark, folder, folder
    try:
        main()
    finally:
        guard.stop()


@dataclass(frozen=True)
class Outcome:
    """What one child did."""

    report: dict[str, Any] | None
    """What it printed last; none if it failed or was cut off."""
    peak: float
    """Highest resident memory in GB: sampled every 20 ms, or the child's own account if higher."""
    cut: str
    """Why there is no report; empty if there is one."""


def run(module: str, arguments: list[str], *, seconds: float = 3600, gigabytes: float = 1000) -> Outcome:
    """Run ``python -m module arguments``; end it past so many seconds or GB of resident memory."""
    child = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    peak, cut, began, process = 0.0, "", time.monotonic(), psutil.Process(child.pid)
    while child.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss / 1e9)
        except psutil.NoSuchProcess:
            break
        if peak > gigabytes:
            cut = f"cut off at {gigabytes:.0f} GB after {time.monotonic() - began:.0f} s"
        elif time.monotonic() - began > seconds:
            cut = f"cut off after {seconds:.0f} s at {peak:.1f} GB"
        if cut:
            child.kill()
            break
        time.sleep(0.02)
    said = child.communicate()[0].strip().splitlines()
    if cut or child.returncode or not said:
        return Outcome(None, peak, cut or f"failed with exit code {child.returncode}")
    told = json.loads(said[-1])
    return Outcome(told, max(peak, told["peak"]), "")


def report(**values: float) -> None:
    """Print, in the child, what the parent reads; the peak of its memory is added."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    print(json.dumps({**values, "peak": peak}))


def resident() -> float:
    """Return the resident memory of this process in GB."""
    return float(psutil.Process().memory_info().rss / 1e9)
