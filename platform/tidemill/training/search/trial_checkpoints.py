"""Keeps what a trial has made after a round, so that another process goes on from there.

Each checkpoint is one file: a line with a digest of the rest, a line of JSON with what was reported, then the
family's state. A file that a kill cut off counts as none.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.training.distributed import Saved

__all__ = [
    "TrialCheckpoint",
    "checkpoint_file",
    "file_in",
    "keep_checkpoint",
    "keep_checkpoints",
    "read_checkpoint",
    "write_checkpoint",
]

_NAME = "trial.checkpoint"
_KEPT = "checkpoints"


@dataclass(frozen=True)
class TrialCheckpoint:
    """What a trial had made."""

    params: str
    """Those of the trial: with others it is another one's."""
    history: tuple[Mapping[str, Any], ...]
    """What it reported after each round."""
    state: bytes
    """What its family goes on from."""

    @property
    def saved(self) -> Saved:
        """As families take it."""
        return Saved(len(self.history), self.state)


def checkpoint_file(search: Path, number: int) -> Path:
    """Return where the checkpoint of a trial lies that is to go on.

    Args:
        search: the folder of the search's journal.
        number: of the trial.
    """
    return search / _KEPT / f"{number:04d}"


def file_in(folder: Path) -> Path:
    """Return the file of a checkpoint in a folder of its own."""
    return folder / _NAME


def write_checkpoint(folder: Path, params: str, history: Sequence[Mapping[str, Any]], state: bytes) -> None:
    """Write a checkpoint into a folder of its own."""
    content = json.dumps([params, *history]).encode() + b"\n" + state
    (folder / _NAME).write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_checkpoint(file: Path) -> TrialCheckpoint | None:
    """Return a checkpoint; None: there is none, or it is not whole."""
    try:
        digest, _, content = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    history, _, state = content.partition(b"\n")
    params, *reported = json.loads(history)
    return TrialCheckpoint(params, tuple(reported), state)


def keep_checkpoints(results: Path, search: Path) -> None:
    """Move the last checkpoint of each trial from Ray's files to those of the search, if that is to go on."""
    if search.is_dir():
        for trial in results.glob("[0-9]*/"):
            keep_checkpoint(trial, search)


def keep_checkpoint(trial: Path, search: Path) -> None:
    """Move the last whole checkpoint of a trial to the files of the search.

    Args:
        trial: its folder, as Ray Tune fills it; its name is the trial's number, with an ending of Ray's where
            the trial began again.
        search: the folder of the search's journal.
    """
    found = [(file, checkpoint) for file in trial.glob(f"*/{_NAME}") if (checkpoint := read_checkpoint(file))]
    if found:
        last, _ = max(found, key=lambda one: len(one[1].history))
        place = checkpoint_file(search, int(trial.name.partition("_")[0]))
        place.parent.mkdir(exist_ok=True)
        last.replace(place)
    for folder in trial.glob("checkpoint_*/"):
        shutil.rmtree(folder, ignore_errors=True)
