"""Reads the archives of Comet's offline experiments: a zip with a line of JSON for each logged thing."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.foreign_run import ForeignRun, Point

__all__ = ["OF_MACHINE", "comet_archives", "read_comet_archive"]

_MESSAGES, _ABOUT = "messages.json", "experiment.json"
_COUNTERS = ("curr_step", "curr_epoch")
"""Parameters in which Comet counts."""
OF_MACHINE = ("sys.", "process duration")
"""How the names of metrics begin that Comet measures of the machine by itself."""


def comet_archives(folder: Path) -> list[Path]:
    """Return the archives with an offline experiment."""
    return sorted(file for file in folder.rglob("*.zip") if is_zipfile(file) and _is_experiment(file))


def _is_experiment(file: Path) -> bool:
    with ZipFile(file) as archive:
        return {_MESSAGES, _ABOUT} <= set(archive.namelist())


def read_comet_archive(file: Path, name: str) -> ForeignRun:
    """Return the experiment of an archive; what it measured of the machine is left out.

    Args:
        file: the archive.
        name: of the run, if the experiment was given none.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with ZipFile(file) as archive:
            content = archive.read(_MESSAGES)
        logged = [json.loads(line).get("payload") or {} for line in content.splitlines() if line.strip()]
        others = {one["key"]: one["value"] for one in logged if "key" in one and "value" in one}
        given = [one["param"] for one in logged if "param" in one]
        params = {str(one["paramName"]): str(one["paramValue"]) for one in given}
        commit = next((git.get("parent") for one in logged if (git := one.get("git_metadata"))), None)
        points = list(_points(logged))
    except (OSError, BadZipFile, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file} cannot be read as an offline experiment of Comet: {type(error).__name__}: {error}",
            hint="leave it out, or copy it again",
        ) from error
    params = {key: value for key, value in params.items() if key not in _COUNTERS}
    digest = hashlib.sha256(content).hexdigest()
    return ForeignRun(str(others.get("Name") or name), "comet", file, digest, points, params, commit)


def _points(logged: list[Mapping[str, Any]]) -> Iterator[Point]:
    """Yield the values of metrics; without a step each has its place among those of the metric."""
    seen: dict[str, int] = {}
    for message in logged:
        metric = message.get("metric")
        if metric is None or str(metric["metricName"]).startswith(OF_MACHINE):
            continue
        name, value, step = str(metric["metricName"]), float(metric["metricValue"]), metric.get("step")
        place = seen[name] = seen.get(name, -1) + 1
        if not math.isnan(value):
            yield Point(name, value, place if step is None else int(step), int(message["local_timestamp"]))
