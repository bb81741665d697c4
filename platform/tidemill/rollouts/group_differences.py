"""Calculates the differences of two groups of answers, with confidence intervals over whole keys.

Traffic is divided by key, so a key's answers are not independent: intervals are over keys, not over answers.
For means they follow from the variance of the keys' totals (the variance of a ratio: Cochran, Sampling
Techniques, 1977, chapter 6); for metrics from a bootstrap that draws whole keys.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.tasks.task import Answers, Task
from tidemill.tasks.weighted_metrics import Measure

__all__ = [
    "CONFIDENCE",
    "Arm",
    "Chances",
    "Difference",
    "SampleRatioCheck",
    "expected",
    "mean",
    "metric",
    "paired",
    "ratio_mismatch",
]

CONFIDENCE = 0.95
_RESAMPLES = 400
_FEWEST_KEYS = 10
"""With fewer keys an interval is not reliable: with one key, every resample is the same."""
_CHUNK = 4_000_000  # weights at once: 32 MB
_MISMATCH = 0.001
"""Below this probability a ratio of samples counts as a mismatch (Fabijan et al., KDD 2019)."""

Floats = npt.NDArray[np.float64]
Chances = Callable[[Floats], Floats]
"""Gives, for scores of a version, how often they come true."""


@dataclass(frozen=True)
class Arm:
    """The answers of one group."""

    scores: Floats
    """Shape (answers,)."""
    keys: npt.NDArray[np.int64]
    """The key of each answer, numbered from 0; shape (answers,)."""
    labels: npt.NDArray[Any] | None = None
    """As the task means them, shape (answers,)."""
    weights: Floats | None = None
    """Weight of each answer, shape (answers,); None for equal weights."""
    outputs: Answers | None = None
    """What the task judges, one an answer; None: the scores."""

    @property
    def answers(self) -> int:
        """Return the number of answers."""
        return len(self.scores)

    def measure(self, task: Task) -> Measure:
        """Return the measure of the task's metric on the answers, which all have labels."""
        assert self.labels is not None
        return task.measure(task.metric, self.labels, self.scores if self.outputs is None else self.outputs)

    @property
    def counts(self) -> Floats:
        """The weights, ones where there are none; shape (answers,)."""
        return np.ones(self.answers) if self.weights is None else self.weights

    @property
    def clusters(self) -> int:
        """Return the number of keys."""
        return int(self.keys.max()) + 1 if len(self.keys) else 0


