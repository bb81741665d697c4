"""Compares versions that are deployed at the same time: A/B tests, shadows, challengers.

An experiment compares different keys (the version's and the champion's, divided by hash), a shadow the same
requests answered twice, and a challenger the rows of the log, which it scores afterwards.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tidemill.prediction_log.log_records import SHADOW
from tidemill.project import Project
from tidemill.rollouts.comparison_periods import Periods
from tidemill.rollouts.comparison_results import (
    Agreement,
    Comparison,
    agreement_conclusions,
    conclusions,
)
from tidemill.rollouts.experiment_data import arm, arms, of_role
from tidemill.rollouts.group_differences import (
    Arm,
    Difference,
    SampleRatioCheck,
    mean,
    metric,
    paired,
    ratio_mismatch,
)
from tidemill.serving.routing.traffic_split import CHAMPION
from tidemill.state.tables import Deployment

__all__ = ["agreement", "compare_keys", "compare_shadow"]

_VALUES = 8
"""Greatest number of values of a decision field; a field with more is not compared as a category."""


def compare_keys(
    project: Project,
    answers: pl.DataFrame,
    row: Deployment,
    champion: str,
    others: Sequence[Deployment],
    periods: Periods,
) -> Comparison:
    """Compare a canary or an experiment with the champion.

    Args:
        project: its ``gate.metric`` is what quality is.
        answers: of `tidemill.rollouts.experiment_data.read_answers`, from when the version was there.
        row: the deployment.
        champion: the version that it is compared with.
        others: all that are live: they say what the champion has left.
        periods: in which the shares stood.
    """
    role = _role(row)
    mine, theirs = of_role(answers, role, row.version), of_role(answers, CHAMPION, champion)
    task = project.task
    labelled = arms(task, mine, theirs, periods, labelled=True)
    quality = metric(task, *labelled, seed=project.config.train.seed)
    mine, theirs = periods.balanced(mine, theirs)
    groups = arm(task, mine), arm(task, theirs)
    found = Comparison(
        role=role,
        version=row.version,
        champion=champion,
        share=row.share,
        answers=(groups[0].answers, groups[1].answers),
        keys=(groups[0].clusters, groups[1].clusters),
        labelled=(labelled[0].answers, labelled[1].answers),
        quality=quality,
        score=mean("score", *groups),
        decisions=_decisions(mine, theirs, groups),
        mismatch=_mismatch(answers, row, champion, others, periods),
    )
    return Comparison(**{**vars(found), "says": tuple(conclusions(found, project.task.metric))})


def compare_shadow(project: Project, answers: pl.DataFrame, row: Deployment, champion: str) -> Agreement:
    """Compare a shadow with what was answered to the same requests.

    Args:
        project: its ``gate.metric`` is what quality is.
        answers: of `tidemill.rollouts.experiment_data.read_answers`, shadows among them.
        row: the deployment.
        champion: the version that it is compared with.
    """
    shadows = answers.filter(pl.col("role") == SHADOW, pl.col("version") == row.version)
    given = of_role(answers, CHAMPION, champion).select(
        pl.col("prediction_id").alias("shadow_of"),
        pl.col("score").alias("given"),
        pl.col("answer").alias("given_answer"),
        pl.col("decision").alias("decided"),
        "label",
        "target",
    )
    pairs = shadows.drop("label", "target").join(given, on="shadow_of", how="inner")
    return agreement(project, SHADOW, (row.version, champion), pairs)


def agreement(project: Project, role: str, versions: tuple[str, str], pairs: pl.DataFrame) -> Agreement:
    """Return how far two versions agree.

    Args:
        project: its ``gate.metric`` is what quality is.
        role: ``shadow`` or ``challenger``.
        versions: the version's number, and the champion's.
        pairs: columns ``key``, ``score``, ``answer`` and ``decision`` of the version; ``given``,
            ``given_answer`` and ``decided`` of what was answered; ``label`` and ``target``. No decision
            (null) is compared with none.
    """
    gaps = (pairs["score"] - pairs["given"]).abs()
    decided = pairs.filter(pl.col("decision").is_not_null())
    changed = (decided["decision"] != decided["decided"]).mean()
    task = project.task
    labelled = task.labelled_in_log(pairs)
    quality = _paired_quality(project, labelled)
    ours, theirs = (
        task.categories(task.answers_of_log(pairs[score], pairs[answer]))
        for score, answer in (("score", "answer"), ("given", "given_answer"))
    )
    other_class = None if ours is None or theirs is None else (ours != theirs).mean()
    found = Agreement(
        role=role,
        version=versions[0],
        champion=versions[1],
        answers=pairs.height,
        mean_difference=_number(gaps.mean()),
        largest_difference=_number(gaps.max()),
        changed=_number(changed),
        other_class=_number(other_class),
        quality=quality,
    )
    return Agreement(**{**vars(found), "says": tuple(agreement_conclusions(found))})


def _paired_quality(project: Project, pairs: pl.DataFrame) -> Difference | None:
    """Return how the metric differs on the same rows, resampled together."""
    if pairs.is_empty():
        return None
    _, keys = np.unique(pairs["key"].to_numpy(), return_inverse=True)
    task = project.task
    truth = task.truth_of_log(pairs)
    mine, theirs = (
        Arm(
            pairs[score].cast(pl.Float64).to_numpy(),
            np.asarray(keys, dtype=np.int64),
            truth,
            outputs=task.answers_of_log(pairs[score], pairs[answer]),
        )
        for score, answer in (("score", "answer"), ("given", "given_answer"))
    )
    return paired(task, mine, theirs, seed=project.config.train.seed)


def _decisions(mine: pl.DataFrame, theirs: pl.DataFrame, groups: tuple[Arm, Arm]) -> tuple[Difference, ...]:
    first, second = (_fields(frame["decision"]) for frame in (mine, theirs))
    found: list[Difference | None] = []
    for name in sorted({*first, *second}):
        values = [group.get(name, []) for group in (first, second)]
        if any(len(column) != group.answers for column, group in zip(values, groups, strict=True)):
            continue
        kinds = {value for column in values for value in column if value is not None}
        if kinds and all(isinstance(value, int | float) and not isinstance(value, bool) for value in kinds):
            numbers = [np.array(column, dtype=np.float64) for column in values]
            if all(np.isfinite(column).all() for column in numbers):
                found.append(mean(name, *groups, values=(numbers[0], numbers[1])))
        elif len(kinds) <= _VALUES:
            for kind in sorted(kinds, key=str):
                shares = [np.array([value == kind for value in column], np.float64) for column in values]
                found.append(mean(f"{name} = {kind}", *groups, values=(shares[0], shares[1])))
    return tuple(one for one in found if one is not None)


def _fields(decisions: pl.Series) -> dict[str, list[Any]]:
    """Return each simple field of the decisions, with one value an answer."""
    columns: dict[str, list[Any]] = {}
    for place, text in enumerate(decisions):
        for name, value in (json.loads(text) if text else {}).items():
            if value is None or isinstance(value, str | int | float | bool):
                column = columns.setdefault(name, [])
                column += [None] * (place - len(column))
                column.append(value)
    for column in columns.values():
        column += [None] * (len(decisions) - len(column))
    return columns


def _mismatch(
    answers: pl.DataFrame, row: Deployment, champion: str, others: Sequence[Deployment], periods: Periods
) -> SampleRatioCheck | None:
    """Compare the numbers of keys with the shares, since the shares or the champion last changed."""
    answering = sorted(
        (one for one in others if one.kind in ("canary", "ab")),
        key=lambda one: (one.kind != "canary", one.name),
    )
    if row.status != "live":
        return None
    settled = periods.settled_at
    since = answers if settled is None else answers.filter(pl.col("served_at") >= settled)
    # The champion's part of the keys that reached this lane: those that no later lane takes.
    left, later = 1 - row.share, False
    for one in answering:
        if later:
            left *= 1 - one.share
        later = later or one.id == row.id
    keys = [
        of_role(since, role, version)["key"].n_unique()
        for role, version in ((_role(row), row.version), (CHAMPION, champion))
    ]
    return ratio_mismatch((keys[0], keys[1]), (row.share, left))


def _role(row: Deployment) -> str:
    return f"ab:{row.name}" if row.kind == "ab" else row.kind


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
