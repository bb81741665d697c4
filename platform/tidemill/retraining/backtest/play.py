"""Plays a strategy of retraining over the past, step by step; nothing later than a step is known at it."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from tidemill.errors import TrainingError
from tidemill.monitoring.monitor_config import Monitor
from tidemill.registry.gates.gate_rules import Evaluation
from tidemill.registry.gates.gate_rules import decide as pass_gate
from tidemill.retraining.backtest.fitted_models import Fitted, known_by
from tidemill.retraining.backtest.past_monitors import PastMonitors
from tidemill.retraining.backtest.played_past import Past
from tidemill.retraining.backtest.played_rollout import PlayedEnd, play_proof
from tidemill.retraining.backtest.played_turns import Played, PlayedTurn
from tidemill.retraining.backtest.strategies import Strategy
from tidemill.retraining.policies import Policy
from tidemill.retraining.policy_facts import Retrain, Situation, TurnFact
from tidemill.retraining.policy_rules import decide, last_turn
from tidemill.tasks.paired_bootstrap import gain_interval
from tidemill.training.candidate_windows import Window

__all__ = [
    "months_of",
    "play_always",
    "play_never",
    "play_oracle",
    "play_policies",
    "step_of",
]

_MOST_STEPS = 1_000
_ERRORS_WIDE = 3.2897
"""A 90 % interval is as wide as so many standard errors."""
_LATER = timedelta(days=30)
"""Over how long after a promotion the two versions are compared."""


def months_of(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the calendar months (UTC) between two moments, the first and the last cut off by them.

    >>> from datetime import UTC
    >>> april, june = datetime(2013, 4, 15, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC)
    >>> [f"{begin:%m-%d} {end:%m-%d}" for begin, end in months_of(april, june)]
    ['04-15 05-01', '05-01 06-01']
    """
    found, at = [], start
    while at < end:
        following = (
            at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)
        ).replace(day=1)
        found.append((at, min(following, end)))
        at = following
    return found


def play_never(past: Past) -> Played:
    """Play the first model to the end."""
    return _scored("never", past, [(past.start, past.models.at(past.start))], (), {})


def play_always(past: Past) -> Played:
    """Retrain at the beginning of each month on all that is known then, without a gate."""
    served = [(begin, past.models.at(begin)) for begin, _ in months_of(past.start, past.end)]
    turns = [
        _turn(past, PlayedEnd("promoted", at), "a new month", new, old)
        for (_, old), (at, new) in pairwise(served)
    ]
    return _scored("always", past, served, turns, {model.key: model for _, model in served[1:]})


def play_oracle(past: Past, others: Sequence[Played]) -> Played:
    """Serve in each month the best of the models made by then, or what served in another play, if better."""
    served = []
    for begin, end in months_of(past.start, past.end):
        past.models.at(begin)
        known = [model for model in past.models.made if model.as_of <= begin]
        best = max(known, key=lambda model: past.metric([(model, past.places(begin, end))]))
        served.append((begin, best))
    changes = [
        _turn(past, PlayedEnd("promoted", at), "it will be the best", new, old)
        for (_, old), (at, new) in pairwise(served)
        if new.as_of != old.as_of
    ]
    found = _scored("oracle", past, served, changes, {model.key: model for _, model in served[1:]})
    values = [dict(one.periods) for one in (found, *others)]
    best_of = {month: [one[month] for one in values if np.isfinite(one[month])] for month in values[0]}
    return replace(found, periods=tuple((name, max(each, default=np.nan)) for name, each in best_of.items()))


def step_of(monitors: Sequence[Monitor], start: datetime, end: datetime) -> timedelta:
    """Return how often a play looks: the shortest ``every`` of the monitors, but at most a thousand times."""
    every = min((monitor.every for monitor in monitors), default=timedelta(days=7))
    return max(every, (end - start) / _MOST_STEPS)


