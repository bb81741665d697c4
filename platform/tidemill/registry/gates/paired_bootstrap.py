"""Compute the confidence interval of a gain by a paired bootstrap over days, vectorised."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tidemill.registry.gates.gate_rules import Interval

__all__ = ["gain_interval", "weighted"]

Floats = npt.NDArray[np.float64]

_RESAMPLES = 400
_CHUNK = 4_000_000  # weights at once: 32 MB
_FEW_BLOCKS = 7


def gain_interval(
    metric: str,
    labels: npt.ArrayLike,
    candidate: npt.ArrayLike,
    champion: npt.ArrayLike,
    blocks: npt.ArrayLike,
    seed: int = 0,
) -> Interval | None:
    """Return the 90 % confidence interval of the candidate's gain over the champion.

    Both score the same resampled rows, so what is hard for both cancels out. Whole blocks (days) are drawn,
    since the rows of a day have much in common; with fewer than seven blocks single rows are.

    Args:
        metric: one of `tidemill.training.metrics.METRICS`.
        labels: shape (rows,), 0 or 1.
        candidate: its scores, shape (rows,).
        champion: its scores, shape (rows,).
        blocks: the block of each row, shape (rows,), any sortable values.
        seed: the same seed brings the same interval.

    Returns:
        None if the metric is undefined on these rows.

    >>> labels = np.tile([0, 1], 500)
    >>> interval = gain_interval("roc_auc", labels, labels * 0.5, np.full(1000, 0.5), np.arange(1000) // 100)
    >>> interval.low, interval.high
    (0.5, 0.5)
    """
    truth = np.asarray(labels, dtype=np.float64)
    names, block = np.unique(np.asarray(blocks), return_inverse=True)
    if len(names) < _FEW_BLOCKS:
        block = np.arange(len(truth))
    if not len(truth):
        return None
    mine, theirs = (
        weighted(metric, truth, np.asarray(scores, np.float64)) for scores in (candidate, champion)
    )
    drawn, count = np.random.default_rng(seed), int(block.max()) + 1
    step = max(1, _CHUNK // max(len(truth), count))
    gains = []
    for start in range(0, _RESAMPLES, step):
        size = min(step, _RESAMPLES - start)
        weights = drawn.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)[:, block]
        gains.append(mine(weights) - theirs(weights))
    found = np.concatenate(gains)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    low, high = np.quantile(found, [0.05, 0.95])
    return Interval(float(low), float(high))


def weighted(metric: str, truth: Floats, scores: Floats) -> Callable[[Floats], Floats]:
    """Return a function from weights, shape (resamples, rows), to the metric of each, shape (resamples,).

    Equal to scikit-learn's metrics with ``sample_weight``; scores are sorted once, not once a resample.
    """
    if metric == "neg_brier":
        return _mean(-((truth - scores) ** 2))
    if metric == "neg_log_loss":
        tiny = np.finfo(np.float64).eps
        sure = np.clip(scores, tiny, 1 - tiny)
        return _mean(truth * np.log(sure) + (1 - truth) * np.log(1 - sure))
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ranked)) + 1])
    positive = truth[order]
    ranking = _roc_auc if metric == "roc_auc" else _average_precision

    def measure(weights: Floats) -> Floats:
        ordered = weights[:, order]
        hits = np.add.reduceat(ordered * positive, starts, axis=1)
        misses = np.add.reduceat(ordered * (1 - positive), starts, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may lack a label: NaN, left out
            return ranking(hits, misses)

    return measure


def _mean(values: Floats) -> Callable[[Floats], Floats]:
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def _roc_auc(hits: Floats, misses: Floats) -> Floats:
    above = np.cumsum(hits, axis=1) - hits / 2  # positives ranked above; ties count half
    return np.asarray((misses * above).sum(axis=1) / (misses.sum(axis=1) * hits.sum(axis=1)))


def _average_precision(hits: Floats, misses: Floats) -> Floats:
    found = np.cumsum(hits, axis=1)
    seen = found + np.cumsum(misses, axis=1)
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    return np.asarray((hits * precision).sum(axis=1) / hits.sum(axis=1))
