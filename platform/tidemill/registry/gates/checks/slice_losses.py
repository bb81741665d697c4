"""Checks the metric of slices of the hold-out: the rows with one value of a column."""

import math
from typing import Any

from tidemill.plurals import counted
from tidemill.project.gate_checks import SlicesCheck
from tidemill.registry.gates.checks.group_names import group_names
from tidemill.registry.gates.judged_rows import GateFinding, Judged
from tidemill.tasks.natural_metric import metric_of

__all__ = ["check_slices"]

_SAID = 3


def check_slices(check: SlicesCheck, judged: Judged) -> GateFinding:
    """Return whether each slice of enough rows reaches the floor, and loses no more than is allowed.

    Slices in which the metric is undefined, as where all rows have one class, are not judged.

    Raises:
        DataError: the hold-out could not be scored, or not be grouped by a column.
    """
    rows, name = judged.scored(), judged.metric(check.metric)
    metric, failed, slices = metric_of(name), list[str](), dict[str, Any]()
    for column in check.columns:
        groups = group_names(judged.column(column))
        for value in sorted(set(groups)):
            mask = groups == value
            if (many := int(mask.sum())) < check.min_rows:
                continue
            found, said = rows.where(mask).measure(name), f"{column} {value}"
            slices[said] = {"rows": many, **found.facts()}
            if not math.isfinite(found.candidate):
                continue
            if check.floor is not None and found.candidate < check.floor:
                failed.append(f"{metric.said(found.candidate)} for {said}, {_limit(check.floor, name)}")
            if check.max_loss is not None and found.gain is not None and -found.gain > check.max_loss:
                failed.append(
                    f"{metric.said(found.candidate)} for {said} against the champion's "
                    f"{metric.number(found.champion or 0.0)}: a loss of {-found.gain:.4f}, "
                    f"at most {check.max_loss:g} is allowed"
                )
    numbers, columns = {"metric": name, "slices": slices}, ", ".join(check.columns)
    if not slices:
        return GateFinding(False, f"no slice of {columns} has {check.min_rows:,} rows", numbers)
    known = {said: each["candidate"] for said, each in slices.items() if each["candidate"] is not None}
    if not known:
        said = f"{metric.name} is defined in no slice of {columns} with {check.min_rows:,} rows"
        return GateFinding(False, said, numbers)
    more = f"; {len(failed) - _SAID} more" if len(failed) > _SAID else ""
    return GateFinding(not failed, "; ".join(failed[:_SAID]) + more or _fine(known, name), numbers)


def _limit(floor: float, name: str) -> str:
    metric = metric_of(name)
    return f"{'at most' if metric.sign < 0 else 'at least'} {metric.number(floor)} is needed"


def _fine(known: dict[str, float], name: str) -> str:
    worst = min(known, key=known.__getitem__)
    return f"the worst of {counted(len(known), 'slice')} is {worst}: {metric_of(name).said(known[worst])}"
