"""Checks the worst of several groups, and how far groups are apart."""

import math
from typing import Any

import numpy as np

from tidemill.data.bias.group_rates import proportion
from tidemill.project.gate_checks import GroupsCheck
from tidemill.registry.gates.checks.group_names import group_names
from tidemill.registry.gates.judged_rows import GateFinding, GateRows, Judged
from tidemill.tasks.natural_metric import metric_of

__all__ = ["check_groups"]

_WORDS = {
    "demographic_parity": "the share of positive answers",
    "equal_opportunity": "the share of positive answers among truly positive rows",
}


def check_groups(check: GroupsCheck, judged: Judged) -> GateFinding:
    """Return whether the worst group is good enough, and all groups are near enough to each other.

    A share has Wilson's 90 % interval, a metric that of a bootstrap.

    Raises:
        DataError: the hold-out could not be scored, or not be grouped by the column.
    """
    rows = judged.scored()
    names = group_names(judged.column(check.column, check.edges), check.edges)
    metric = judged.metric(check.metric)
    groups = {name: _group(check, rows.where(names == name), metric) for name in sorted(set(names))}
    known = {
        name: each["value"]
        for name, each in groups.items()
        if each["value"] is not None and each["rows"] >= check.min_rows
    }
    numbers: dict[str, Any] = {"column": check.column, "measure": check.measure, "groups": groups}
    if check.measure == "metric":
        numbers["metric"] = metric
    if not known:
        large = any(each["rows"] >= check.min_rows for each in groups.values())
        least, where = f"{check.min_rows:,} rows", f"no group of {check.column}"
        undefined = f"{metric_of(metric).name} is defined in {where} with {least}"
        return GateFinding(False, undefined if large else f"{where} has {least}", numbers)
    ordered = sorted(known, key=known.__getitem__)
    worst, best = ordered[0], ordered[-1]
    difference = known[best] - known[worst]
    numbers |= {"worst": worst, "best": best, "difference": difference}
    natural = metric_of(metric)
    what = _WORDS.get(check.measure, natural.name)
    shown = {name: f"{value:.4f}" for name, value in known.items()}
    if check.measure == "metric":
        shown = {name: natural.number(value) for name, value in known.items()}
    if len(known) < 2:
        said = [f"{what} is {shown[worst]} for {check.column} {worst}, the only group of enough rows"]
    else:
        said = [f"{what} is {shown[worst]} for {check.column} {worst} and {shown[best]} for {best}"]
    passed = True
    if check.max_difference is not None and len(known) < 2:
        passed = False
        said.append(f"no difference can be measured, at most {check.max_difference:g} is allowed")
    elif check.max_difference is not None:
        passed = difference <= check.max_difference
        said.append(f"a difference of {difference:.4f}, at most {check.max_difference:g} is allowed")
    if check.floor is not None:
        passed = passed and known[worst] >= check.floor
        edge = natural.number(check.floor) if check.measure == "metric" else f"{check.floor:g}"
        said.append(f"the worst group's limit is {edge}")
    return GateFinding(passed, "; ".join(said), numbers)


def _group(check: GroupsCheck, rows: GateRows, metric: str) -> dict[str, Any]:
    """Return the value of a group with its interval, and how many rows it is of."""
    if check.measure == "metric":
        found = rows.measure(metric)
        low, high = (found.interval.low, found.interval.high) if found.interval else (None, None)
        value = found.candidate if math.isfinite(found.candidate) else None
        return {"value": value, "low": low, "high": high, "rows": len(rows.truth)}
    answers = rows.answers
    if check.measure == "equal_opportunity":
        answers = answers[rows.truth == 1]
    share = proportion(int(np.sum(answers >= check.threshold)), len(answers), 0.9)
    return {"value": share.value, "low": share.low, "high": share.high, "rows": len(answers)}
