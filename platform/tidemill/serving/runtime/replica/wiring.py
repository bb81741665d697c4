"""Puts the parts of one replica together. Nothing else knows them all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any

import pandas as pd

from tidemill.clock import Clock, SystemClock
from tidemill.features.feature_store import open_store
from tidemill.features.online.circuit_breaker import Outage
from tidemill.features.online.freshness import freshness
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.prediction_log.writing.log_writer import open_log
from tidemill.prediction_log.writing.redaction import hiding_for
from tidemill.project import Project
from tidemill.registry.deployments import live
from tidemill.registry.versions.model_cache import load_lasting_original, load_lasting_scorer
from tidemill.serving.http.api import create_api
from tidemill.serving.http.front import Front
from tidemill.serving.http.predictions import Predictions
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.batching import Engine
from tidemill.serving.inference.data_plane import DataPlane
from tidemill.serving.inference.explaining import Explainer
from tidemill.serving.inference.feature_readers import Readers
from tidemill.serving.inference.predictor import Predictor
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.serving.jobs.job_records import count_jobs
from tidemill.serving.jobs.jobs_api import jobs_router
from tidemill.serving.jobs.submission import Jobs
from tidemill.serving.observability.metrics_sharing import Board
from tidemill.serving.observability.metrics_sources import of_jobs, of_limits, of_log, of_models, of_shadows
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.serving.observability.request_tracing import Tracing, open_tracing
from tidemill.serving.observability.version_counters import Tally
from tidemill.serving.protocols.served_protocols import Protocols
from tidemill.serving.routing.desired_state import as_lane
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.replicas import forget_replica, record_status
from tidemill.serving.routing.shadows import Shadows
from tidemill.serving.routing.traffic_split import router
from tidemill.serving.routing.version_watcher import Watcher
from tidemill.serving.runtime.replica.composed_replicas import composer
from tidemill.serving.runtime.replica.dependencies import Surroundings, surround
from tidemill.state import State, expect_state

__all__ = ["build_api", "load_model"]

_THREADS = 4
_CACHED_ROWS = 100_000  # of all views together; those used least recently go first


def build_api(project: Project, replica: str, clock: Clock | None = None) -> Front:
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
    state = expect_state(project.state_url)
    log = open_log(project)
    around = surround(project, state, clock, log.health)
    tally = Tally()
    serve, service = project.config.serve, project.config.features.service
    store = cache(lambda: open_store(project))  # its own: looking at all keys must not hold up a lookup
    metrics = Metrics(lambda: freshness(store(), service, clock.now()), replica, Board(project.home, replica))
    readers = _readers(project, around.outage, metrics)
    watcher = Watcher(
        read=around.wanted,
        load=lambda version: load_model(project, application, version, clock.now(), readers),
        report=lambda status: record_status(state, project.model, replica, status, clock.now(), tally),
        leave=lambda: forget_replica(state, project.model, replica, clock.now(), tally),
        clock=clock,
        poll_seconds=project.config.serve.poll_seconds,
        route=lambda model: router(application.routing_key, model.features.keys),
        standing=lambda: tuple(map(as_lane, live(state, project.model))),
    )
    metrics.add(around.degradation.families)
    metrics.add(of_models(project.model, lambda: () if (now := watcher.current()) is None else now.loaded))
    metrics.add(of_log(log.health))
    metrics.add(of_limits(serve.max_in_flight))
    metrics.add(of_shadows(tally.counts))
    if serve.jobs.enabled:
        metrics.add(of_jobs(lambda: count_jobs(state, project.model)))
    tracing = open_tracing(project.settings, project.model, replica)
    predictor = Predictor(
        application=application,
        model=project.model,
        serving=watcher.current,
        log=log,
        replica=replica,
        clock=clock,
        meter=metrics,
        shadow=Shadows(
            log,
            application.decide,
            tally,
            busy=lambda: metrics.requests > serve.max_in_flight // 2,
        ),
        tally=tally,
        explain=Explainer(lambda version: load_lasting_original(project, version)).explain,
        compose=composer(application, serve.timeout_seconds),
    )
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="predict")
    engine = _engine(project, predictor, pool, metrics)
    plane = DataPlane(predictor, engine, pool, lambda: watcher.status, around.degradation.now)
    protocols = Protocols(project.model, application.request, serve.max_instances, watcher.current)
    predictions = Predictions(
        plane,
        protocols.codec,
        around.admission,
        metrics,
        max_in_flight=serve.max_in_flight,
        tracing=tracing,
    )
    jobs = (jobs_router(_jobs(project, application, state, clock)),) if serve.jobs.enabled else ()
    api = create_api(
        plane,
        predictions,
        protocols,
        metrics,
        _life(predictor, watcher, metrics, pool, around, tracing),
        keys_required=around.admission.required,
        routers=jobs,
    )
    return Front(api, predictions, around.admission, serve.timeout_seconds)


def _life(
    predictor: Predictor[Any],
    watcher: Watcher,
    metrics: Metrics,
    pool: ThreadPoolExecutor,
    around: Surroundings,
    tracing: Tracing | None,
) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """Return what starts and ends the replica's threads with the application."""

    def start() -> None:
        around.start()
        watcher.start()
        metrics.start()

    def stop() -> None:
        metrics.stop()
        around.stop()
        pool.shutdown()
        if predictor.shadow is not None:
            predictor.shadow.stop()
        watcher.stop()  # records the last counts
        predictor.log.close()
        if tracing is not None:
            tracing.close()

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        await asyncio.to_thread(start)
        yield
        await asyncio.to_thread(stop)

    return lifespan


