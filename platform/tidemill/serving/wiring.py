"""Puts the parts of one replica together. Nothing else knows them all."""

from datetime import datetime, timedelta
from functools import cache

from fastapi import FastAPI
from sqlalchemy import delete

from tidemill.clock import Clock, SystemClock
from tidemill.features.freshness import freshness
from tidemill.features.online import FeatureRow, OnlineFeatures
from tidemill.features.store import open_store
from tidemill.project import Project
from tidemill.registry.versions import champion_version, load_scorer
from tidemill.serving.api import create_api
from tidemill.serving.application import Application
from tidemill.serving.hiding import hiding_for
from tidemill.serving.lanes import Wanted
from tidemill.serving.metrics import Metrics
from tidemill.serving.writing import open_log
from tidemill.serving.predictor import LoadedModel, Predictor, as_frame
from tidemill.serving.watcher import Status, Watcher
from tidemill.state import State, open_state
from tidemill.state.tables import ReplicaState

__all__ = ["build_api", "load_model", "record_status"]

_SILENCE = timedelta(minutes=1)


def build_api(project: Project, replica: str, clock: Clock | None = None) -> FastAPI:
    """Return the prediction API of a project: its application, features, registry, log and records.

    Args:
        project: whose ``project.application`` is served.
        replica: identifies this replica in the log and in the records.
        clock: wall-clock time; default: the machine's.

    Raises:
        ConfigError: the project's application cannot be imported.
    """
    clock = clock or SystemClock()
    application: Application = project.load(project.config.project.application)  # type: ignore[type-arg]
    state = open_state(project.state_url)
    watcher = Watcher(
        read=lambda: Wanted(champion_version(project)),
        load=lambda version: load_model(project, application, version, clock.now()),
        report=lambda status: record_status(state, project.model, replica, status, clock.now()),
        clock=clock,
        poll_seconds=project.config.serve.poll_seconds,
    )
    store = cache(lambda: open_store(project))  # its own: looking at all keys must not hold up a lookup
    service = project.config.features.service
    metrics = Metrics(lambda: freshness(store(), service, clock.now()))
    predictor = Predictor(
        application=application,
        model=project.model,
        loaded=lambda: serving.champion if (serving := watcher.current()) else None,
        log=open_log(project),
        replica=replica,
        clock=clock,
        count=metrics.count,
    )
    return create_api(predictor, watcher, metrics, project.config.serve.max_instances)


def load_model(
    project: Project,
    application: Application,  # type: ignore[type-arg]
    version: str,
    now: datetime,
) -> LoadedModel:
    """Load a version with the features it reads, and try it out on a row of the service's shape.

    Raises:
        TidemillError: it cannot be loaded, or needs features that the service does not have.
    """
    store = open_store(project)
    features = OnlineFeatures(store, project.config.features.service)
    scorer = load_scorer(project, version)
    # Never trained on such a row, but of the right shape: it also fills caches before the first request.
    trial = FeatureRow(dict.fromkeys((name for _, name in features.features), 0.0), ())
    scorer.predict(as_frame([trial]))
    hiding = hiding_for(project, application.request, store)
    return LoadedModel(version, scorer, features, now, hiding)


def record_status(state: State, model: str, replica: str, status: Status, now: datetime) -> None:
    """Put on record which version a replica answers with; replicas that are silent for a minute are gone."""
    with state.transaction() as session:
        session.execute(
            delete(ReplicaState).where(ReplicaState.model == model, ReplicaState.seen_at < now - _SILENCE)
        )
        session.merge(
            ReplicaState(
                id=replica,
                model=model,
                version=status.version,
                wanted=status.wanted,
                error=status.error,
                loaded_at=status.loaded_at,
                seen_at=now,
            )
        )
