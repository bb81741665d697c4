"""Asks of a version in a rollout that it is better on live rows of which neither version has learnt.

A gate judges the newest rows that were known when a version was made. What is better there may be worse on
the days that follow: by chance, and because the world moves on. So the champion's answers in the first days
of a rollout are compared with what the version says to the same rows, by the gate's own rules, or by what
their gain lets expect of the days after. That is done once, when the days are over and their labels are
known: who looks each day sees a lucky one in the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy.typing as npt
import polars as pl

from tidemill.clock import utc
from tidemill.digits import digits_apart
from tidemill.errors import RegistryError
from tidemill.monitoring.quality.label_maturity import label_lag
from tidemill.plurals import counted, said_days
from tidemill.prediction_log.prediction_log import features_of, read_labelled
from tidemill.project import Project
from tidemill.project.project_config import GateConfig
from tidemill.project.serve_config import ProofConfig
from tidemill.registry.gates.gate_rules import Evaluation, decide
from tidemill.registry.versions.model_versions import get_version, load_scorer
from tidemill.rollouts.experiment_data import of_role
from tidemill.serving.routing.traffic_split import CHAMPION
from tidemill.state.tables import Rollout
from tidemill.tasks.paired_bootstrap import LASTING_DAYS, gain_interval, lasting_gain
from tidemill.tasks.task import Answers, Task
from tidemill.training.feature_table import as_features

__all__ = ["Proof", "Proven", "compare_live", "measure_proof"]


@dataclass(frozen=True)
class Proof:
    """What a rollout's proof has come to."""

    passed: bool | None
    """None: it is not decided yet."""
    said: str
    """Its numbers, or what it waits for."""
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Proven:
    """Two versions on the same rows."""

    passed: bool
    reasons: tuple[str, ...]
    numbers: dict[str, Any]


def compare_live(
    task: Task,
    gate: GateConfig,
    config: ProofConfig,
    truth: npt.NDArray[Any],
    answers: tuple[Answers, Answers],
    days: npt.NDArray[Any],
    versions: tuple[str, str] = ("candidate", "champion"),
) -> Proven:
    """Decide by the gate's rules whether the first answers are better than the second ones, of the same rows.

    Args:
        task: what is predicted.
        gate: whose metric it is.
        config: what is asked for.
        truth: labels, shape (rows,).
        answers: of the version, and of the champion, one a row.
        days: the day of each row, shape (rows,).
        versions: their names, for what is said.
    """
    mine, theirs = (
        Evaluation(name, task.evaluate(truth, given), len(truth))
        for name, given in zip(versions, answers, strict=True)
    )
    by = "interval" if config.by == "interval" else "gain"
    asked = {"mode": "enforce", "by": by, "min_gain": config.min_gain, "min_rows": 1, "floor": None}
    between = gain_interval(task, truth, *answers, days) if by == "interval" else None
    found = decide(gate.model_copy(update=asked), mine, theirs, interval=between)
    told = tuple(reason for reason in found.reasons if not reason.startswith("the hold-out has"))
    if config.by != "lasting" or not found.passed:
        return Proven(found.passed, told, dict(found.numbers))
    bound = lasting_gain(task, truth, *answers, days)
    lasts, said = _lasts(bound, config.min_gain)
    reasons = (*told, said) if lasts else (said, *told)
    return Proven(lasts, reasons, {**found.numbers, "lasting": bound})


def _lasts(bound: float | None, least: float) -> tuple[bool, str]:
    """Return whether the gain to come is enough, and a sentence with its numbers."""
    if bound is None:
        return False, "rows of fewer than 7 days do not tell what the days after bring"
    digits = digits_apart((bound, least))
    needed = f"at least {least:+.{digits}f}" if least else "more than 0"
    brings = f"the {LASTING_DAYS} days after bring at least {bound:+.{digits}f} in 19 of 20 cases"
    said = f"{brings}, needed is {needed}"
    return (bound >= least if least else bound > 0), said


def measure_proof(project: Project, rollout: Rollout, config: ProofConfig, now: datetime) -> Proof:
    """Return what the proof of a rollout has come to at ``now`` (event time).

    The rows are those that the champion answered from when the rollout began, or from the newest moment that
    one of the versions knows, if that is later.

    Raises:
        ServingError: the prediction log cannot be read.
    """
    try:
        start = max(utc(rollout.at), *_learnt_until(project, (rollout.version, rollout.champion)))
    except RegistryError as error:
        return Proof(None, f"what the versions have learnt from cannot be read: {error}")
    end, days = start + timedelta(days=config.days), said_days(timedelta(days=config.days))
    if now < end:
        over = max((now - start) / timedelta(days=1), 0.0)
        return Proof(None, f"{over:.1f} of {days} over in which it has to be better")
    rows = read_labelled(project.predictions, project.model, start, end, known_by=now)
    rows = project.task.labelled_in_log(of_role(rows, CHAMPION, rollout.champion))
    if rows.height < config.min_labels:
        known = f"{rows.height:,} of {counted(config.min_labels, 'label')} of these days known"
        return Proof(None, f"{known}, to tell whether it is better")
    lag = label_lag(rows["at"], rows["label_at"])
    if now < end + lag:
        return Proof(None, f"labels of the last rows are known after {lag}")
    try:
        return _decided(project, rollout, config, rows)
    except RegistryError as error:
        return Proof(False, f"it cannot be compared on live rows: {error}")


def _decided(project: Project, rollout: Rollout, config: ProofConfig, rows: pl.DataFrame) -> Proof:
    scorer, features = load_scorer(project, rollout.version), features_of(rows)
    lacking = [
        name
        for name in scorer.features
        if name not in features.columns or features[name].null_count() == rows.height
    ]
    if scorer.features and len(lacking) == len(scorer.features):
        raise RegistryError(
            f"version {rollout.version} needs features that the log does not have: {', '.join(lacking)}",
            hint="remove serve.rollout.proof from params.yaml, or let it answer as a shadow",
        )
    wanted = features.with_columns(
        pl.lit(None).alias(name) for name in scorer.features if name not in features.columns
    ).select(scorer.features)
    task = project.task
    mine = scorer.predict(as_features(wanted, scorer.features, scorer.lists))
    theirs, truth = task.given_in_log(rows), task.truth_of_log(rows)
    sound = task.sound(mine) & task.sound(theirs)
    found = compare_live(
        task,
        project.config.gate,
        config,
        truth[sound],
        (mine[sound], theirs[sound]),
        rows["at"].dt.date().to_numpy()[sound],
        (rollout.version, rollout.champion),
    )
    labels, days = counted(int(sound.sum()), "label"), said_days(timedelta(days=config.days))
    return Proof(found.passed, f"on {labels} of {days}: {found.reasons[0]}", found.numbers)


def _learnt_until(project: Project, versions: Sequence[str]) -> list[datetime]:
    """Return the moments until which versions know the world; those without a record know nothing of it."""
    lineages = [get_version(project, version).lineage for version in versions]
    return [utc(each.as_of) for each in lineages if each is not None]
