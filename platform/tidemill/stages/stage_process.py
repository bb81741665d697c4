"""Runs a stage on the project in the current folder, and reports its failure."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tidemill.errors import TidemillError
from tidemill.garbage import collect_rarely
from tidemill.project import Project, load_project

__all__ = ["run_stage", "say"]


def run_stage(stage: Callable[[Project], None]) -> None:
    """Run a stage on the project in the current folder; a failure is one message and exit code 1."""
    collect_rarely()
    try:
        stage(load_project(Path.cwd()))
    except TidemillError as error:
        say(f"error: {error}", to=sys.stderr)
        if error.hint:
            say(f"hint: {error.hint}", to=sys.stderr)
        raise SystemExit(1) from None


def say(text: str, to: TextIO | None = None) -> None:
    """Write a line, which DVC shows to the user."""
    stream = to or sys.stdout
    stream.write(text + "\n")
    stream.flush()
