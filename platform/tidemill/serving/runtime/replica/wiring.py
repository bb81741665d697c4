"""Build one replica of the prediction API from its parts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import APIRouter

from tidemill.clock import Clock, SystemClock
from tidemill.features.online.view_freshness import ViewFreshness
from tidemill.prediction_log.writing.log_writer import PredictionLog, open_log
from tidemill.project import Project
from tidemill.registry.deployments import live
from tidemill.registry.versions.model_cache import load_cacheable_original
from tidemill.registry.versions.model_versions import load_reference
from tidemill.serving.http.api import create_api
from tidemill.serving.http.front import AdmissionMiddleware
from tidemill.serving.http.jobs_api import jobs_router
from tidemill.serving.http.predictions import Predictions
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.batching import Batcher
from tidemill.serving.inference.data_plane import DataPlane
from tidemill.serving.inference.explaining import Explainer
from tidemill.serving.inference.predictor import Predictor
from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
from tidemill.serving.jobs.job_records import count_jobs
from tidemill.serving.jobs.submission import Jobs
from tidemill.serving.observability.metrics_sharing import SharedMetrics
from tidemill.serving.observability.metrics_sources import of_jobs, of_limits, of_log, of_models, of_shadows
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.serving.observability.request_tracing import Tracing, open_tracing
from tidemill.serving.observability.version_counters import VersionCounters
from tidemill.serving.protocols.served_protocols import Protocols
from tidemill.serving.routing.desired_state import deployed_version
from tidemill.serving.routing.replicas import forget_replica, record_status
from tidemill.serving.routing.shadows import Shadows
from tidemill.serving.routing.traffic_split import router
from tidemill.serving.routing.version_watcher import Watcher
from tidemill.serving.runtime.replica.composed_replicas import composer
from tidemill.serving.runtime.replica.dependencies import Dependencies, open_dependencies
from tidemill.serving.runtime.replica.version_loading import feature_readers, load_model
from tidemill.serving.webhooks.alertmanager_routes import alertmanager_router
from tidemill.state import State, expect_state
from tidemill.state.external_alerts import record_external

__all__ = ["build_api"]

_THREADS = 4


def build_api(project: Project, replica: str, clock: Clock | None = None) -> AdmissionMiddleware:
    """Return the prediction API of a project: its application, features, registry, log and records.

    Args:
        project: whose ``project.application`` is served.
        replica: identifies this replica in the log and in the records.
        clock: wall-clock time; default: the machine's.

    Raises:
        ConfigError: the project's application cannot be imported.
    """
    clock = clock or SystemClock()
    log, state = open_log(project), expect_state(project.state_url)
    shared = _Shared(
        project=project,
        application=project.load_application(),
        replica=replica,
        clock=clock,
        state=state,
        log=log,
        dependencies=open_dependencies(project, state, clock, log.health),
        counters=VersionCounters(),
        metrics=Metrics(_freshness(project, clock), replica, SharedMetrics(project.home, replica)),
    )
    watcher = _watcher(shared)
    _add_sources(shared, watcher)
    return _front(shared, watcher, _predictor(shared, watcher))


@dataclass(frozen=True)
class _Shared:
    """Objects that several parts of a replica share."""

    project: Project
    application: Application[Any]
    replica: str
    clock: Clock
    state: State
    log: PredictionLog
    dependencies: Dependencies
    counters: VersionCounters
    metrics: Metrics


def _watcher(shared: _Shared) -> Watcher:
    project, application, state, clock = shared.project, shared.application, shared.state, shared.clock
    model, replica, counters = project.model, shared.replica, shared.counters
    readers = feature_readers(project, shared.dependencies.breaker, shared.metrics)
    return Watcher(
        read=shared.dependencies.desired_state,
        load=lambda version: load_model(project, application, version, clock.now(), readers),
        report=lambda status: record_status(state, model, replica, status, clock.now(), counters),
        leave=lambda: forget_replica(state, model, replica, clock.now(), counters),
        clock=clock,
        poll_seconds=project.config.serve.poll_seconds,
        route=lambda champion: router(application.routing_key, champion.features.keys),
        standing=lambda: tuple(map(deployed_version, live(state, model))),
    )


def _add_sources(shared: _Shared, watcher: Watcher) -> None:
    """Add to the metrics what other parts of the replica count."""
    metrics, serve, model = shared.metrics, shared.project.config.serve, shared.project.model
    metrics.add(shared.dependencies.degradation.families)
    metrics.add(of_models(model, lambda: () if (now := watcher.current()) is None else now.loaded))
    metrics.add(of_log(shared.log.health))
    metrics.add(of_limits(serve.max_in_flight))
    metrics.add(of_shadows(shared.counters.counts))
    if serve.jobs.enabled:
        metrics.add(of_jobs(lambda: count_jobs(shared.state, model)))


def _predictor(shared: _Shared, watcher: Watcher) -> Predictor[Any]:
    project, application, metrics = shared.project, shared.application, shared.metrics
    serve = project.config.serve
    shadows = Shadows(
        shared.log,
        application.decide,
        shared.counters,
        busy=lambda: metrics.requests > serve.max_in_flight // 2,
    )
    return Predictor(
        application=application,
        model=project.model,
        serving=watcher.current,
        log=shared.log,
        replica=shared.replica,
        clock=shared.clock,
        meter=metrics,
        shadow=shadows,
        counters=shared.counters,
        explain=Explainer(
            lambda version: load_cacheable_original(project, version),
            lambda version: load_reference(project, version).features,
        ).explain,
        compose=composer(application, project.task, serve.timeout_seconds),
        trouble=lambda: watcher.status.error,
    )


def _front(shared: _Shared, watcher: Watcher, predictor: Predictor[Any]) -> AdmissionMiddleware:
    project, metrics, dependencies = shared.project, shared.metrics, shared.dependencies
    serve = project.config.serve
    tracing = open_tracing(project.settings, project.model, shared.replica)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="predict")
    batcher = _batcher(project, predictor, pool, metrics)
    plane = DataPlane(predictor, batcher, pool, lambda: watcher.status, dependencies.degradation.now)
    tables = project.params.get("data") if project.config.features.source != "store" else None
    formats = tables.get("formats") if isinstance(tables, dict) else None
    protocols = Protocols(
        project.model,
        shared.application.request,
        serve.max_instances,
        watcher.current,
        project.task,
        formats or {},
    )
    predictions = Predictions(
        plane,
        protocols.codec,
        dependencies.admission,
        metrics,
        max_in_flight=serve.max_in_flight,
        tracing=tracing,
    )
    api = create_api(
        plane,
        predictions,
        protocols,
        metrics,
        _life(predictor, watcher, metrics, pool, dependencies, tracing),
        keys_required=dependencies.admission.required,
        routers=_further_routes(shared),
    )
    return AdmissionMiddleware(api, predictions, dependencies.admission, serve.timeout_seconds)


def _further_routes(shared: _Shared) -> list[APIRouter]:
    state, model, clock = shared.state, shared.project.model, shared.clock
    routers = [alertmanager_router(lambda told: record_external(state, model, told, clock.now()))]
    if shared.project.config.serve.jobs.enabled:
        routers.append(jobs_router(_jobs(shared), shared.project.task))
    return routers


def _life(
    predictor: Predictor[Any],
    watcher: Watcher,
    metrics: Metrics,
    pool: ThreadPoolExecutor,
    dependencies: Dependencies,
    tracing: Tracing | None,
) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """Return what starts and ends the replica's threads with the application."""

    def start() -> None:
        dependencies.start()
        watcher.start()
        metrics.start()

    def stop() -> None:
        metrics.stop()
        dependencies.stop()
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


