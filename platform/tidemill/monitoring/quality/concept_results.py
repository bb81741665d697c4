"""Says what `concept_drift` found, in words and as values for the record."""

from typing import Any

import numpy as np
import polars as pl

from tidemill.monitoring.kind_sections import ConceptDriftConfig
from tidemill.monitoring.quality.error_changes import ErrorRise, Explained
from tidemill.monitoring.quality.mistake_changes import MistakeRise
from tidemill.tasks.task import Task

__all__ = ["Rise", "concept_alarms", "concept_results", "said_of"]

Rise = ErrorRise | MistakeRise
"""Of losses, or, for detectors of river, of mistakes."""


def concept_alarms(
    rise: Rise | None, explained: Explained | None, at: pl.Series, config: ConceptDriftConfig, task: Task
) -> list[str]:
    """Return a sentence for each sign that alarms.

    Args:
        rise: of the errors; None if it does not alarm.
        explained: by the window's labels; None if that does not alarm.
        at: when the rows were asked that the rise is of.
        config: by what they were judged.
        task: what is predicted.
    """
    said = [] if rise is None else [_alarm(rise, at, config, task)]
    if explained is not None:
        said.append(
            f"the window's own labels explain {explained.share:.0%} of what the errors vary "
            f"(alert at {config.explained:.0%}): the same rows have other labels than in training"
        )
    return said


def _alarm(rise: Rise, at: pl.Series, config: ConceptDriftConfig, task: Task) -> str:
    since = f"{at[rise.since]:%Y-%m-%d %H:%M} UTC"
    if isinstance(rise, ErrorRise):
        return (
            f"errors are {rise.share:.0%} larger since {since} (mean loss {rise.after:.4g}, "
            f"{rise.before:.4g} on the hold-out for such inputs; allowed: {config.max_rise:.0%})"
        )
    if rise.change is not None and rise.change.warned is not None:
        since += f", when it warned (certain at {at[rise.change.said]:%Y-%m-%d %H:%M} UTC)"
    return (
        f"river's {config.detector.name} finds more mistakes since {since}: {rise.after:.1%} of the rows "
        f"{_mistaken(task)}, {rise.before:.1%} on the hold-out for such inputs (allowed: "
        f"{config.max_rise:.0%} more)"
    )


def _mistaken(task: Task) -> str:
    if task.kind == "regression":
        return "are further off than half of the hold-out's"
    return "are given a wrong class"


def concept_results(
    rise: Rise, explained: Explained, at: pl.Series, config: ConceptDriftConfig
) -> dict[str, Any]:
    """Return the figures as JSON values; arguments are those of `concept_alarms`."""
    found: dict[str, Any] = {
        "detector": config.detector.name,
        "rise": rise.share if np.isfinite(rise.share) else None,
        "since": at[rise.since].isoformat() if rise.significant else None,
        "explained": explained.share,
        "explained_t": explained.t,
    }
    if isinstance(rise, ErrorRise):
        losses = {"loss": rise.after, "loss_on_holdout": rise.before}
        return found | losses | {"statistic": rise.statistic, "chance": rise.limit}
    return found | {
        "parameters": config.detector.model_dump(exclude={"name"}),
        "mistakes": rise.after,
        "mistakes_on_holdout": rise.before,
        "detected": None if rise.change is None else at[rise.change.said].isoformat(),
    }


def said_of(rise: Rise, explained: Explained, config: ConceptDriftConfig, task: Task) -> str:
    """Say how near errors and labels came to an alert."""
    noise = "" if explained.significant else ", within chance"
    if isinstance(rise, ErrorRise):
        chance = "" if rise.significant else ", within chance"
        errors = f"errors at most {max(rise.share, 0.0):.1%} larger than on the hold-out{chance}"
        allowed = f"{config.max_rise:.0%}"
    else:
        what = "a rise" if rise.significant else "no rise"
        errors = (
            f"river's {config.detector.name} finds {what} of mistakes: {rise.after:.1%} of the rows "
            f"{_mistaken(task)}, {rise.before:.1%} on the hold-out"
        ) + (" for such inputs" if rise.for_inputs else "")
        allowed = f"{config.max_rise:.0%} more"
    share = f"{max(explained.share, 0.0):.1%}{noise}"
    return (
        f"{errors}, alert at {allowed}; explained by the window's labels: {share}, "
        f"alert at {config.explained:.0%}"
    )
