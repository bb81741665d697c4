"""Collects the metrics that a rollout is judged by: counts of replicas, quality from the prediction log."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import numpy as np
from sqlalchemy import select

from tidemill.errors import RegistryError
from tidemill.monitoring.quality.held_out import HeldOut
from tidemill.monitoring.quality.label_draws import calibrated
from tidemill.project import Project
from tidemill.project.serve_config import RolloutConfig
from tidemill.registry.versions.model_versions import load_reference
from tidemill.rollouts.comparison_periods import Periods, read_periods
from tidemill.rollouts.experiment_data import arms, of_role, read_answers
from tidemill.rollouts.group_differences import Chances, Difference, expected, mean, metric
from tidemill.rollouts.live_proof import measure_proof
from tidemill.rollouts.step_checks import CanaryMetrics
from tidemill.serving.observability.version_counters import Count, Key, read_counts, since
from tidemill.serving.routing.replicas import live_replicas
from tidemill.serving.routing.traffic_split import CHAMPION
from tidemill.state import State
from tidemill.state.tables import Alert, Rollout

__all__ = ["gather"]

_CANARY = "canary"
_CONTRADICTING = ("calibration", "concept_drift", "quality")
_OPEN = ("firing", "acknowledged")
_ROWS = 500_000
"""With more answers than that, the log is read only when a step is due."""

_ENOUGH = 200
"""Calls of the champion in a step, to hold the canary's p99 against."""


class _Quality(NamedTuple):
    measured: Difference | None = None
    estimated: Difference | None = None
    scores: Difference | None = None


def gather(
    project: Project, state: State, rollout: Rollout, plan: RolloutConfig, now: datetime
) -> CanaryMetrics:
    """Return the metrics of a rollout's canary at ``now`` (event time).

    Raises:
        ServingError: the prediction log cannot be read.
    """
    counts = read_counts(state, rollout.model)
    in_step = since(rollout.baseline.get("step", {}), counts)
    in_all = since(rollout.baseline.get("start", {}), counts)
    canary = in_step.get((_CANARY, rollout.version), Count())
    champion = _alongside(in_step, in_all, (CHAMPION, rollout.champion))
    minutes = (now - rollout.stepped_at).total_seconds() / 60
    step = plan.steps[rollout.step]
    due = canary.answered >= step.requests and minutes >= step.minutes
    answered = champion.answered + in_all.get((_CANARY, rollout.version), Count()).answered
    quality = _Quality()
    if due or answered < _ROWS:
        quality = _quality(project, rollout, plan, now, read_periods(project, state))
    asked = plan.proof if rollout.step == 0 else None
    proof = measure_proof(project, rollout, asked, now) if asked is not None and due else None
    replicas, loaded, unloadable = _replicas(state, rollout)
    return CanaryMetrics(
        minutes=minutes,
        replicas=replicas,
        loaded=loaded,
        unloadable=unloadable,
        canary=canary,
        champion=champion,
        quality=quality.measured,
        estimate=quality.estimated,
        scores=quality.scores,
        contradicted=_contradicted(state, rollout),
        proof=proof,
    )


def _contradicted(state: State, rollout: Rollout) -> str | None:
    """Return the kind of an open alert by which labels contradict the champion's scores, or None."""
    of = Alert.model == rollout.model, Alert.version == rollout.champion, Alert.kind.in_(_CONTRADICTING)
    with state.transaction() as session:
        found = session.scalars(select(Alert.kind).where(*of, Alert.status.in_(_OPEN)).order_by(Alert.kind))
        return found.first()


def _alongside(in_step: Mapping[Key, Count], in_all: Mapping[Key, Count], who: Key) -> Count:
    """Return the champion's counts in this step, as some hours are slower; in all steps, if they are few.

    >>> from collections import Counter
    >>> some = Count(seconds=Counter({3: 500}))
    >>> _alongside({("champion", "1"): some}, {}, ("champion", "1")) is some
    True
    >>> _alongside({}, {("champion", "1"): some}, ("champion", "1")) is some
    True
    """
    found = in_step.get(who, Count())
    return found if found.seconds.total() >= _ENOUGH else in_all.get(who, Count())


def _replicas(state: State, rollout: Rollout) -> tuple[int, int, str | None]:
    """Return how many replicas are alive, how many have loaded the canary, and why one has not."""
    with state.transaction() as session:
        rows = live_replicas(session, rollout.model, datetime.now(UTC))
    loaded, unloadable = 0, None
    for row in rows:
        for lane in row.lanes or ():
            if lane["role"] == _CANARY and lane["version"] == rollout.version:
                loaded += bool(lane["loaded"])
                unloadable = unloadable or (lane["error"] and f"{lane['error']} (replica {row.id})")
    return len(rows), loaded, unloadable


def _chances(project: Project, rollout: Rollout) -> tuple[Chances, Chances] | None:
    """Return how often the versions' scores come true by their hold-outs; None unless both are known."""
    if project.task.kind != "binary":
        return None
    found = []
    for version in (rollout.version, rollout.champion):
        try:
            known = HeldOut.of(load_reference(project, version), project.task, ())
        except RegistryError:
            return None
        if known is None:
            return None
        found.append(partial(calibrated, known.answers, known.truth.astype(np.int64)))
    return found[0], found[1]


def _quality(
    project: Project, rollout: Rollout, plan: RolloutConfig, now: datetime, periods: Periods
) -> _Quality:
    answers = read_answers(project, rollout.at, now)
    mine = of_role(answers, _CANARY, rollout.version)
    theirs = of_role(answers, CHAMPION, rollout.champion)
    task, seed = project.task, project.config.train.seed
    labelled = arms(task, mine, theirs, periods, labelled=True)
    if min(group.answers for group in labelled) >= plan.min_labels:
        measured = metric(task, *labelled, seed=seed)
        if measured is not None:
            return _Quality(measured=measured)
    groups = arms(task, mine, theirs, periods)
    if min(group.answers for group in groups) < plan.min_labels:
        return _Quality()
    estimate = expected(task, *groups, seed=seed, chances=_chances(project, rollout))
    # Scores that are no probabilities of the label need not agree, unless the project says by how much.
    comparable = estimate is not None or "max_score_gap" in plan.model_fields_set
    return _Quality(estimated=estimate, scores=mean("mean score", *groups) if comparable else None)
