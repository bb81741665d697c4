"""Checks a metric against a floor and against the champion's."""

import math

from tidemill.digits import digits_apart
from tidemill.project.gate_checks import MetricCheck
from tidemill.registry.gates.judged_rows import ROUNDING, GateFinding, Judged
from tidemill.tasks.natural_metric import metric_of

__all__ = ["check_metric"]


def check_metric(check: MetricCheck, judged: Judged) -> GateFinding:
    """Return whether the metric reaches the floor, and whether its gain is enough.

    Raises:
        DataError: the hold-out could not be scored.
    """
    name = judged.metric(check.metric)
    found, metric = judged.scored().measure(name), metric_of(name)
    numbers = {"metric": name, "floor": check.floor, "min_gain": check.min_gain, **found.facts()}
    if not math.isfinite(found.candidate):
        return GateFinding(False, f"{metric.name} is not a number on these rows", numbers)
    said, passed = [metric.said(found.candidate)], True
    if check.floor is not None:
        digits = max(digits_apart((found.candidate, check.floor)), 4)
        said = [f"{metric.said(found.candidate, digits)}, {_needed(check.floor, name, digits)}"]
        passed = found.candidate >= check.floor - ROUNDING
    if check.min_gain is not None and found.champion is None:
        said.append("there is no champion to compare with")
    elif check.min_gain is not None and found.champion is not None:
        passed = passed and found.gain_reaches(check.min_gain, check.by)
        bound = f", at least {found.gain_low:+.4f} by its 90 % interval" if check.by == "interval" else ""
        said.append(
            f"a gain of {found.gain:+.4f} over the champion's {metric.number(found.champion)}{bound}; "
            f"needed is at least {check.min_gain:+.4f}"
        )
    return GateFinding(passed, "; ".join(said), numbers)


def _needed(floor: float, name: str, digits: int) -> str:
    metric = metric_of(name)
    edge = metric.number(floor, digits)
    return f"at most {edge} is allowed" if metric.sign < 0 else f"the floor is {edge}"
