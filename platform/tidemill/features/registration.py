"""Apply the definitions of a feature repository to the registry and the online store."""

import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView, OnDemandFeatureView

from tidemill.errors import FeatureError
from tidemill.features.defaults import check_defaults
from tidemill.features.feast_session import feast_errors, open_store, repository
from tidemill.features.feature_definitions import load_definitions
from tidemill.features.offline.entities import EVENT_TIMESTAMP
from tidemill.features.online.feature_cache import cache_seconds
from tidemill.features.private_feast import DUMMY_ENTITY_NAME
from tidemill.features.unseen_categories import check_categories
from tidemill.files.atomic import move_into_place
from tidemill.files.drafts import discard_draft, new_draft_folder
from tidemill.project import Project

__all__ = ["apply"]


def apply(project: Project) -> None:
    """Apply the definitions of the feature repository to the registry and the online store.

    Objects no longer defined are removed, with their online values. A reader of the registry sees it
    either as before or as afterwards, and a failure leaves it unchanged.

    Raises:
        FeatureError: a definition, a key's name, a declared default or cache time is wrong, or a source is
            missing whose view declares no schema.
    """
    repo = repository(project)
    store = open_store(project)
    definitions = load_definitions(repo)
    for view in definitions:
        if isinstance(view, Entity):
            _check_key(view)
        if isinstance(view, FeatureView | OnDemandFeatureView):
            check_defaults(view)
            check_categories(view)
        if isinstance(view, FeatureView):
            cache_seconds(view)
    with feast_errors(f"applying {repo}"), _draft_of_registry(store), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view is an experimental feature", RuntimeWarning)
        store.apply(definitions, objects_to_delete=_obsolete(store, definitions), partial=False)
    _let_readers_and_writers_work_at_once(store)


def _check_key(entity: Entity) -> None:
    if entity.join_key == EVENT_TIMESTAMP:
        raise FeatureError(
            f"entity {entity.name!r}: its join key is called {EVENT_TIMESTAMP}, which is the name of the "
            "column with the moment of each row",
            hint="give the key another name, and map the source's column to it with field_mapping",
        )


@contextmanager
def _draft_of_registry(store: FeatureStore) -> Iterator[None]:
    """Let the block change a copy of a registry file, and replace the file with it at the end.

    Feast writes the file in place, several times in one apply; a reader would find half of it.
    """
    online = _sqlite(store)
    if online is not None:
        online.parent.mkdir(parents=True, exist_ok=True)
    registry = store.config.registry
    if registry.registry_type != "file" or "://" in registry.path:
        yield
        return
    path = Path(store.repo_path, registry.path)
    folder = new_draft_folder(path)  # Feast takes an empty file for a registry, so the draft is a folder
    try:
        draft = folder / path.name
        if path.exists():
            shutil.copy(path, draft)
        registry.path = str(draft)
        yield
        move_into_place(draft, path)
    finally:
        discard_draft(folder)


def _obsolete(store: FeatureStore, definitions: list[Any]) -> list[Any]:
    """Return the registry's objects that the repository no longer defines."""
    defined = {(_family(thing), thing.name) for thing in definitions}
    for thing in definitions:
        sources = [getattr(thing, name, None) for name in ("batch_source", "stream_source")]
        sources += getattr(thing, "source_request_sources", {}).values()
        defined |= {("source", source.name) for source in sources if source is not None}
    registered = [
        *store.list_feature_services(),
        *store.list_on_demand_feature_views(),
        *store.list_batch_feature_views(),
        *store.list_data_sources(),
        *(entity for entity in store.list_entities() if entity.name != DUMMY_ENTITY_NAME),
    ]
    return [thing for thing in registered if (_family(thing), thing.name) not in defined]


def _family(thing: Any) -> str:
    if isinstance(thing, FeatureService):
        return "service"
    if isinstance(thing, FeatureView | OnDemandFeatureView):
        return "view"
    return "entity" if isinstance(thing, Entity) else "source"


def _sqlite(store: FeatureStore) -> Path | None:
    online = store.config.online_store
    return Path(store.repo_path, online.path) if online and online.type == "sqlite" else None


def _let_readers_and_writers_work_at_once(store: FeatureStore) -> None:
    """Put the SQLite file into WAL mode, which it keeps: replicas can read while others write."""
    path = _sqlite(store)
    if path is not None:
        with feast_errors(f"preparing {path}"), closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
