"""Says what a play left out, or took more coarsely than production does."""

from collections.abc import Sequence
from datetime import datetime

from tidemill.monitoring.monitor_config import Monitor
from tidemill.plurals import counted
from tidemill.retraining.backtest.play import step_of
from tidemill.retraining.backtest.played_turns import Played
from tidemill.retraining.backtest.strategies import PromotionRule
from tidemill.retraining.policies import Policy

__all__ = ["coarse", "fitted", "unasked", "unplayed", "unproven"]


def unplayed(names: Sequence[str], max_fits: int) -> tuple[str, ...]:
    """Return a note that strategies are missing, where some are.

    >>> unplayed(["always", "oracle"], 1)
    ('not played, as more than 1 fit would be needed (--max-fits): always, oracle',)
    """
    if not names:
        return ()
    fits = counted(max_fits, "fit")
    return (f"not played, as more than {fits} would be needed (--max-fits): {', '.join(names)}",)


def fitted(origin: str, most: int | None, policies: Sequence[Policy]) -> tuple[str, ...]:
    """Return notes about how models were fitted.

    Args:
        origin: where their family and parameters come from.
        most: rows that each learnt from; None: all.
        policies: those that were played.
    """
    notes = [f"every model has the same family and parameters, {origin}: a turn's search is not played"]
    if most is not None:
        notes.append(f"each model learnt from at most {most:,} rows (--fast)")
    if with_params := [policy.name for policy in policies if policy.params]:
        notes.append(f"the parameters that {', '.join(with_params)} would set are not played")
    return tuple(notes)


def unasked(policies: Sequence[Policy], rules: Sequence[PromotionRule]) -> tuple[str, ...]:
    """Return a note which policies are the same with each proof, where some are.

    >>> manual = Policy.model_validate({"name": "manual", "alerts": ["quality"], "action": "ask"})
    >>> unasked([manual], [PromotionRule(proof="lasting")])
    ('only rollouts have a proof, so these policies do the same with each: manual (action: ask)',)
    """
    if not any(rule.proof for rule in rules):
        return ()
    others = [f"{each.name} (action: {each.action})" for each in policies if not each.may_roll_out]
    if not others:
        return ()
    return (f"only rollouts have a proof, so these policies do the same with each: {', '.join(others)}",)


def coarse(monitors: Sequence[Monitor], start: datetime, end: datetime) -> tuple[str, ...]:
    """Return a note that monitors are judged less often than declared, where they are."""
    step = step_of(monitors, start, end)
    if all(monitor.every >= step for monitor in monitors):
        return ()
    return (f"monitors are judged every {step.total_seconds() / 3600:.1f} hours, less often than declared",)


def unproven(played: Sequence[Played]) -> tuple[str, ...]:
    """Return a note of each strategy whose proofs lacked labels: it costs what a smaller proof might not."""
    notes = []
    for each in played:
        if few := sum(turn.unproven for turn in each.turns):
            of = counted(sum(turn.proof is not None for turn in each.turns), "rollout")
            notes.append(
                f"{each.name}: the proof had too few labels in {few} of {of}, so the version went back, "
                "whatever it was worth: see days and min_labels of serve.rollout.proof"
            )
    return tuple(notes)
