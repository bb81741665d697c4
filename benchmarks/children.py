"""Each measured system runs in its own process: its memory is its own, and it can be cut off."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

__all__ = ["Outcome", "report", "run"]


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