def _readers(project: Project, outage: Outage, metrics: Metrics) -> Readers:
    serve = project.config.serve
    return Readers(
        project.config.features.service,
        lambda store, service: OnlineFeatures(
            store,
            service,
            outage,
            cached_rows=_CACHED_ROWS if serve.feature_cache else 0,
            count=metrics.cache,
        ),
    )


def _engine(
    project: Project, predictor: Predictor[Any], pool: ThreadPoolExecutor, metrics: Metrics
) -> Engine:
    serve = project.config.serve
    waits = predictor.log.waits or predictor.compose is not None
    return Engine(
        predictor.answer,
        pool,
        max_rows=serve.batch.max_rows,
        loop_rows=0 if waits else serve.batch.loop_rows,
        wait_seconds=serve.batch.wait_ms / 1000,
        timeout_seconds=serve.timeout_seconds,
        meter=metrics,
    )


def _jobs(
    project: Project,
    application: Application,  # type: ignore[type-arg]
    state: State,
    clock: Clock,
) -> Jobs:
    from tidemill.serving.jobs.broker import Publisher  # only who has jobs needs Celery

    folder = jobs_folder(project)
    return Jobs(
        state=state,
        model=project.model,
        request=application.request,
        files=lambda job_id: JobFiles(folder / job_id),
        publish=Publisher(project).publish,
        limits=project.config.serve.jobs,
        clock=clock,
    )


def load_model(
    project: Project,
    application: Application,  # type: ignore[type-arg]
    version: str,
    now: datetime,
    readers: Readers | None = None,
) -> LoadedModel:
    """Load a version with the features it reads, and try it out on a row of the service's shape.

    Args:
        project: whose model it is.
        application: what answers with it.
        version: a number or an alias.
        now: wall-clock time.
        readers: give what reads the features; default: one of its own.

    Raises:
        TidemillError: it cannot be loaded, or needs features that the service does not have.
    """
    store = open_store(project)
    service = project.config.features.service
    features = readers.reader(store) if readers else OnlineFeatures(store, service)
    scorer = load_lasting_scorer(project, version)
    # Never trained on such a row, but of the right shape: it also fills caches before the first request.
    scorer.predict(pd.DataFrame({name: [0.0] for _, name in features.features}))
    hiding = hiding_for(project, application.request, store)
    return LoadedModel(version, scorer, features, now, hiding)
