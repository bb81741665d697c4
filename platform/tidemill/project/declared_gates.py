"""Defines ``gate`` and ``stages`` of ``params.yaml``, and checks that all gates there fit the project.

They fit if they have names of their own, and the project has what they measure: metrics, decisions, stages.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

from pydantic import Field, field_validator

from tidemill.project.gate_checks import GateCheck, GateMode
from tidemill.project.serve_config import Section
from tidemill.tasks.task_names import METRICS, TaskName, metric_name, plain_name

__all__ = ["GateConfig", "StageConfig", "check_gates", "check_stages", "strictest"]

_TASKS: dict[str, tuple[TaskName, ...]] = {
    "calibration": ("binary", "multiclass"),
    "leakage": ("binary", "multiclass", "regression"),
}
"""The tasks that a check is for, where it is not for all."""


_TAKEN: Final = re.compile(r"champion|canary|shadow|challenger|ab-.*|latest|v[0-9]+")
"""Aliases that mean something else, for Tidemill or for MLflow."""


class GateConfig(Section):
    """Conditions that a candidate must meet on the hold-out before it may become champion."""

    mode: GateMode = "enforce"
    metric: str = "roc_auc"
    """The default is ``train.metric``."""
    floor: float | None = None
    """The candidate's metric must reach this."""
    min_gain: float = 0.0
    """The candidate's metric must exceed the champion's by at least this; 0: by any amount, a tie is refused;
    negative: it may be worse by that much."""
    by: Literal["gain", "interval"] = "gain"
    """What must reach ``min_gain``: the gain, or all of its 90 % interval, which chance seldom does."""
    min_rows: int = Field(default=500, ge=1)
    """Rows needed in the hold-out for a decision."""
    four_eyes: bool = False
    """Whether a second person must approve what a person promotes or rolls out."""


class StageConfig(Section):
    """A stage before production: an alias in the registry that a version gets if its gates agree."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    """The alias, such as ``staging``."""
    gates: tuple[GateCheck, ...] = ()
    """What a version must show to get there."""
    four_eyes: bool = False
    """Whether a second person must approve it."""

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == "production":
            raise ValueError("production is the alias champion, whose gates are `gate` and `gates`")
        if _TAKEN.fullmatch(name):
            raise ValueError(f"the alias {name} means something else already: choose another name")
        return name

    @property
    def mode(self) -> GateMode:
        """What a decision of its gates does: that of the strictest one."""
        return strictest(tuple(one.mode for one in self.gates))


def strictest(modes: tuple[GateMode, ...]) -> GateMode:
    """Return the mode that decides where several gates have one each.

    >>> strictest(("off", "dry_run")), strictest(("off", "enforce", "dry_run"))
    ('dry_run', 'enforce')
    """
    return "enforce" if "enforce" in modes else "dry_run" if "dry_run" in modes else "off"


def check_stages(
    stages: Sequence[StageConfig],
    gates: Sequence[GateCheck],
    task: TaskName,
    decisive: str,
    *,
    decides: bool,
) -> None:
    """Check the gates of all stages, those before the champion's, and these.

    Args:
        stages: as declared, in order.
        gates: of the champion.
        task: the project's.
        decisive: the full name of the metric of ``gate``.
        decides: whether the project has an application of its own, which makes decisions.

    Raises:
        ValueError: one does not fit; the message names it.

    >>> check_stages([StageConfig(name="staging")] * 2, [], "binary", "roc_auc", decides=True)
    Traceback (most recent call last):
    ValueError: stages: staging is declared twice
    """
    names = [one.name for one in stages]
    for place, stage in enumerate(stages):
        if stage.name in names[:place]:
            raise ValueError(f"stages: {stage.name} is declared twice")
        where = f"stages: {stage.name}: gates"
        check_gates(stage.gates, task, decisive, decides=decides, stages=names[:place], of=where)
    check_gates(gates, task, decisive, decides=decides, stages=names)


def check_gates(
    gates: Sequence[GateCheck],
    task: TaskName,
    decisive: str,
    *,
    decides: bool = True,
    stages: Sequence[str] = (),
    of: str = "gates",
) -> None:
    """Check that gates have names of their own, and that the project has what they measure.

    Args:
        gates: as declared.
        task: the project's.
        decisive: the full name of the metric of ``gate``.
        decides: whether the project has an application of its own, which makes decisions.
        stages: that a version can have passed before.
        of: where they are declared.

    Raises:
        ValueError: one does not fit; the message names it.

    >>> from tidemill.project.gate_checks import MetricCheck
    >>> check_gates([MetricCheck(check="metric", metric="r2", floor=0.5)], "binary", "roc_auc")
    Traceback (most recent call last):
    ValueError: gates: entry 1, metric: binary has no metric 'r2': choose roc_auc, average_precision, \
log_loss, brier, f1, accuracy
    """
    titles, measured = [one.title for one in gates], tuple(dict.fromkeys((*METRICS[task], decisive)))
    for place, one in enumerate(gates, 1):
        where = f"{of}: entry {place}, {one.title}"
        if titles.count(one.title) > 1:
            raise ValueError(f"{where}: another gate has that name: give each a `name`")
        if problem := _unfit(one, task, measured, decides, stages):
            raise ValueError(f"{where}: {problem}")


def _unfit(
    one: GateCheck, task: TaskName, measured: Sequence[str], decides: bool, stages: Sequence[str]
) -> str | None:
    """Return why a gate does not fit the project; None if it does."""
    rates = getattr(one, "measure", "metric") != "metric"
    tasks = ("binary",) if rates else _TASKS.get(one.check, (task,))
    if task not in tasks:
        return f"this is for {' and '.join(tasks)} targets, not for {task}"
    if one.check == "kpi" and not decides:
        return (
            "project.application names no application, so no decision is made whose worth could be "
            "measured: name one, or choose `check: function`, which gets the answers"
        )
    if one.check == "stage" and one.stage not in stages:
        return f"there is no stage {one.stage!r} before it; declared before it: {', '.join(stages) or 'none'}"
    metric = getattr(one, "metric", None)
    if metric is not None and _full(task, metric) not in measured:
        return f"{task} has no metric {metric!r}: choose {', '.join(map(plain_name, measured))}"
    return None


def _full(task: TaskName, given: str) -> str:
    try:
        return metric_name(task, given)
    except ValueError:
        return given  # which is not among those measured
