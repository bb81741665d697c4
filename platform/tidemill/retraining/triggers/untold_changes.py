"""Says what cannot be told before a turn: whether it would find other data than an earlier one. Pure."""

from collections.abc import Sequence

from tidemill.retraining.policy_facts import Situation, TurnFact

__all__ = ["untold_change"]

_ENDS = "a turn ends as unchanged after its first step if not"


def untold_change(policy: str, turns: Sequence[TurnFact], situation: Situation) -> str | None:
    """Return why the rule ``unchanged`` cannot hold a policy's turn by what is known now; None if it could.

    >>> from datetime import UTC, datetime
    >>> turn = TurnFact("promoted", datetime(2013, 5, 1, tzinfo=UTC), sources="same")
    >>> untold_change("p", [turn], Situation(sources={"p": "same"}))
    'files and parameters are those of an earlier turn, but a later moment may bring more rows: \
a turn ends as unchanged after its first step if not'
    >>> untold_change("p", [turn], Situation(sources={"p": "other"}))
    """
    ended = [turn for turn in turns if turn.status not in ("failed", "cancelled", "running")]
    if policy not in situation.sources or not ended:
        return None
    now = situation.sources[policy]
    if now is None or all(turn.sources is None for turn in ended):
        return f"whether what the stages read has changed cannot be seen: {_ENDS}"
    if not situation.sources_tell_all and any(turn.sources == now for turn in ended):
        said = "files and parameters are those of an earlier turn, but a later moment may bring more rows"
        return f"{said}: {_ENDS}"
    return None
