"""Estimates how many promotions were truly worse, of which some days show only gains with noise.

A promotion is *wrong* by the sign of the gain that 30 days show. Of versions that differ little that sign is
chance, so the number of wrong ones is too large where most candidates are better. The estimate here is the
posterior of a normal model: true gains of candidates that passed the gate scatter around a mean, and
what the days show has the error of a paired bootstrap beside. Mean and scatter are averaged over on a grid,
as few candidates do not tell them (A. Gelman et al., Bayesian Data Analysis, 3rd edition, section 5.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tidemill.retraining.backtest.played_turns import Played, PlayedTurn

__all__ = ["ExpectedWorse", "expected_worse", "share_interval", "worse_of"]

_MEANS, _SCATTERS = 81, 24
_WIDTH = 4.0
"""Standard deviation of the prior of the mean, in typical errors: wide."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ExpectedWorse:
    """How many of some promotions were truly worse."""

    mean: float
    low: int
    high: int
    """The ends of the 90 % interval."""


def expected_worse(played: Played) -> ExpectedWorse | None:
    """Return how many promotions of a strategy were truly worse; None where that cannot be told.

    Its own candidates that passed the gate tell what they are like: those of another strategy are compared
    with other champions, and with an older one most are better. The oracle chooses by what the days will
    show, so they do not judge it.

    >>> expected_worse(Played("never", (), (), 0.0))
    ExpectedWorse(mean=0.0, low=0, high=0)
    """
    if played.name == "oracle":
        return None
    promoted = [turn for turn in played.turns if turn.status == "promoted"]
    return worse_of(*_numbers(promoted), *_numbers([turn for turn in played.turns if turn.passed]))


def _numbers(turns: Sequence[PlayedTurn]) -> tuple[Floats, Floats]:
    """Return gains and their errors; an infinite error where nothing is known."""
    known = [(turn.gain, turn.error) for turn in turns]
    pairs = [(g, e) if g is not None and e is not None else (0.0, np.inf) for g, e in known]
    return np.array([gain for gain, _ in pairs]), np.array([error for _, error in pairs])


def worse_of(gains: Floats, errors: Floats, others: Floats, their_errors: Floats) -> ExpectedWorse | None:
    """Return how many of some promotions were truly worse, given what candidates of their kind showed.

    Args:
        gains: what the days after showed, one a promotion.
        errors: standard errors; infinite where the days showed nothing, zero where they are exact.
        others: the gains of all candidates of the kind, the promoted ones among them.
        their_errors: their standard errors.

    >>> clear, close = np.array([0.02, 0.03, 0.01]), np.array([0.001, -0.001, 0.002])
    >>> error = np.full(3, 0.004)
    >>> for gains in (clear, close):
    ...     found = worse_of(gains, error, gains, error)
    ...     print(f"{found.mean:.1f} ({found.low} to {found.high})")
    0.0 (0 to 0)
    1.2 (0 to 3)
    """
    if not len(gains):
        return ExpectedWorse(0.0, 0, 0)
    told = np.isfinite(their_errors) & (their_errors > 0)
    exact = errors == 0
    if not told.any() and not exact.all():
        return None
    weights, below = np.ones(1), (gains < 0)[None, :].astype(np.float64)
    if not exact.all():
        weights, below = _below_zero(gains, errors, others[told], their_errors[told])
        below[:, exact] = gains[exact] < 0
    counts = np.zeros((len(weights), len(gains) + 1))
    counts[:, 0] = 1.0
    for place in range(len(gains)):  # the number of those below zero is a sum of unequal coins
        worse = below[:, place : place + 1]
        counts[:, 1:] = counts[:, 1:] * (1 - worse) + counts[:, :-1] * worse
        counts[:, :1] *= 1 - worse
    chances = weights @ counts
    low, high = np.searchsorted(np.cumsum(chances), (0.05, 0.95 - 1e-9))
    return ExpectedWorse(float(chances @ np.arange(len(chances))), int(low), int(high))


def _below_zero(gains: Floats, errors: Floats, others: Floats, their_errors: Floats) -> tuple[Floats, Floats]:
    """Return the weight of each mean and scatter, and by each the chance of each gain to be below zero."""
    from scipy.special import ndtr  # type: ignore[import-untyped]  # here: its import takes a while

    unit = float(np.median(their_errors))
    far = max(5 * unit, 1.2 * float(np.abs(others).max()))
    scatters = np.geomspace(0.05 * unit, max(8 * unit, 2 * far), _SCATTERS)
    grid = np.meshgrid(np.linspace(-far, far, _MEANS), scatters, indexing="ij")
    mean, scatter = (each.reshape(-1, 1) for each in grid)
    spread = scatter**2 + their_errors**2
    fits = -0.5 * (np.log(spread) + (others - mean) ** 2 / spread).sum(axis=1)
    # priors: a wide normal of the mean; a half-Cauchy of the scatter, whose grid is logarithmic
    prior = -0.5 * (mean / (_WIDTH * unit)) ** 2 + np.log(scatter / (1 + (scatter / unit) ** 2))
    weights = np.exp((fits := fits + prior[:, 0]) - fits.max())
    with np.errstate(divide="ignore"):  # exact gains are put right by the caller
        precision = np.minimum(1 / errors**2, 1e300)
    total = 1 / scatter**2 + precision
    best = (mean / scatter**2 + gains * precision) / total
    return weights / weights.sum(), ndtr(-best * np.sqrt(total))


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (C. Clopper and E. Pearson, Biometrika 26, 1934).

    >>> [f"{end:.2f}" for end in share_interval(0, 5)], share_interval(0, 0)
    (['0.00', '0.52'], (0.0, 1.0))
    """
    from scipy.special import betaincinv  # here: its import takes a while

    low = float(betaincinv(count, of - count + 1, 0.025)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 0.975)) if count < of else 1.0
    return low, high
