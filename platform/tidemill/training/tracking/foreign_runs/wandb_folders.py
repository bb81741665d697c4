"""Reads the folders that Weights & Biases writes for each run.

The binary file has the whole history. Where it was not copied, settings and the last value of each metric are
read from the files beside it, and the history that wandb wrote before version 0.10.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.errors import DataError
from tidemill.files.yaml_reading import YamlError, parse_yaml
from tidemill.training.tracking.foreign_runs.exported_rows import read_export
from tidemill.training.tracking.foreign_runs.foreign_run import (
    ForeignRun,
    flat,
    milliseconds,
    numbers,
    step_number,
)
from tidemill.training.tracking.foreign_runs.wandb_exports import read_history
from tidemill.training.tracking.foreign_runs.wandb_files import read_wandb_file

__all__ = ["read_wandb_folder", "wandb_folders"]

_BINARY = "run-*.wandb"
_SUMMARY, _CONFIG, _METADATA = "wandb-summary.json", "config.yaml", "wandb-metadata.json"
_HISTORY = "wandb-history.jsonl"


def wandb_folders(folder: Path) -> list[Path]:
    """Return the folders with the binary file of a run, and those of others with its summary."""
    whole = {file.parent for file in folder.rglob(_BINARY) if file.is_file()}
    files = {file.parent for file in folder.rglob(_SUMMARY) if file.is_file()}
    return sorted(whole | {one for one in files if not {one, one.parent} & whole})


def read_wandb_folder(folder: Path, name: str) -> ForeignRun:
    """Return the run whose files lie in a folder.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        for file in sorted(folder.glob(_BINARY)):
            return read_wandb_file(file, name)
        content = {
            file: (folder / file).read_bytes()
            for file in (_SUMMARY, _CONFIG, _METADATA, _HISTORY)
            if (folder / file).is_file()
        }
        return _run(folder, name, content)
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        RecursionError,
        YamlError,
        struct.error,
    ) as error:
        raise DataError(
            f"{folder} cannot be read as a run of Weights & Biases: {error}",
            hint="leave it out, or copy it again",
        ) from error


def _run(folder: Path, name: str, content: Mapping[str, bytes]) -> ForeignRun:
    summary = _fields(_SUMMARY, json.loads(content[_SUMMARY]))
    about = _fields(_METADATA, json.loads(content.get(_METADATA, b"{}")))
    config = _fields(_CONFIG, parse_yaml(content.get(_CONFIG, b"{}").decode()) or {})
    commit = _fields(f"git in {_METADATA}", about.get("git") or {}).get("commit")
    at, step = milliseconds(float(summary.get("_timestamp", 0))), step_number(float(summary.get("_step", 0)))
    old = folder / _HISTORY
    points = (
        [point for run in read_history(read_export(old), name) for point in run.points]
        if old.is_file()
        else []
    )
    logged, last_only = {point.metric for point in points}, not points
    points += (point for point in numbers(summary, step, at) if point.metric not in logged)
    values = {key: each.get("value") if isinstance(each, Mapping) else each for key, each in config.items()}
    params = {key: str(each) for key, each in flat(values) if not key.startswith(("_", "wandb_version"))}
    digest = hashlib.sha256(b"".join(content.values())).hexdigest()
    commit = None if commit is None else str(commit)
    return ForeignRun(name, "wandb", folder, digest, points, params, commit, last_only=last_only)


def _fields(what: str, content: Any) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise TypeError(f"{what} has no fields")
    return content
