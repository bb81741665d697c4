"""Loads a model version with what reads its features, and tries it out."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from tidemill.features.online.circuit_breaker import CircuitBreaker
from tidemill.features.project_features import hidden_fields
from tidemill.prediction_log.writing.redaction import redaction_for
from tidemill.project import Project
from tidemill.project.feature_columns import read_columns
from tidemill.registry.versions.model_cache import load_cacheable_scorer
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.feature_readers import ReaderCache, open_reader
from tidemill.serving.observability.replica_metrics import Metrics
from tidemill.serving.routing.loaded_version import LoadedModel

__all__ = ["feature_readers", "load_model", "trial_row"]

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
    trial = trial_row([name for _, name in features.features], scorer.words, scorer.lists, _texts(project))
    scorer.predict(pd.DataFrame({name: [value] for name, value in trial.items()}))
    redaction = redaction_for(project, application.request, hidden_fields(project))
    return LoadedModel(version, scorer, features, now, redaction)


def trial_row(
    names: Sequence[str], words: Collection[str], lists: Collection[str], texts: Mapping[str, str]
) -> dict[str, Any]:
    """Return a row of the right shape to try a version on, which also fills caches before the first request.

    Args:
        names: all features.
        words: those that are text; one that requests may leave out is missing.
        lists: those that are lists.
        texts: text features that every request has, with a value: their model may take no gap.

    >>> trial_row(["age", "plan", "message"], ["plan", "message"], [], {"message": "I was charged twice"})
    {'age': 0.0, 'plan': None, 'message': 'I was charged twice'}
    """
    unknown = {*words, *lists}
    return {name: texts.get(name) if name in unknown else 0.0 for name in names}


def _texts(project: Project) -> dict[str, str]:
    """Return a value of each text feature without which a request is refused."""
    if project.has_store:
        return {}
    needed = [one for one in read_columns(project) if one.type == "text" and one.required]
    return {one.name: str(one.example or next(iter(one.categories), one.name)) for one in needed}
