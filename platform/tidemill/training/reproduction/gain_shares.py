"""Says which differences between two runs made the gain: single ones exchanged, judged on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tidemill.project import Project
from tidemill.tasks.paired_bootstrap import Interval, gain_interval
from tidemill.tasks.task import Answers
from tidemill.training.reproduction.run_factors import Factor
from tidemill.training.splits import blocks_of

__all__ = ["Explanation", "FactorGain", "ranked", "weigh"]


@dataclass(frozen=True)
class FactorGain:
    """What one difference alone adds to the first run."""

    factor: Factor
    gain: float | None
    """In the task's metric, of which more is better; None: not measured."""
    interval: Interval | None
    """The 90 % interval of the gain, over resamples of the same rows for both."""
    problem: str | None = None
    """Why it cannot be measured."""


@dataclass(frozen=True)
class Explanation:
    """Which differences between two runs made the gain of the second over the first."""

    metric: str
    runs: tuple[str, str]
    judged_by: str
    """The run whose hold-out all were judged on; none of them learnt from it."""
    rows: int
    """Rows of that hold-out; 0 where nothing was fitted yet."""
    values: tuple[float | None, float | None]
    """The metric of both, fitted once more, on these rows."""
    gains: Sequence[FactorGain]
    """By the size of the gain; those that are not measured last."""
    total: float | None
    total_interval: Interval | None
    interaction: float | None
    """The total without the sum of single gains: what only comes of several differences together. None as
    long as a gain is not measured."""
    not_exchanged: Sequence[str]
    """Differences of the environment, which is the present one for all fits."""
    fits: int
    """Fits that were made now."""
    kept: int
    """Fits of earlier calls that were not made again."""
    needed: int
    """Fits that the whole answer takes."""
    stopped: str | None = None
    """Why not all were made."""


def weigh(
    project: Project,
    judged: pl.DataFrame,
    factors: Sequence[Factor],
    answers: Mapping[str, Answers],
    problems: Mapping[str, str],
) -> tuple[tuple[float | None, float | None], FactorGain, list[FactorGain]]:
    """Return the metric of both runs, the gain of all differences together, and that of each alone.

    Args:
        project: whose task judges.
        judged: the rows, with labels.
        factors: the differences.
        answers: under ``a`` and ``b`` of the runs, under a factor's name of the first run with it exchanged.
        problems: factor → why there are none.
    """
    if not answers:
        nothing = [FactorGain(each, None, None) for each in factors]
        return (None, None), FactorGain(Factor("all", ("a", "b")), None, None), nothing
    task, seed = project.task, project.config.train.seed
    truth = task.truth(judged, project.config.dataset.label)
    blocks = blocks_of(judged, project.config.dataset)
    one = np.ones((1, len(truth)))
    values = {name: float(task.measure(task.metric, truth, given)(one)[0]) for name, given in answers.items()}

    def gain(factor: Factor, name: str) -> FactorGain:
        if name not in answers or "a" not in answers:
            return FactorGain(factor, None, None, problems.get(name))
        interval = gain_interval(task, truth, answers[name], answers["a"], blocks, seed)
        return FactorGain(factor, values[name] - values["a"], interval)

    total = gain(Factor("all", ("a", "b")), "b")
    return (values.get("a"), values.get("b")), total, ranked([gain(each, each.name) for each in factors])


def ranked(gains: Sequence[FactorGain]) -> list[FactorGain]:
    """Return gains by their size, losses among them; those that are not measured last.

    >>> sizes = (0.1, None, -0.3)
    >>> found = ranked([FactorGain(Factor(str(size), ("", "")), size, None) for size in sizes])
    >>> [one.gain for one in found]
    [-0.3, 0.1, None]
    """
    return sorted(gains, key=lambda one: (one.gain is None, -abs(one.gain or 0.0)))
