"""Find the personal fields: those tagged ``personal: "true"`` in the feature definitions.

An entity makes its join key personal, also under the names that a feature service maps it to; a field of a
view or of a request source makes itself personal. What an on-demand view computes from a personal field is
not personal unless its own field is tagged: only its author knows whether it still tells who it is about.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView, OnDemandFeatureView, RequestSource

from tidemill.features.feast_session import feast_errors, repository
from tidemill.features.feature_definitions import load_definitions
from tidemill.features.private_feast import DUMMY_ENTITY_NAME
from tidemill.project import Project
from tidemill.project.feature_columns import COLUMNS_FILE, read_columns, read_keys

__all__ = [
    "PersonalField",
    "declared_columns",
    "declared_personal",
    "find_personal",
    "personal_fields",
    "registered_personal",
]

_NO = ("", "false", "no", "0")


@dataclass(frozen=True)
class PersonalField:
    """A field that identifies the person a row is about, or holds private data of theirs."""

    name: str
    """The column: in sources, requests and keys."""
    kind: str
    """``key``, ``request`` (read by on-demand views only), ``feature`` or ``label``."""
    declared: str
    """What carries the tag, such as ``entity aircraft``."""
    views: tuple[str, ...]
    """The feature views that have it."""


def personal_fields(store: FeatureStore) -> frozenset[str]:
    """Return the names of the personal fields of all applied definitions.

    In a prediction log a value of such a name is hidden in requests, keys and decisions; a feature of such a
    name is null.

    Raises:
        FeatureError: the registry cannot be read.
    """
    return frozenset(field.name for field in registered_personal(store))


def registered_personal(store: FeatureStore) -> tuple[PersonalField, ...]:
    """Return the personal fields of the definitions in the registry, which serving uses.

    Raises:
        FeatureError: it cannot be read.
    """
    with feast_errors("reading the registry"):
        return find_personal(
            [
                *store.list_entities(),
                *store.list_batch_feature_views(),
                *store.list_stream_feature_views(),
                *store.list_on_demand_feature_views(),
                *store.list_feature_services(),
            ]
        )


def declared_personal(project: Project) -> tuple[PersonalField, ...]:
    """Return the personal fields declared in the feature repository, ``features.yaml`` and ``params.yaml``.

    Raises:
        FeatureError: they cannot be imported.
        ConfigError: ``features.yaml`` is missing or wrong.
    """
    defined = find_personal(load_definitions(repository(project))) if project.has_store else ()
    names = {field.name for field in defined}
    from_request = project.config.features.source != "store"
    listed = (*read_keys(project), *read_columns(project)) if from_request else ()
    brought = {column.name: column for column in listed}
    return (
        *defined,
        *(
            PersonalField(column.name, "request", f"column {column.name} of {COLUMNS_FILE}", ())
            for column in brought.values()
            if column.personal and column.name not in names
        ),
        *_personal_label(project, names),
    )


def _personal_label(project: Project, known: Set[str]) -> tuple[PersonalField, ...]:
    label = project.config.dataset.label
    if not project.config.dataset.label_personal or label in known:
        return ()
    return (PersonalField(label, "label", "dataset.label_personal in params.yaml", ()),)


def declared_columns(project: Project) -> frozenset[str]:
    """Return the names of `declared_personal`; none for a project that lacks its feature repository.

    Raises:
        FeatureError: the definitions cannot be imported.
        ConfigError: ``features.yaml`` is missing or wrong.
    """
    if project.has_store and not repository(project).is_dir():
        return frozenset()
    return frozenset(field.name for field in declared_personal(project))


def find_personal(definitions: Iterable[Any]) -> tuple[PersonalField, ...]:
    """Return the personal fields among Feast's objects, by name; a field tagged twice is named once.

    >>> from feast import ValueType
    >>> tags = {"personal": "true"}
    >>> aircraft = Entity(name="aircraft", join_keys=["tailnum"], value_type=ValueType.STRING, tags=tags)
    >>> find_personal([aircraft])
    (PersonalField(name='tailnum', kind='key', declared='entity aircraft', views=()),)
    """
    definitions = list(definitions)
    views = [thing for thing in definitions if isinstance(thing, FeatureView)]
    on_demand = [thing for thing in definitions if isinstance(thing, OnDemandFeatureView)]
    found: dict[str, PersonalField] = {}
    for entity in (thing for thing in definitions if isinstance(thing, Entity)):
        if _is_personal(entity.tags) and entity.name != DUMMY_ENTITY_NAME:
            _add(found, entity.join_key, "key", f"entity {entity.name}", _of(views, entity))
    for view in (*views, *on_demand):
        keys = {column.name for column in getattr(view, "entity_columns", ())}
        for field in (*getattr(view, "entity_columns", ()), *view.features):
            if _is_personal(field.tags):
                kind = "key" if field.name in keys else "feature"
                _add(found, field.name, kind, f"view {view.name}", (view.name,))
    for source in _request_sources(definitions, on_demand):
        for field in source.schema:
            if _is_personal(field.tags):
                readers = tuple(v.name for v in on_demand if source.name in _sources_of(v))
                _add(found, field.name, "request", f"request source {source.name}", readers)
    for service in (thing for thing in definitions if isinstance(thing, FeatureService)):
        _add_mapped(found, service)
    return tuple(found[name] for name in sorted(found))


def _add(found: dict[str, PersonalField], name: str, kind: str, where: str, views: tuple[str, ...]) -> None:
    if name in found:
        known = found[name]
        views = tuple(dict.fromkeys((*known.views, *views)))
        kind, where = known.kind, known.declared
    found[name] = PersonalField(name, kind, where, views)


def _add_mapped(found: dict[str, PersonalField], service: FeatureService) -> None:
    """Add the names under which a request to ``service`` has the personal keys of its views."""
    for projection in service.feature_view_projections:
        for key, name in projection.join_key_map.items():
            if key in found and name not in found:
                where = f"{found[key].declared}, as {name!r} in service {service.name}"
                _add(found, name, found[key].kind, where, (projection.name,))


def _of(views: Iterable[FeatureView], entity: Entity) -> tuple[str, ...]:
    # A definition that was not applied yet has the names of its entities, but no columns for them.
    return tuple(view.name for view in views if entity.name in view.entities)


def _request_sources(definitions: Iterable[Any], views: Iterable[OnDemandFeatureView]) -> list[RequestSource]:
    sources = {thing.name: thing for thing in definitions if isinstance(thing, RequestSource)}
    for view in views:
        sources |= _sources_of(view)
    return list(sources.values())


def _sources_of(view: OnDemandFeatureView) -> Mapping[str, RequestSource]:
    return {source.name: source for source in view.source_request_sources.values()}


def _is_personal(tags: Mapping[str, str] | None) -> bool:
    return (tags or {}).get("personal", "").lower() not in _NO
