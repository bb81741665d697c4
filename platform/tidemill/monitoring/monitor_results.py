"""Formats the results of a monitor run: a Markdown title for its report, and JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.errors import MonitoringError
from tidemill.monitoring.findings import Findings, Judged
from tidemill.monitoring.measured_figures import measured
from tidemill.monitoring.windows.logged_windows import compared_with
from tidemill.monitoring.windows.time_windows import Window
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted
from tidemill.state.tables import MonitorRun

__all__ = ["about_other_versions", "results_of", "title_of", "write_json"]


_ALWAYS = ("data_drift", "prediction_drift", "class_drift", "quality", "estimated_quality", "feature_skew")
"""Entries that are null where nothing was measured."""


def results_of(window: WindowRows, judged: Mapping[str, Judged], findings: Findings) -> dict[str, Any]:
    """Return the results of a run as JSON values."""
    found: dict[str, Any] = dict.fromkeys(_ALWAYS)
    for one in judged.values():
        found |= one.results
    found |= {
        "findings": [{"kind": each.kind, "message": each.message} for each in findings.found],
        "unjudged": dict(findings.unjudged),
        "sample": {
            "reference_rows": window.shown_baseline.features.height,
            "current_rows": window.height,
        },
    }
    if window.monitor.against != "training":
        span = window.compared_span
        ends = None if span is None else [span.start.isoformat(), span.end.isoformat()]
        found["against"] = {"what": compared_with(window.monitor.against), "window": ends}
    kinds = {each.kind for each in findings.found}
    gathered = {
        "said": {name: one.said for name, one in judged.items() if one.said is not None},
        "warnings": [told for one in judged.values() for told in one.warnings],
        "examples": {
            kind: list(ids)
            for one in judged.values()
            for kind, ids in one.examples.items()
            if ids and kind in kinds
        },
    }
    return found | {name: values for name, values in gathered.items() if values}


def about_other_versions(by_version: Mapping[str, int], version: str, least: int) -> tuple[str, ...]:
    """Say that most rows of a window are by other versions, where that is why little was judged.

    >>> about_other_versions({"2": 600, "3": 40}, "3", 300)
    ('600 of 640 predictions are by other versions; answers and labels are judged by those of 3 alone',)
    >>> about_other_versions({"2": 600, "3": 400}, "3", 300), about_other_versions({"3": 40}, "3", 300)
    ((), ())
    """
    every = sum(by_version.values())
    others = every - by_version.get(version, 0)
    if not others or every - others >= least:
        return ()
    many = counted(every, "prediction")
    alone = f"answers and labels are judged by those of {version} alone"
    return (f"{others:,} of {many} are by other versions; {alone}",)


def title_of(run: MonitorRun, own: int, judged: Mapping[str, Judged]) -> str:
    """Return the title of a report in Markdown; ``own`` is the number of the version's own predictions.

    The figures are those of the run's results.
    """
    against = run.results.get("against")
    reference = f"what version {run.version} was trained on"
    if against is not None:
        reference = " … ".join([against["what"], *(against["window"] or ())])
    lines = [
        f"# {run.monitor}: {run.model} version {run.version}",
        f"Window: {Window(run.window_start, run.window_end)}. "
        f"{run.rows:,} predictions, {own:,} of them by version {run.version}; "
        f"the labels of {run.labelled:,} of these are known.",
        f"Reference: {reference}. Distances: for "
        "numbers Wasserstein's, in standard deviations of the reference; for categories Jensen–Shannon's.",
    ]
    lines += [f"{name.capitalize()}: {said}." for name, said in measured(run.results).items()]
    return "\n\n".join([*lines, *(note for one in judged.values() for note in one.notes)])


def write_json(path: Path, run: MonitorRun) -> None:
    """Write a run and its results.

    Raises:
        MonitoringError: the file cannot be written.
    """
    facts = {
        "id": run.id,
        "monitor": run.monitor,
        "model": run.model,
        "version": run.version,
        "window": [run.window_start.isoformat(), run.window_end.isoformat()],
        "rows": run.rows,
        "labelled": run.labelled,
        "verdict": run.verdict,
        **run.results,
    }
    try:
        path.write_text(
            json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise MonitoringError(
            f"the results cannot be written: {path}: {error.strerror or error}", hint="free space there"
        ) from error
