"""Keeps the latest backtests of a model in the records."""

import json
from datetime import datetime

from sqlalchemy import select

from tidemill.ids import new_id
from tidemill.retraining.backtest.backtest import Backtest
from tidemill.state import State
from tidemill.state.tables import PolicyBacktest

__all__ = ["KEPT", "keep_backtest"]

KEPT = 10
"""Backtests of a model that are kept."""


def keep_backtest(state: State, model: str, found: Backtest, actor: str, now: datetime) -> str:
    """Record a backtest, forget those of the model beyond the latest `KEPT`, and return its id.

    Args:
        state: the records.
        model: whose policies were played.
        found: what came of it.
        actor: who asked for it.
        now: by the clock of the machine.
    """
    results = json.loads(json.dumps(found.as_dict(), default=datetime.isoformat))
    made = PolicyBacktest(id=new_id("backtest"), model=model, actor=actor, results=results, made_at=now)
    with state.transaction() as session:
        session.add(made)
        session.flush()
        latest = (
            select(PolicyBacktest)
            .where(PolicyBacktest.model == model)
            .order_by(PolicyBacktest.made_at.desc(), PolicyBacktest.id.desc())
        )
        for old in session.scalars(latest.offset(KEPT)):
            session.delete(old)
        return made.id
