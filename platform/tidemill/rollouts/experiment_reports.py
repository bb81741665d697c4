"""Reports on a deployment, present or ended: reads the prediction log and compares it with the champion."""

from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import select

from tidemill.errors import RegistryError, UsageError
from tidemill.prediction_log.prediction_log import FEATURE_PREFIX, read_predictions
from tidemill.project import Project
from tidemill.registry.deployments import live
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_versions import champion_version, load_scorer
from tidemill.rollouts.comparison_periods import read_periods
from tidemill.rollouts.comparison_results import Agreement, Comparison
from tidemill.rollouts.experiment_data import of_role, read_answers
from tidemill.rollouts.version_comparison import agreement, compare_keys, compare_shadow
from tidemill.serving.routing.traffic_split import CHAMPION
from tidemill.state import State
from tidemill.state.tables import Deployment, Promotion
from tidemill.training.feature_table import as_features

__all__ = ["find_deployment", "report_deployment"]

_BACK = timedelta(days=7)
"""How much of the log a challenger is compared on."""


def find_deployment(state: State, model: str, name: str) -> Deployment:
    """Return the latest deployment of a name, live or not.

    Raises:
        UsageError: there never was one of that name.
    """
    with state.transaction() as session:
        rows = session.scalars(
            select(Deployment)
            .where(Deployment.model == model, Deployment.status != "superseded")
            .order_by(Deployment.requested_at.desc(), Deployment.id)
        ).all()
    found = [row for row in rows if row.name == name]
    if not found:
        names = ", ".join(sorted({row.name for row in rows})) or "none"
        raise UsageError(
            f"{model} never had a deployment {name!r}; it had: {names}",
            hint="`tidemill deploy show` shows those of now",
        )
    return next((row for row in found if row.status == "live"), found[0])


def report_deployment(
    project: Project, state: State, row: Deployment, now: datetime, since: datetime | None = None
) -> Comparison | Agreement:
    """Compare a deployment with the champion: the present one, or the last one of its time if it has ended.

    Args:
        project: whose log is read.
        state: knows since when the version was there.
        row: of `find_deployment`.
        now: end of the window, event time; labels that became known later are not seen.
        since: its beginning; default: when the version got its first share of keys (a challenger: seven days
            before the end).

    Raises:
        ServingError: the log cannot be read.
        RegistryError: the registry does not answer; or a challenger cannot be loaded, or needs features that
            the log does not have.
    """
    champion = _champion(project, state, row)
    if row.kind == "challenger":
        return _challenge(project, row, champion, since or now - _BACK, now)
    start = since or _first(state, row)
    answers = read_answers(project, start, now, include_shadows=row.kind == "shadow")
    if row.ended_at is not None:  # the champion's later answers have no counterpart
        answers = answers.filter(pl.col("served_at") < row.ended_at)
    if row.kind == "shadow":
        return compare_shadow(project, answers, row, champion)
    periods = read_periods(project, state)
    return compare_keys(project, answers, row, champion, live(state, row.model), periods)


def _first(state: State, row: Deployment) -> datetime:
    """Return when a version got its first share; a share that was changed since keeps the salt."""
    with state.transaction() as session:
        rows = session.scalars(
            select(Deployment).where(Deployment.model == row.model, Deployment.salt == row.salt)
        ).all()
    return min(one.at for one in rows)


def _champion(project: Project, state: State, row: Deployment) -> str:
    """Return the champion beside which a deployment is, or was when it ended."""
    if row.status == "live":
        return champion_version(project) or row.champion
    with state.transaction() as session:
        latest = session.scalar(
            select(Promotion.to_version)
            .where(
                Promotion.model == row.model,
                Promotion.status == "done",
                Promotion.to_version != row.version,  # it may have ended by becoming the champion
                Promotion.requested_at >= row.requested_at,
                Promotion.requested_at < (row.ended_at or row.requested_at),
            )
            .order_by(Promotion.requested_at.desc())
            .limit(1)
        )
    return latest or row.champion


def _challenge(project: Project, row: Deployment, champion: str, start: datetime, end: datetime) -> Agreement:
    """Let a challenger score the rows of the log that the champion answered."""
    answers = of_role(read_answers(project, start, end), CHAMPION, champion)
    scorer = load_scorer(project, row.version)
    names = [f"{FEATURE_PREFIX}{name}" for name in scorer.features]
    logged = read_predictions(
        project.predictions,
        project.model,
        start,
        end + timedelta(microseconds=1),
        columns=("prediction_id", *names),
    )
    pairs = answers.join(logged, on="prediction_id", how="inner", maintain_order="left")
    lacking = [name for name in names if pairs.height and pairs[name].null_count() == pairs.height]
    if names and len(lacking) == len(names):
        raise RegistryError(
            f"version {row.version} needs features that the log does not have: {', '.join(scorer.features)}",
            hint="it was trained on another feature service; let it answer as a shadow instead",
        )
    given, scores = _answers_of(scorer, pairs)
    return agreement(
        project,
        "challenger",
        (row.version, champion),
        pairs.select(
            "key",
            pl.Series("score", scores, pl.Float64),
            pl.Series("answer", given, pl.String),
            pl.lit(None, pl.String).alias("decision"),
            pl.col("score").alias("given"),
            pl.col("answer").alias("given_answer"),
            pl.col("decision").alias("decided"),
            "label",
            "target",
        ),
    )


def _answers_of(scorer: Scorer, rows: pl.DataFrame) -> tuple[list[str | None], list[float | None]]:
    """Return what a version answers to the features of logged rows, as the log has it: answers and scores."""
    if rows.is_empty():
        return [], []
    features = rows.select(rows[f"{FEATURE_PREFIX}{name}"].alias(name) for name in scorer.features)
    answers = scorer.predict(as_features(features, scorer.features, scorer.lists))
    return [scorer.task.logged(one) for one in answers], scorer.task.scores(answers).tolist()
