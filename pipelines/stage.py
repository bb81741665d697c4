"""Runs a stage, reads and writes its files, and reports its failures."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from tidemill import DataError, Project, TidemillError, load_project

__all__ = ["read_parquet", "run_stage", "write_outputs"]


def run_stage(stage: Callable[[Project], None]) -> None:
    """Run a stage on the project in the current folder; a failure is one message and exit code 1."""
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
    parts: dict[Path, Path] = {}
    try:
        for path, content in outputs.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            os.close(handle)
            parts[path] = Path(name)
            if isinstance(content, pl.DataFrame):
                content.write_parquet(name, compression="zstd", statistics=True)
            else:
                Path(name).write_text(json.dumps(content, indent=2) + "\n")
            Path(name).chmod(0o644)
        for path, part in parts.items():
            part.replace(path)
    except (OSError, PolarsError) as error:
        raise DataError(
            f"{path} cannot be written: {error}", hint="check that the disk has space and can be written"
        ) from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
