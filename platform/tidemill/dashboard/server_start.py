"""What the dashboard's process does as it starts, so that it neither slows serving nor its first page."""

import importlib
import os
import resource
from typing import Final

from tidemill.threads import BackgroundThread

__all__ = ["READ_AHEAD", "allow_connections", "give_way", "read_ahead"]

READ_AHEAD: Final = ("tidemill.training.tracking.run_reading", "tidemill.lineage.graph.chain")
"""They import MLflow, which takes seconds; pages about runs, versions and lineage need it."""
_NICENESS = 10
_FILES = 8192


def give_way() -> None:
    """Let serving go first where processors are scarce; what is begun from here gives way as well."""
    os.nice(max(0, _NICENESS - os.nice(0)))


def allow_connections() -> None:
    """Let this process have more files and connections open than the 1,024 that are usual, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def read_ahead() -> None:
    """Begin to import what the first pages would wait for."""
    BackgroundThread("read ahead", lambda: [importlib.import_module(name) for name in READ_AHEAD]).start()
