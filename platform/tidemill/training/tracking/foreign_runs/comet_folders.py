"""Reads the folders that ``cometx download`` writes of experiments: parameters, tags and all metrics.

The layout is that of cometx, Comet's tools: ``metadata.json``, ``parameters.json``, ``others.jsonl``,
``run/git_metadata.json``, and a line of JSON for each value of a metric, in ``metrics.jsonl`` or, of runs
that cometx took from other tools, in ``metrics/metric_NNNNN.jsonl``.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.comet_archives import comet_points
from tidemill.training.tracking.foreign_runs.foreign_run import ForeignRun, run_tags

__all__ = ["comet_folders", "read_comet_folder"]

_ABOUT, _PARAMETERS, _OTHERS, _GIT = (
    "metadata.json",
    "parameters.json",
    "others.jsonl",
    "run/git_metadata.json",
)
_METRICS = ("metrics.jsonl", "metrics_summary.jsonl")
_OF_EXPERIMENT = (_ABOUT, _OTHERS, *_METRICS)


def comet_folders(folder: Path) -> list[Path]:
    """Return the folders with parameters or other values of an experiment, and a further file of it."""
    named = {file.parent for name in (_PARAMETERS, _OTHERS) for file in folder.rglob(name)}
    return sorted(
        place
        for place in named
        if sum((place / name).is_file() for name in (_PARAMETERS, *_OF_EXPERIMENT)) > 1
    )


def read_comet_folder(folder: Path, name: str) -> ForeignRun:
    """Return the experiment whose files lie in a folder; what it measured of the machine is left out.

    Raises:
        DataError: a file cannot be read.
    """
    files = [folder / each for each in (_ABOUT, _PARAMETERS, _OTHERS, _GIT, _METRICS[0])]
    about, parameters, others_of, git, _whole = files
    files += sorted((folder / "metrics").glob("metric_*.jsonl"))
    content = {file: file.read_bytes() for file in files if file.is_file()}
    try:
        known = json.loads(content.get(about, b"{}"))
        given = json.loads(content.get(parameters, b"[]"))
        params = {str(one["name"]): str(one["valueCurrent"]) for one in given}
        others = {one["name"]: one["valueCurrent"] for one in _lines(content.get(others_of, b""))}
        commit = json.loads(content.get(git, b"{}")).get("parent")
        points = [point for file in files[4:] for point in comet_points(_lines(content.get(file, b"")))]
        tags = run_tags(
            labels=known.get("tags") or (),
            user=known.get("userName"),
            run=known.get("experimentKey"),
            project=known.get("projectName"),
        )
        began, ended = (int(known.get(each) or 0) or None for each in ("startTimeMillis", "endTimeMillis"))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{folder} cannot be read as an experiment of Comet: {type(error).__name__}: {error}",
            hint="leave it out, or download it again: `cometx download`",
        ) from error
    digest = hashlib.sha256(b"".join(content.values())).hexdigest()
    named = str(others.get("Name") or known.get("experimentName") or name)
    return ForeignRun(named, "comet", folder, digest, points, params, commit, tags, began=began, ended=ended)


def _lines(content: bytes) -> Iterator[Mapping[str, Any]]:
    yield from (json.loads(line) for line in content.splitlines() if line.strip())
