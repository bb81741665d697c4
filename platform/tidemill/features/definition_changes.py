"""Finds out whether the registry has what the feature repository defines now, and applies it if not."""

from collections.abc import Sequence
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView, ValueType
from feast.errors import FeastObjectNotFoundException
from feast.types import from_value_type

from tidemill.errors import FeatureError
from tidemill.features.feast_session import feast_errors, open_store, repository
from tidemill.features.feature_definitions import fingerprint, load_definitions
from tidemill.features.feature_store import definition_hash
from tidemill.features.registration import apply
from tidemill.project import Project

__all__ = ["apply_changes"]


def apply_changes(project: Project, *, first: bool = True) -> bool:
    """Apply the feature repository's definitions if the registry has others.

    Args:
        project: its feature repository; one without definitions is left as it is, since others apply them.
        first: whether to apply them also if the registry does not have the project's service yet.

    Returns:
        Whether they are known to be new or to have changed. Definitions that leave types to be inferred
        cannot be compared: they are applied each time.

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
    """Return the hash of the service as it is defined; None if only applying it shows its fields."""
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
    used = [views[name] for name in names if name in views]
    if len(used) < len(names) or not all(view.features and _infer_keys(view, definitions) for view in used):
        return None
    return fingerprint(service, used, repository(project), project.root.resolve())


def _infer_keys(view: FeatureView | OnDemandFeatureView, definitions: Sequence[Any]) -> bool:
    """Set the columns of a view's entities, as applying it does; return whether their types are declared."""
    if isinstance(view, FeatureView) and not view.entity_columns:
        entities = [
            thing for thing in definitions if isinstance(thing, Entity) and thing.name in view.entities
        ]
        if any(entity.value_type in (None, ValueType.UNKNOWN) for entity in entities):
            return False
        view.entity_columns = [
            Field(name=entity.join_key, dtype=from_value_type(entity.value_type)) for entity in entities
        ]
    return True
