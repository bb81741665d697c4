"""Gives what strategies came to as JSON values."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tidemill.retraining.backtest.played_turns import Played
from tidemill.retraining.backtest.worse_promotions import expected_worse

__all__ = ["facts_of"]


def facts_of(played: Sequence[Played]) -> list[dict[str, Any]]:
    """Return the facts of each strategy, in their order."""
    return [_facts(each) for each in played]


def _facts(played: Played) -> dict[str, Any]:
    of, worse = played.strategy, expected_worse(played)
    return {
        "name": played.name,
        "policies": [policy.name for policy in of.policies] if of is not None else [],
        "gate": of.rule.gate if of is not None else None,
        "proof": of.rule.proof if of is not None else None,
        "mean": played.mean if np.isfinite(played.mean) else None,
        "retrainings": len(played.turns),
        "promoted": played.promoted,
        "wrong_promotions": played.wrong,
        "surely_wrong": sum(turn.surely_wrong for turn in played.turns),
        "expected_worse": None if worse is None else asdict(worse),
        "cpu_seconds": played.seconds,
        "periods": {name: value if np.isfinite(value) else None for name, value in played.periods},
        "turns": [
            {
                "at": turn.at,
                "status": turn.status,
                "reason": turn.reason,
                "gain": turn.gain,
                "error": turn.error,
                "wrong": turn.wrong,
                "window": turn.window,
                "proof": turn.proof,
            }
            for turn in played.turns
        ],
    }
