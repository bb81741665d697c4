"""Tells whether a project has the traffic that a rollout needs to end."""

import math
from datetime import datetime, timedelta

from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import Project
from tidemill.project.serve_config import RolloutConfig

__all__ = ["has_traffic", "rows_needed"]


def rows_needed(plan: RolloutConfig) -> int:
    """Return how many rows must be answered in ``give_up_hours`` for the step that waits longest for its own.

    >>> rows_needed(RolloutConfig())  # 200 rows of 1 %
    20000
    >>> rows_needed(RolloutConfig(proof={"days": 14}))  # 200 rows of 10 %; the first step has 15 days
    2000
    """
    hours = [plan.late_after(step) or 1.0 for step in range(len(plan.steps))]
    usual = plan.give_up_hours or 1.0
    return max(
        math.ceil(step.requests / step.share * usual / most)
        for step, most in zip(plan.steps, hours, strict=True)
    )


def has_traffic(project: Project, now: datetime) -> bool:
    """Return whether as many rows were answered lately as each step of a rollout needs before it gives up.

    Raises:
        ServingError: the prediction log cannot be read.
    """
    plan = project.config.serve.rollout
    if plan.give_up_hours is None:
        return True
    since = now - timedelta(hours=plan.give_up_hours)
    found = read_predictions(project.predictions, project.model, since, now, columns=["at"])
    return found.height >= rows_needed(plan)
