"""Checks the time and the size of what would serve, beside the champion's, on this machine."""

import time
from typing import Any

import numpy as np
import pandas as pd

from tidemill.errors import DataError
from tidemill.project.gate_checks import LatencyCheck, SizeCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_description import read_signature
from tidemill.registry.versions.model_versions import compiled_record
from tidemill.registry.versions.version_record import ModelVersion

__all__ = ["check_latency", "check_size"]

_PAIRS = 30
_MB = 1_000_000


def check_latency(check: LatencyCheck, judged: Judged) -> GateFinding:
    """Return whether one row is answered soon enough: medians of calls made in turns with the champion's.

    Raises:
        DataError: the hold-out could not be scored.
    """
    rows = judged.scored().rows
    scorers = [one for one in (judged.served, judged.champion_served) if one is not None]
    frames = [rows[[n for n in one.features if n in rows.columns]].head(1).to_pandas() for one in scorers]
    times = _in_turns(scorers, frames)
    mine, theirs = times[0], times[1] if len(times) > 1 else None
    numbers: dict[str, Any] = {"calls": _PAIRS, "candidate": mine, "champion": theirs}
    said, passed = [f"one row takes {mine['ms']:.3f} ms"], True
    if check.max_ms is not None:
        passed = mine["ms"] <= check.max_ms
        said.append(f"at most {check.max_ms:g} ms is allowed")
    if check.max_ratio is not None and theirs is not None:
        numbers["ratio"] = ratio = mine["ms"] / theirs["ms"]
        passed = passed and ratio <= check.max_ratio
        said.append(
            f"{ratio:.2f} × the champion's {theirs['ms']:.3f} ms, at most {check.max_ratio:g} × is allowed"
        )
    return GateFinding(passed, ", ".join(said), numbers)


def _in_turns(scorers: list[Scorer], frames: list[pd.DataFrame]) -> list[dict[str, float]]:
    """Return median, and the bounds of nine tenths of the calls, in milliseconds, of each scorer."""
    for scorer, frame in zip(scorers, frames, strict=True):
        scorer.predict(frame)  # the first call may prepare something
    seconds: list[list[float]] = [[] for _ in scorers]
    for _ in range(_PAIRS):
        for place, (scorer, frame) in enumerate(zip(scorers, frames, strict=True)):
            start = time.perf_counter()
            scorer.predict(frame)
            seconds[place].append(time.perf_counter() - start)
    quantiles = [np.quantile(np.asarray(each) * 1000, [0.5, 0.05, 0.95]) for each in seconds]
    return [dict(zip(("ms", "low", "high"), map(float, each), strict=True)) for each in quantiles]


def check_size(check: SizeCheck, judged: Judged) -> GateFinding:
    """Return whether what would serve is small enough.

    Raises:
        DataError: the size is on no record.
        RegistryError: the registry does not answer.
    """
    mine = _size(judged, judged.candidate)
    theirs = None if judged.champion is None else _size(judged, judged.champion)
    said, passed = [f"it has {mine / _MB:.3f} MB"], True
    if check.max_mb is not None:
        passed = mine <= check.max_mb * _MB
        said.append(f"at most {check.max_mb:g} MB is allowed")
    if check.max_ratio is not None and theirs:
        passed = passed and mine / theirs <= check.max_ratio
        said.append(
            f"{mine / theirs:.2f} × the champion's {theirs / _MB:.3f} MB, "
            f"at most {check.max_ratio:g} × is allowed"
        )
    return GateFinding(passed, ", ".join(said), {"bytes": {"candidate": mine, "champion": theirs}})


def _size(judged: Judged, version: ModelVersion) -> int:
    """Return the bytes of the compiled artefact, or else of the model's files."""
    record = compiled_record(judged.project, version)
    if record is not None and record.status == "compiled":
        return record.size
    size = read_signature(judged.project, version.version).size
    if size is None:
        raise DataError(
            f"the size of version {version.version} is on no record",
            hint="compile it: `tidemill models compile`",
        )
    return size
