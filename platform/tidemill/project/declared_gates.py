"""Checks that the gates of ``params.yaml`` fit the project: names, tasks, metrics, decisions."""

from collections.abc import Sequence

from tidemill.project.gate_checks import GateCheck, GateMode
from tidemill.tasks.task_names import METRICS, TaskName, metric_name

__all__ = ["check_gates", "strictest"]

_TASKS: dict[str, tuple[TaskName, ...]] = {
    "calibration": ("binary", "multiclass"),
    "leakage": ("binary", "multiclass", "regression"),
}
"""The tasks that a check is for, where it is not for all."""


def strictest(modes: tuple[GateMode, ...]) -> GateMode:
    """Return the mode that decides where several gates have one each.

    >>> strictest(("off", "dry_run")), strictest(("off", "enforce", "dry_run"))
    ('dry_run', 'enforce')
    """
    return "enforce" if "enforce" in modes else "dry_run" if "dry_run" in modes else "off"


def check_gates(gates: Sequence[GateCheck], task: TaskName, decisive: str, *, decides: bool = True) -> None:
    """Check that gates have names of their own, and that the project has what they measure.

    Args:
        gates: as declared.
        task: the project's.
        decisive: the full name of the metric of ``gate``.
        decides: whether the project has an application of its own, which makes decisions.

    Raises:
        ValueError: one does not fit; the message names it.

    >>> from tidemill.project.gate_checks import MetricCheck
    >>> check_gates([MetricCheck(check="metric", metric="r2", floor=0.5)], "binary", "roc_auc")
    Traceback (most recent call last):
    ValueError: gates: entry 1, metric: binary has no metric 'r2': choose roc_auc, average_precision, \
neg_log_loss, neg_brier, f1, accuracy
    """
    titles, measured = [one.title for one in gates], tuple(dict.fromkeys((*METRICS[task], decisive)))
    for place, one in enumerate(gates, 1):
        where = f"gates: entry {place}, {one.title}"
        rates = getattr(one, "measure", "metric") != "metric"
        tasks = ("binary",) if rates else _TASKS.get(one.check, (task,))
        if task not in tasks:
            raise ValueError(f"{where}: this is for {' and '.join(tasks)} targets, not for {task}")
        if titles.count(one.title) > 1:
            raise ValueError(f"{where}: another gate has that name: give each a `name`")
        if one.check == "kpi" and not decides:
            raise ValueError(
                f"{where}: project.application names no application, so no decision is made whose worth "
                "could be measured: name one, or choose `check: function`, which gets the answers"
            )
        metric = getattr(one, "metric", None)
        if metric is not None and _full(task, metric) not in measured:
            raise ValueError(f"{where}: {task} has no metric {metric!r}: choose {', '.join(measured)}")


def _full(task: TaskName, given: str) -> str:
    try:
        return metric_name(task, given)
    except ValueError:
        return given  # which is not among those measured
