"""Tells how old the features in the online store are: from the record of the views, else through Feast."""

from datetime import datetime

from tidemill.clock import utc
from tidemill.features.online.view_freshness import ViewFreshness, freshness_on_record
from tidemill.project import ProjectFolder, load_project

__all__ = ["feature_status"]


def feature_status(folder: ProjectFolder, at: datetime) -> list[ViewFreshness]:
    """Return the age of each view that the project's service reads, at a moment of event time.

    A view that comes in the request by ``features.from`` has the state ``request``, and no age.

    Raises:
        ConfigError: ``params.yaml`` is wrong, ``features.from`` does not fit the service, or there is no
            feature store.
        FeatureError: the service was not applied, or a store cannot be read.
    """
    folder.require_store()
    section = folder.params.get("features")
    declared = section if isinstance(section, dict) else {}
    service, place = declared.get("service"), declared.get("repo", "feature_repo")
    if isinstance(service, str) and isinstance(place, str):
        repo = (folder.root / place).resolve()
        given = declared.get("from", "store")
        if (found := freshness_on_record(folder, repo, service, utc(at), given)) is not None:
            return found
    from tidemill.features.by_view.view_sources import requested_views
    from tidemill.features.feast_session import open_store
    from tidemill.features.online.freshness import freshness, record_views

    project = load_project(folder.root)
    store = open_store(project)
    unread = requested_views(project, store).unread
    record_views(project, store, unread)
    return freshness(store, project.feature_service, at, sources=True, unread=unread)