def play_policies(
    name: str,
    past: Past,
    strategy: Strategy,
    monitors: Sequence[Monitor],
    tell: Callable[[datetime], None],
) -> Played:
    """Play policies: monitors and rules decide at each step, and gate and proof on each candidate."""
    past, policies = past.decided_by(strategy.rule), strategy.policies
    step = step_of(monitors, past.start, past.end)
    watched = PastMonitors(past.project, monitors, past.features, past.once)
    served = [(past.start, past.models.at(past.start))]
    turns: list[TurnFact] = [TurnFact("promoted", past.start)]
    made: list[PlayedTurn] = []
    used: dict[Hashable, Fitted] = {}
    now, busy, watching = past.start + step, past.start, past.start
    while now < past.end:
        tell(now)
        since, champion = next(each for each in reversed(served) if each[0] <= now)
        if since != watching:
            watched.forget()
            watching = since
        alerts = watched.alerts(champion, since, past.rows, past.answers(champion), now)
        decision = decide(policies, alerts, turns, now, _situation(past, policies, turns, champion, now))
        if isinstance(decision, Retrain) and now >= busy:  # one turn at a time
            windows = decision.policy.recipe.windows
            status, candidate, reason = _candidate(past, champion, now, windows, decision.reason)
            end = PlayedEnd(status, now)
            if candidate is None:
                made.append(PlayedTurn(now, status, reason, None))
            else:
                used[candidate.key] = candidate
                end = _end(past, decision.policy, champion, candidate, end)
                made.append(_turn(past, end, reason, candidate, champion, made=now))
            status, busy = end.status, end.at
            sources = str(known_by(past.project, past.rows, now).height)
            spent = candidate.seconds if candidate is not None else 0.0
            name_of = decision.policy.name
            told = "refused" if status == "rolled_back" else status
            turns.append(TurnFact(told, now, decision.cause.kind, name_of, sources, cpu_seconds=spent))
            if status == "promoted" and candidate is not None:
                served.append((busy, candidate))
        now += step
    return replace(_scored(name, past, served, made, used), strategy=strategy)


def _situation(
    past: Past, policies: Sequence[Policy], turns: Sequence[TurnFact], champion: Fitted, now: datetime
) -> Situation:
    known = known_by(past.project, past.rows, now).height
    latest = last_turn(turns)
    before = known_by(past.project, past.rows, latest.as_of).height if latest else 0
    return Situation(
        dict.fromkeys([each.name for each in policies], str(known)),
        sources_tell_all=True,
        new_labels=known - before,
        labels_learnt=known_by(past.project, past.rows, champion.as_of).height,
        champion_since=champion.as_of,
        last_turn_at=latest.as_of if latest else None,
        data_version=str(known) if known != before else None,
    )


def _candidate(
    past: Past, champion: Fitted, now: datetime, windows: tuple[Window, ...], why: str
) -> tuple[str, Fitted | None, str]:
    """Return what a turn would have come to: its status, its candidate, and why."""
    try:
        model = past.models.at(now, windows)
    except TrainingError as error:
        return "failed", None, str(error)
    task, label = past.project.task, past.project.config.dataset.label
    truth, answers = task.truth(model.holdout, label), champion.judged(model.holdout)
    gate, rows, interval = past.project.config.gate, model.holdout.height, None
    if gate.by == "interval":
        days = model.holdout[past.project.config.dataset.time_column].dt.date().to_numpy()
        interval = gain_interval(task, truth, model.judged(model.holdout), answers, days)
    verdict = pass_gate(
        gate,
        Evaluation("candidate", model.metrics, rows),
        Evaluation("champion", task.evaluate(truth, answers), rows),
        interval=interval,
    )
    return "promoted" if verdict.passed else "refused", model, why


def _end(past: Past, policy: Policy, champion: Fitted, candidate: Fitted, passed: PlayedEnd) -> PlayedEnd:
    """Return what became of a candidate: what the gate said, or what a rollout's proof came to."""
    proof = past.project.config.serve.rollout.proof
    if passed.status != "promoted" or proof is None or not policy.may_roll_out:
        return passed
    return play_proof(past, champion, candidate, passed.at, proof)


def _turn(
    past: Past, end: PlayedEnd, reason: str, new: Fitted, old: Fitted, made: datetime | None = None
) -> PlayedTurn:
    """Return a turn, whose gain is that of the time after its end; it was made then, or earlier."""
    status, at = end.status, end.at
    later = past.places(at, min(at + _LATER, past.end))
    gain = past.metric([(new, later)]) - past.metric([(old, later)])
    window = str(new.window) if len(new.windows) > 1 else None
    between = past.gained(new, old, later) if status in ("promoted", "rolled_back") else None
    return PlayedTurn(
        made or at,
        status,
        reason,
        float(gain) if np.isfinite(gain) else None,
        window,
        surely=between is not None and bool(gain < 0 and between.high < 0),
        error=None if between is None else (between.high - between.low) / _ERRORS_WIDE,
        proof=end.proof,
        unproven=end.unproven,
    )


def _scored(
    name: str,
    past: Past,
    served: Sequence[tuple[datetime, Fitted]],
    turns: Sequence[PlayedTurn],
    used: Mapping[Hashable, Fitted],
) -> Played:
    """Score each month by the answers of the models that served in it."""
    ends = [*(at for at, _ in served[1:]), past.end]
    periods = []
    for begin, end in months_of(past.start, past.end):
        parts = [
            (model, past.places(max(begin, at), min(end, until)))
            for (at, model), until in zip(served, ends, strict=True)
        ]
        periods.append((f"{begin:%Y-%m}", past.metric(parts)))
    seconds = sum(model.seconds for model in used.values())
    return Played(name, tuple(turns), tuple(periods), round(seconds, 2))
