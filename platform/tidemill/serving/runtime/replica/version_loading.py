"""Loads a model version with what reads its features, and tries it out."""

from datetime import datetime
from typing import Any

import pandas as pd

from tidemill.features.online.circuit_breaker import CircuitBreaker
from tidemill.features.project_features import hidden_fields
from tidemill.prediction_log.writing.redaction import redaction_for
from tidemill.project import Project
from tidemill.registry.versions.model_cache import load_cacheable_scorer
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.feature_readers import ReaderCache, open_reader
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.serving.routing.loaded_version import LoadedModel

__all__ = ["feature_readers", "load_model"]

_CACHED_ROWS = 100_000  # of all views together; those used least recently go first


def feature_readers(project: Project, breaker: CircuitBreaker, metrics: Metrics) -> ReaderCache | None:
    """Return what makes readers of the online features; None where there is no feature store."""
    if not project.has_store:
        return None
    from tidemill.features.by_view.view_sources import requested_views
    from tidemill.features.online.online_features import OnlineFeatures  # importing Feast takes seconds

    serve = project.config.serve
    return ReaderCache(
        project.feature_service,
        lambda store, service: OnlineFeatures(
            store,
            service,
            breaker,
            cached_rows=_CACHED_ROWS if serve.feature_cache else 0,
            report=metrics.add_cache,
            requested=requested_views(project, store).views,
        ),
    )


def load_model(
    project: Project,
    application: Application[Any],
    version: str,
    now: datetime,
    readers: ReaderCache | None = None,
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
    features = open_reader(project, readers)
    scorer = load_cacheable_scorer(project, version)
    # Never trained on such a row, but of the right shape: it also fills caches before the first request.
    unknown = {*scorer.words, *scorer.lists}
    trial = {name: None if name in unknown else 0.0 for _, name in features.features}
    scorer.predict(pd.DataFrame({name: [value] for name, value in trial.items()}))
    redaction = redaction_for(project, application.request, hidden_fields(project))
    return LoadedModel(version, scorer, features, now, redaction)
