"""Says in words which strategy has the fewest wrong promotions, what that costs, and what is chance."""

from collections.abc import Sequence

import numpy as np

from tidemill.retraining.backtest.played_turns import Played
from tidemill.retraining.backtest.worse_promotions import share_interval
from tidemill.tasks.natural_metric import metric_of

__all__ = ["conclude"]

_FEW, _MANY = 0.05, 0.3
"""Shares that a user would want told apart."""


def conclude(metric: str, played: Sequence[Played]) -> tuple[str, ...]:
    """Return what a play says about its policies: the comparison, and what so few promotions can tell.

    Args:
        metric: its name on record.
        played: all strategies; what policies are compared with is left out.

    >>> from tidemill.retraining.backtest.strategies import Strategy
    >>> never, grown = Played("never", (), (("2013-04", 0.7),), 0.0), Strategy(())
    >>> conclude("roc_auc", [never, Played("grown", (), (("2013-04", 0.71),), 0.0, grown)])
    ('nothing tells how often grown would be wrong: it promoted nothing',)
    """
    judged = [each for each in played if each.strategy is not None and np.isfinite(each.mean)]
    if not judged:
        return ()
    if len(judged) > 1 and not any(each.promoted for each in judged):
        return (
            "nothing tells which is best, nor how often any would be wrong: none of them promoted anything",
        )
    best = max(judged, key=lambda each: each.mean)
    fewest = min(judged, key=lambda each: (each.wrong, -each.mean))
    if fewest is best:
        if len(judged) == 1:
            return (_alone(best),)
        of = metric_of(metric).said(best.mean)
        same = [each.name for each in judged if each is not best and _result(each) == _result(best)]
        alike = f", and the same by {'; '.join(same)}" if same else ""
        said = f"fewest wrong promotions and best mean: {best.name} ({of}; {_wrong(best)}){alike}"
        return (said, _chance(best))
    return (_compared(metric, fewest, best), _chance(fewest, best))


def _result(of: Played) -> tuple[float, int, int, int]:
    return (of.mean, of.promoted, of.judged, of.wrong)


def _alone(of: Played) -> str:
    if not of.judged:
        return _untold(of)
    return f"wrong promotions of {of.name}: {of.wrong} of {of.judged}; {_chance(of)}"


def _untold(of: Played) -> str:
    said = "promoted nothing" if not of.promoted else "promoted only in the last days"
    return f"nothing tells how often {of.name} would be wrong: it {said}"


def _compared(metric: str, fewest: Played, best: Played) -> str:
    of, lost = metric_of(metric), best.mean - fewest.mean
    theirs = dict(fewest.periods)
    both = [
        (theirs[month], value) for month, value in best.periods if np.isfinite([theirs[month], value]).all()
    ]
    worse = sum(mine < other for mine, other in both)
    costs = (
        f"costs {metric_of(of.name).number(lost)} of mean {of.name} (worse in {worse} of {len(both)} months)"
    )
    return (
        f"fewest wrong promotions: {fewest.name} ({_wrong(fewest)}), {costs}; "
        f"best mean: {best.name} ({of.number(best.mean)}; {_wrong(best)})"
    )


def _wrong(of: Played) -> str:
    return f"{of.wrong} of {of.judged} wrong" if of.judged else f"{of.promoted or 'none'} promoted"


def _chance(*some: Played) -> str:
    """Return what the numbers of promotions allow to say about shares."""
    unknown = [_untold(each) for each in some if not each.judged]
    if len(unknown) == len(some):
        return "; ".join(unknown)
    ends = [share_interval(each.wrong, each.judged) for each in some if each.judged]
    said = " and ".join(f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in ends)
    told = f"in the long run {said} may be wrong (95 % {'interval' if len(ends) == 1 else 'intervals'})"
    untold = []
    if any(low <= _FEW and high >= _MANY for low, high in ends):
        untold.append(f"{100 * _FEW:.0f} % from {100 * _MANY:.0f} %")
    if len(ends) == 2 and max(low for low, _ in ends) <= min(high for _, high in ends):
        untold.append("which of the two has fewer")
    if unknown:
        [known] = [each.name for each in some if each.judged]
        told = f"{known}: {told}"
    told = f"{told}: too few promotions to tell {', or '.join(untold)}" if untold else told
    return "; ".join([told, *unknown])
