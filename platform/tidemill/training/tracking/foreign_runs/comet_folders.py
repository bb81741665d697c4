"""Reads the folders that ``cometx download`` writes of experiments of Comet: parameters and all metrics.

The layout is that of cometx, Comet's tools: ``parameters.json``, ``others.jsonl``, and a line of JSON for
each value of a metric, in ``metrics/metric_NNNNN.jsonl`` or, of earlier releases, in ``metrics.jsonl``.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.comet_archives import OF_MACHINE
from tidemill.training.tracking.foreign_runs.foreign_run import ForeignRun, Point

__all__ = ["comet_folders", "read_comet_folder"]

_PARAMETERS, _OTHERS = "parameters.json", "others.jsonl"
_METRICS = ("metrics.jsonl", "metrics_summary.jsonl")


def comet_folders(folder: Path) -> list[Path]:
    """Return the folders with the parameters and the metrics of an experiment."""
    places = sorted(file.parent for file in folder.rglob(_PARAMETERS) if file.is_file())
    return [place for place in places if any((place / name).is_file() for name in _METRICS)]


def read_comet_folder(folder: Path, name: str) -> ForeignRun:
    """Return the experiment whose files lie in a folder; what it measured of the machine is left out.

    Raises:
        DataError: a file cannot be read.
    """
    files = [folder / _PARAMETERS, folder / _OTHERS, folder / _METRICS[0]]
    files += sorted((folder / "metrics").glob("metric_*.jsonl"))
    content = {file: file.read_bytes() for file in files if file.is_file()}
    try:
        params = {str(one["name"]): str(one["valueCurrent"]) for one in json.loads(content[files[0]])}
        others = {one["name"]: one["valueCurrent"] for one in _lines(content.get(files[1], b""))}
        points = [point for file in files[2:] for point in _points(content.get(file, b""))]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{folder} cannot be read as an experiment of Comet: {type(error).__name__}: {error}",
            hint="leave it out, or download it again: `cometx download`",
        ) from error
    digest = hashlib.sha256(b"".join(content.values())).hexdigest()
    return ForeignRun(str(others.get("Name") or name), "comet", folder, digest, points, params)


def _lines(content: bytes) -> Iterator[Mapping[str, Any]]:
    yield from (json.loads(line) for line in content.splitlines() if line.strip())


def _points(content: bytes) -> Iterator[Point]:
    """Yield the values of metrics; without a step each has its place among those of the metric.

    >>> line = '{"metricName": "f1", "metricValue": "0.5", "step": %s, "timestamp": 9}'
    >>> [point.step for point in _points("\\n".join([line % "7", line % "null"]).encode())]
    [7, 1]
    """
    seen: dict[str, int] = {}
    for line in _lines(content):
        name, given = str(line["metricName"]), line.get("metricValue")
        if given is None or name.startswith(OF_MACHINE):
            continue
        place = seen[name] = seen.get(name, -1) + 1
        value, step = float(given), line.get("step")
        if not math.isnan(value):
            yield Point(name, value, place if step is None else int(step), int(line.get("timestamp") or 0))
