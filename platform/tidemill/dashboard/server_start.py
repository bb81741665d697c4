"""What the dashboard's process does as it starts, so that it neither slows serving nor its first page."""

import importlib
import os
from typing import Final

from tidemill.threads import BackgroundThread

__all__ = ["READ_AHEAD", "give_way", "read_ahead"]

READ_AHEAD: Final = ("tidemill.training.tracking.run_reading", "tidemill.lineage.graph.chain")
"""They import MLflow, which takes seconds; pages about runs, versions and lineage need it."""
_NICENESS = 10


def give_way() -> None:
    """Let serving go first where processors are scarce; what is begun from here gives way as well."""
    os.nice(max(0, _NICENESS - os.nice(0)))


def read_ahead() -> None:
    """Begin to import what the first pages would wait for."""
    BackgroundThread("read ahead", lambda: [importlib.import_module(name) for name in READ_AHEAD]).start()
