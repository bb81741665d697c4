"""Finds out whether the registry has what the feature repository defines now, and applies it if not."""

import warnings
from collections.abc import Sequence
from typing import Any

from feast import FeatureService, FeatureView, OnDemandFeatureView
from feast.errors import FeastObjectNotFoundException

from tidemill.errors import FeatureError
from tidemill.features.feast_session import feast_errors, open_store, repository
from tidemill.features.feature_definitions import fingerprint, load_definitions
from tidemill.features.feature_store import definition_hash
from tidemill.features.private_feast import infer_types
from tidemill.features.registration import apply
from tidemill.project import Project

__all__ = ["apply_changes"]


def apply_changes(project: Project, *, first: bool = True) -> bool:
    """Apply the feature repository's definitions if the registry has others.

    Args:
        project: its feature repository; one without definitions is left as it is, since others apply them.
        first: whether to apply them also if the registry does not have the project's service yet.

    Returns:
        Whether they are known to be new or to have changed. Types that they leave out are inferred from the
        sources before they are compared.

    Raises:
        FeatureError: the repository does not define the project's service, or its definitions cannot be
            applied (the source of a view without a schema may not exist yet).
    """
    if not project.has_store:
        return False
    definitions, applied = load_definitions(repository(project)), _is_applied(project)
    if not definitions or not (first or applied):
        return False
    defined = _defined_hash(project, definitions)
    if applied and defined == definition_hash(project):
        return False
    apply(project)
    return defined is not None or not applied


def _is_applied(project: Project) -> bool:
    store = open_store(project)
    with feast_errors("reading the registry"):
        try:
            store.get_feature_service(project.feature_service)
        except FeastObjectNotFoundException:
            return False
    return True


def _defined_hash(project: Project, definitions: Sequence[Any]) -> str | None:
    """Return the hash of the service as it is defined; None if it takes views that are defined elsewhere."""
    services = {thing.name: thing for thing in definitions if isinstance(thing, FeatureService)}
    views = {
        thing.name: thing for thing in definitions if isinstance(thing, FeatureView | OnDemandFeatureView)
    }
    service = services.get(project.feature_service)
    if service is None:
        raise FeatureError(
            f"{repository(project)} defines no feature service {project.feature_service!r} (there are: "
            f"{', '.join(sorted(services)) or 'none'})",
            hint="params.yaml names the service in features.service",
        )
    names = dict.fromkeys(projection.name for projection in service.feature_view_projections)
    for name in list(names):
        if isinstance(view := views.get(name), OnDemandFeatureView):
            sources = view.source_feature_view_projections.values()
            names |= dict.fromkeys(projection.name for projection in sources)
    if not names.keys() <= views.keys():
        return None
    with feast_errors(f"inferring the types in {repository(project)}"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view is an experimental feature", RuntimeWarning)
        infer_types(open_store(project), definitions)
    return fingerprint(service, [views[name] for name in names], repository(project), project.root.resolve())
