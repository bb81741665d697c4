"""Reads the archives of Comet's offline experiments: a zip with a line of JSON for each logged thing."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.foreign_run import (
    ForeignRun,
    Point,
    milliseconds,
    run_tags,
    step_number,
)

__all__ = ["OF_MACHINE", "comet_archives", "comet_points", "is_comet_archive", "read_comet_archive"]

_MESSAGES, _ABOUT = "messages.json", "experiment.json"
_COUNTERS = ("curr_step", "curr_epoch")
"""Parameters in which Comet counts."""
OF_MACHINE = ("sys.", "process duration")
"""How the names of metrics begin that Comet measures of the machine by itself."""


def comet_archives(folder: Path) -> list[Path]:
    """Return the archives with an offline experiment."""
    return sorted(file for file in folder.rglob("*.zip") if is_comet_archive(file))


def is_comet_archive(file: Path) -> bool:
    """Return whether a file is an archive with an offline experiment."""
    if not is_zipfile(file):
        return False
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
            content, about = archive.read(_MESSAGES), json.loads(archive.read(_ABOUT))
        logged = [json.loads(line).get("payload") or {} for line in content.splitlines() if line.strip()]
        others = {one["key"]: one["value"] for one in logged if "key" in one and "value" in one}
        given = [one["param"] for one in logged if "param" in one]
        params = {str(one["paramName"]): str(one["paramValue"]) for one in given}
        commit = next((git.get("parent") for one in logged if (git := one.get("git_metadata"))), None)
        tags = run_tags(labels=about.get("tags") or ())
        began, ended = (about.get(name) and int(about[name]) for name in ("start_time", "stop_time"))
        metrics = ((one["metric"], one["local_timestamp"]) for one in logged if one.get("metric"))
        points = list(comet_points({**metric, "timestamp": at} for metric, at in metrics))
    except (OSError, BadZipFile, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{file} cannot be read as an offline experiment of Comet: {type(error).__name__}: {error}",
            hint="leave it out, or copy it again",
        ) from error
    params = {key: value for key, value in params.items() if key not in _COUNTERS}
    digest = hashlib.sha256(content).hexdigest()
    named = str(others.get("Name") or name)
    return ForeignRun(
        named, "comet", file, digest, points, params, commit, tags, began=began or None, ended=ended or None
    )


def comet_points(logged: Iterable[Mapping[str, Any]]) -> Iterator[Point]:
    """Yield values of metrics as Comet names their fields, but not what it measured of the machine.

    A value without a step has its place among those of the metric.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: a field is missing, or is no number.

    >>> line = {"metricName": "f1", "metricValue": "0.5", "timestamp": 9}
    >>> [point.step for point in comet_points([{**line, "step": 7}, line])]
    [7, 1]
    """
    seen: dict[str, int] = {}
    for one in logged:
        name, given = str(one["metricName"]), one.get("metricValue")
        if given is None or name.startswith(OF_MACHINE):
            continue
        place = seen[name] = seen.get(name, -1) + 1
        value, step, at = float(given), one.get("step"), float(one.get("timestamp") or 0)
        if not math.isnan(value):
            yield Point(
                name, value, place if step is None else step_number(float(step)), milliseconds(at / 1000)
            )