def _freshness(project: Project, clock: Clock) -> Callable[[], Sequence[ViewFreshness]]:
    """Return what measures the age of the online features: of none, where there is no feature store."""
    if not project.has_store:
        return lambda: []
    from tidemill.features.by_view.view_sources import requested_views
    from tidemill.features.feature_store import open_store  # importing Feast takes seconds
    from tidemill.features.online.freshness import freshness

    store = cache(lambda: open_store(project))  # its own: looking at all keys must not hold up a lookup
    unread = cache(lambda: requested_views(project, store()).unread)
    return lambda: freshness(store(), project.feature_service, clock.now(), unread=unread())


def _batcher(
    project: Project, predictor: Predictor[Any], pool: ThreadPoolExecutor, metrics: Metrics
) -> Batcher:
    serve = project.config.serve
    waits = predictor.log.waits or predictor.compose is not None
    return Batcher(
        predictor.answer,
        pool,
        max_rows=serve.batch.max_rows,
        loop_rows=0 if waits else serve.batch.loop_rows,
        wait_seconds=serve.batch.wait_ms / 1000,
        timeout_seconds=serve.timeout_seconds,
        meter=metrics,
    )


def _jobs(shared: _Shared) -> Jobs:
    from tidemill.serving.jobs.broker import Publisher  # Celery is needed only where there are jobs

    project, folder = shared.project, jobs_folder(shared.project)
    return Jobs(
        state=shared.state,
        model=project.model,
        request=shared.application.request,
        files=lambda job_id: JobFiles(folder / job_id),
        publish=Publisher(project).publish,
        limits=project.config.serve.jobs,
        clock=shared.clock,
    )
