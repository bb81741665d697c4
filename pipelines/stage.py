"""Runs a stage, reads and writes its files, and reports its failures."""

import atexit
import gc
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from tidemill import DataError, Project, TidemillError, load_project, replacing_files

__all__ = ["read_parquet", "run_stage", "write_outputs"]


def run_stage(stage: Callable[[Project], None]) -> None:
    """Run a stage on the project in the current folder; a failure is one message and exit code 1."""
    atexit.register(gc.freeze)  # to look for garbage at the end takes a quarter of a stage's time
    try:
        stage(load_project(Path.cwd()))
    except TidemillError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the face of a stage
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


def read_parquet(path: Path, stage: str) -> pl.DataFrame:
    """Read what an earlier stage wrote.

    Raises:
        DataError: it is not there, or is not parquet.
    """
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, PolarsError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=f"make it: `dvc repro {stage}`") from error


def write_outputs(outputs: Mapping[Path, pl.DataFrame | Mapping[str, Any]]) -> None:
    """Write frames as parquet and mappings as JSON: first all beside their places, then all into place.

    Raises:
        DataError: a file cannot be written; none is then changed.
    """
    path = Path()
    try:
        with replacing_files() as draft_of:
            for path, content in outputs.items():
                if isinstance(content, pl.DataFrame):
                    content.write_parquet(draft_of(path), compression="zstd", statistics=True)
                else:
                    draft_of(path).write_text(json.dumps(content, indent=2) + "\n")
    except (OSError, PolarsError) as error:
        raise DataError(
            f"{path} cannot be written: {error}", hint="check that the disk has space and can be written"
        ) from error