@dataclass(frozen=True)
class Difference:
    """A value of both groups, and the first group's minus the second's."""

    name: str
    theirs: float
    """Value of the second group, the champion."""
    ours: float
    gain: float
    low: float
    """The true gain lies above this and below `high` with 95 % confidence."""
    high: float
    answers: tuple[int, int]
    """Ours and theirs."""
    keys: tuple[int, int]

    @property
    def certain(self) -> bool:
        """Return whether the groups differ with 95 % confidence."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class SampleRatioCheck:
    """Whether the keys are divided by the declared shares."""

    keys: tuple[int, int]
    """In our group, in theirs."""
    expected: tuple[float, float]
    p_value: float

    @property
    def found(self) -> bool:
        """Return whether chance cannot explain the ratio; then the groups differ in more than the version."""
        return self.p_value < _MISMATCH


def mean(name: str, ours: Arm, theirs: Arm, values: tuple[Floats, Floats] | None = None) -> Difference | None:
    """Return the difference of a value's mean (default: the score); None without numbers.

    None, too, if a group has under two keys.

    >>> arms = [Arm(np.full(40, level), np.arange(40)) for level in (0.5, 0.25)]
    >>> found = mean("score", *arms)
    >>> found.gain, found.low, found.high
    (0.25, 0.25, 0.25)
    """
    from scipy import stats  # type: ignore[import-untyped] # here: its import takes half a second

    first, second = values or (ours.scores, theirs.scores)
    if min(ours.clusters, theirs.clusters) < 2 or not np.isfinite([first.sum(), second.sum()]).all():
        return None
    mine, my_variance = _mean(first, ours)
    other, their_variance = _mean(second, theirs)
    # Welch–Satterthwaite: few keys make wide tails.
    variance = my_variance + their_variance
    freedom = (
        variance**2 / (my_variance**2 / (ours.clusters - 1) + their_variance**2 / (theirs.clusters - 1))
        if variance > 0
        else 1.0
    )
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * variance**0.5 if variance > 0 else 0.0
    return _difference(name, ours, theirs, (mine, other), (mine - other - margin, mine - other + margin))


def metric(task: Task, ours: Arm, theirs: Arm, seed: int = 0) -> Difference | None:
    """Return the difference of a metric on labelled answers; None if it is undefined on a group.

    Args:
        task: its metric is compared.
        ours: with labels.
        theirs: with labels.
        seed: the same seed brings the same interval.
    """
    if ours.labels is None or theirs.labels is None:
        return None
    measured = [
        _bootstrap(arm.measure(task), arm, seed + place, 1)
        for place, arm in enumerate((ours, theirs))
        if arm.answers
    ]
    return _from_resamples(task.metric, ours, theirs, measured)


def paired(task: Task, ours: Arm, theirs: Arm, seed: int = 0) -> Difference | None:
    """Return the difference of a metric on the same answers, resampled together to cut the variance.

    Args:
        task: its metric is compared.
        ours: with labels.
        theirs: the same keys and labels, other scores.
        seed: the same seed brings the same interval.
    """
    if ours.labels is None or theirs.labels is None or not ours.answers:
        return None
    measured = [_bootstrap(arm.measure(task), arm, seed, 1) for arm in (ours, theirs)]
    return _from_resamples(task.metric, ours, theirs, measured)


def expected(
    task: Task, ours: Arm, theirs: Arm, seed: int = 0, chances: tuple[Chances, Chances] | None = None
) -> Difference | None:
    """Estimate the difference of a metric from the scores alone.

    Each answer counts as a 1 with the probability that is its score, and as a 0 with the rest
    (confidence-based performance estimation).

    Args:
        task: its metric is estimated.
        ours: without labels.
        theirs: likewise.
        seed: the same seed brings the same interval.
        chances: how often scores of ours and of theirs come true. Without, they count as probabilities, and
            an overconfident version looks too good, one whose scores are too close to each other too bad.

    Returns:
        None if the task is not binary, where scores are no probabilities of the label.
    """
    if task.kind != "binary":
        return None
    measured = []
    for place, arm in enumerate((ours, theirs)):
        if not arm.answers:
            return None
        truth = np.repeat([1.0, 0.0], arm.answers)
        true = arm.scores if chances is None else chances[place](arm.scores)
        weights_of = np.concatenate([true, 1 - true])
        score = task.measure(task.metric, truth, np.tile(arm.scores, 2))
        measured.append(
            _bootstrap(
                lambda weights, score=score, each=weights_of: score(np.tile(weights, 2) * each),
                arm,
                seed + place,
                2,
            )
        )
    return _from_resamples(f"expected {task.metric}", ours, theirs, measured)


def ratio_mismatch(keys: tuple[int, int], shares: tuple[float, float]) -> SampleRatioCheck | None:
    """Return whether the numbers of keys of two groups fit their shares; None without keys.

    >>> ratio_mismatch((1000, 9000), (0.1, 0.9)).found, ratio_mismatch((1200, 9000), (0.1, 0.9)).found
    (False, True)
    """
    total = sum(keys)
    if not total or min(shares) <= 0:
        return None
    from scipy import stats

    meant = tuple(total * share / sum(shares) for share in shares)
    return SampleRatioCheck(keys, (meant[0], meant[1]), float(stats.chisquare(keys, meant).pvalue))


def _mean(values: Floats, arm: Arm) -> tuple[float, float]:
    """Return the mean, and the variance of the mean when whole keys are drawn."""
    clusters = arm.clusters
    sums = np.bincount(arm.keys, values * arm.counts, clusters)
    sizes = np.bincount(arm.keys, arm.counts, clusters)
    found = float(sums.sum() / sizes.sum())
    residuals = sums - found * sizes
    variance = float((residuals**2).sum() / sizes.sum() ** 2 * clusters / (clusters - 1))
    return found, variance if variance > 1e-24 else 0.0


def _bootstrap(score: Any, arm: Arm, seed: int, width: int) -> tuple[float, Floats]:
    """Return a score of all answers, and of resamples of whole keys, shape (resamples,)."""
    drawn, count = np.random.default_rng(seed), arm.clusters
    step = max(1, _CHUNK // (width * max(arm.answers, count)))
    found = []
    for start in range(0, _RESAMPLES, step):
        size = min(step, _RESAMPLES - start)
        times = drawn.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        found.append(score(times[:, arm.keys] * arm.counts))
    return float(score(arm.counts[np.newaxis])[0]), np.concatenate(found)


def _from_resamples(
    name: str, ours: Arm, theirs: Arm, measured: Sequence[tuple[float, Floats]]
) -> Difference | None:
    if len(measured) != 2 or min(ours.clusters, theirs.clusters) < _FEWEST_KEYS:
        return None
    (mine, my_resamples), (other, their_resamples) = measured
    gains = my_resamples - their_resamples
    gains = gains[np.isfinite(gains)]
    if not (np.isfinite(mine) and np.isfinite(other) and len(gains)):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    from scipy import stats

    # Resamples of few keys vary too little and have no tails: widen the interval as for a mean of keys.
    keys = min(ours.clusters, theirs.clusters)
    z, t = stats.norm.ppf(1 - tail), stats.t.ppf(1 - tail, keys - 1)
    wider = float(t / z * (keys / (keys - 1)) ** 0.5)
    gain = mine - other
    interval = (gain + (float(low) - gain) * wider, gain + (float(high) - gain) * wider)
    return _difference(name, ours, theirs, (mine, other), interval)


def _difference(
    name: str, ours: Arm, theirs: Arm, values: tuple[float, float], interval: tuple[float, float]
) -> Difference:
    return Difference(
        name=name,
        theirs=values[1],
        ours=values[0],
        gain=values[0] - values[1],
        low=interval[0],
        high=interval[1],
        answers=(ours.answers, theirs.answers),
        keys=(ours.clusters, theirs.clusters),
    )
