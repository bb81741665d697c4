"""Lists the kinds of monitors, and lets each judge a window; one that fails does not stop the others."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import polars as pl

from tidemill.errors import TidemillError
from tidemill.monitoring.findings import Finding, Findings, Judged
from tidemill.monitoring.kinds import (
    answer_calibration,
    concept_drift,
    data_drift,
    data_quality,
    estimated_decay,
    fairness,
    feature_skew,
    health,
    kpi,
    multivariate_drift,
    prediction_drift,
    quality_decay,
    slice_decay,
    slice_drift,
    staleness,
)
from tidemill.monitoring.monitor_config import Kind, Monitor
from tidemill.monitoring.windows.window_rows import WindowRows

__all__ = ["TABLE", "MonitorKind", "gather", "judge_window", "needs_rows"]

log = logging.getLogger(__name__)
_HIDDEN = "the label is personal: the log keeps pseudonyms, by which no answer is judged"


class MonitorKind(NamedTuple):
    """How a section of a monitor is judged."""

    judge: Callable[[WindowRows, Any], Judged]
    """Takes the window and the section."""
    finds: tuple[Kind, ...]
    """What its findings are called."""
    reads_labels: bool = False
    reads_rows: bool = True
    """Whether it looks at all columns; others look at a window's sketch, and at answers and few columns."""


TABLE: Mapping[str, MonitorKind] = {
    "data_drift": MonitorKind(data_drift.judge, ("data_drift", "feature_drift"), reads_rows=False),
    "prediction_drift": MonitorKind(prediction_drift.judge, ("prediction_drift",), reads_rows=False),
    "quality": MonitorKind(quality_decay.judge, ("quality",), True, reads_rows=False),
    "estimated_quality": MonitorKind(estimated_decay.judge, ("estimated_quality",), True),
    "feature_skew": MonitorKind(feature_skew.judge, ("feature_skew",), reads_rows=False),
    "multivariate_drift": MonitorKind(multivariate_drift.judge, ("multivariate_drift",)),
    "slice_quality": MonitorKind(slice_decay.judge, ("slice_quality",), True),
    "slice_drift": MonitorKind(slice_drift.judge, ("slice_drift",)),
    "concept_drift": MonitorKind(concept_drift.judge, ("concept_drift",), True),
    "calibration": MonitorKind(answer_calibration.judge, ("calibration",), True),
    "fairness": MonitorKind(fairness.judge, ("fairness",), True),
    "data_quality": MonitorKind(data_quality.judge, ("data_quality",)),
    "staleness": MonitorKind(staleness.judge, ("staleness",), reads_rows=False),
    "kpi": MonitorKind(kpi.judge, ("kpi",), True),
    "health": MonitorKind(health.judge, ("health",), reads_rows=False),
}
"""By the name of the section, in the order of findings."""


def judge_window(window: WindowRows, only: Collection[str] = TABLE) -> dict[str, Judged]:
    """Let each kind that the monitor watches judge a window.

    Args:
        window: to be judged.
        only: names of the sections that count.

    Returns:
        By the name of the section. A kind that failed is unjudged, with its error.

    Raises:
        Exception: every kind failed with an error that is not the project's: the first one.
    """
    found: dict[str, Judged] = {}
    failures: list[BaseException] = []
    for name, kind in TABLE.items():
        section = getattr(window.monitor, name)
        if section is None or name not in only:
            continue
        try:
            hidden = kind.reads_labels and getattr(section, "labels", True) and window.label_is_hidden
            found[name] = Judged(unjudged=_HIDDEN) if hidden else kind.judge(window, section)
        except TidemillError as error:
            found[name] = Judged(unjudged=str(error))
        except (Exception, pl.exceptions.PanicException) as error:
            log.warning("monitor %s: %s failed", window.monitor.name, name, exc_info=error)
            found[name] = Judged(unjudged=f"{type(error).__name__}: {error}")
            failures.append(error)
    if failures and len(failures) == len(found):
        raise failures[0]
    return found


def needs_rows(monitor: Monitor) -> bool:
    """Return whether the sketch of a window is not enough for a monitor."""
    kinds = [kind for name, kind in TABLE.items() if getattr(monitor, name) is not None]
    return monitor.against != "training" or any(kind.reads_rows for kind in kinds)


def gather(judged: Mapping[str, Judged]) -> Findings:
    """Return the findings of all kinds.

    >>> gather({"quality": Judged(unjudged="no labels")}).unjudged
    {'quality': 'no labels'}
    """
    found: list[Finding] = []
    unjudged: dict[Kind, str] = {}
    for name, one in judged.items():
        found += one.found
        if one.unjudged is not None:
            unjudged |= dict.fromkeys(TABLE[name].finds, one.unjudged)
    kinds = {kind for name in judged for kind in TABLE[name].finds}
    return Findings(tuple(found), frozenset(kinds - unjudged.keys()), unjudged)
