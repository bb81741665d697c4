"""Cache the versions that served last, so that they can serve again while the registry is down.

Each is a folder ``.tidemill/models/<model>/<version>``: the files of the version, and what the registry says
of it. A copy is made atomically, and the oldest copies are deleted.
"""

import json
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tidemill.errors import ModelNotFound, ModelUnsafe, RegistryError
from tidemill.files.atomic import replacing_folder
from tidemill.project import Project
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_loading import read_scorer, read_uncompiled
from tidemill.registry.versions.model_versions import get_version, list_versions, load_original, open_files
from tidemill.registry.versions.version_record import ModelVersion, read_version
from tidemill.training.tracking.training_record import LINEAGE, SUMMARY

__all__ = ["cache_model", "cached_model", "load_cacheable_original", "load_cacheable_scorer"]

_COPIES = 4
_FACTS = "tidemill.json"
_log = logging.getLogger(__name__)


def load_cacheable_scorer(project: Project, version: str) -> Scorer:
    """Load a version for serving from the registry and cache it; if that fails, load the cached copy.

    Raises:
        RegistryError: like `tidemill.registry.versions.model_versions.load_scorer`, and there is no copy.
    """
    try:
        found = get_version(project, version)
        with open_files(project, version) as files:
            scorer = read_scorer(project, found, files)
            cache_model(project, found, files)
            return scorer
    except ModelUnsafe:
        raise
    except RegistryError as error:
        copy = cached_model(project, version)
        if copy is None or (isinstance(error, ModelNotFound) and list_versions(project)):
            raise  # the registry answers: a version deleted from it must not be served from the cache
        _log.warning("%s; version %s comes from the copy in %s", error, version, copy[1])
        return read_scorer(project, *copy)


def load_cacheable_original(project: Project, version: str) -> Scorer:
    """Load a version's original model: from the cached copy, else from the registry.

    A request may wait for it, so the cache comes first: the registry may be down.

    Raises:
        RegistryError: like `tidemill.registry.versions.model_versions.load_original`.
    """
    copy = cached_model(project, version)
    return load_original(project, version) if copy is None else read_uncompiled(project, *copy)


def cache_model(project: Project, found: ModelVersion, files: Path) -> None:
    """Copy a loaded version to the cache; a full disk is logged and raises no error.

    Args:
        project: in whose ``.tidemill`` the copy is.
        found: what the registry says of the version.
        files: the version's own, which are copied.
    """
    place = _place(project, found.model) / found.version
    try:
        facts = _facts(found)
        if _read(place) == facts:
            os.utime(place)  # among the last that served
            return
        with replacing_folder(place) as draft:
            shutil.copytree(files, draft, dirs_exist_ok=True)
            (draft / _FACTS).write_text(json.dumps(facts))
        _forget_oldest(place.parent)
    except (OSError, RegistryError) as error:
        _log.warning(
            "%s %s could not be cached for use without the registry: %s", found.model, found.version, error
        )


def cached_model(project: Project, version: str) -> tuple[ModelVersion, Path] | None:
    """Return the cached record and files of a version, or None if there is no copy."""
    place = _place(project, project.model) / version
    facts = _read(place)
    if facts is None:
        return None
    documents = facts.pop("documents", {})
    return read_version(SimpleNamespace(**facts), lambda document: documents[document.path]), place


def _place(project: Project, model: str) -> Path:
    return project.home / "models" / model


def _facts(found: ModelVersion) -> dict[str, Any]:
    return {
        "name": found.model,
        "version": found.version,
        "aliases": [],
        "run_id": found.run_id,
        "source": found.source,
        "creation_timestamp": round(found.registered_at.timestamp() * 1000),
        "description": found.description,
        "tags": dict(found.tags),
        "documents": {one.path: found.read(one) for one in (LINEAGE, SUMMARY) if one.tag in found.tags},
    }


def _read(place: Path) -> dict[str, Any] | None:
    try:
        facts: dict[str, Any] = json.loads((place / _FACTS).read_text())
        return facts
    except (OSError, ValueError):
        return None


def _forget_oldest(folder: Path) -> None:
    copies = [one for one in folder.iterdir() if (one / _FACTS).exists() and not one.name.startswith(".")]
    copies.sort(key=lambda one: datetime.fromtimestamp(one.stat().st_mtime, UTC), reverse=True)
    for one in copies[_COPIES:]:
        shutil.rmtree(one, ignore_errors=True)
