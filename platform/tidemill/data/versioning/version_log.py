"""Lists the data versions, each with its changes and the models that were trained on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any

from tidemill.data.repository.git import git_try
from tidemill.data.repository.revisions import DataVersionInfo, list_versions, repository, version_of
from tidemill.files.yaml_reading import YamlError, parse_yaml
from tidemill.project import ProjectFolder

__all__ = ["LogEntry", "Trained", "log"]


@dataclass(frozen=True)
class Trained:
    """A model version and the data that it was trained on."""

    model: str
    version: str
    commit: str
    """The project's commit when it was trained."""
    data: Mapping[str, str]
    """Path → MD5 of the data that it was trained on."""


@dataclass(frozen=True)
class LogEntry:
    """A data version in the log."""

    revision: str
    time: datetime
    message: str
    outputs: int
    """Number of versioned files and folders."""
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    params: Mapping[str, tuple[Any, Any]]
    """Dotted names in ``params.yaml`` that differ from the version before: old and new value."""
    added_params: tuple[str, ...]
    """Of them, those that the version before did not have."""
    removed_params: tuple[str, ...]
    """Of them, those that this version does not have any more."""
    models: tuple[str, ...]
    """Model versions that were trained on it, as ``model/version``."""


def log(
    project: ProjectFolder, limit: int | None = None, trained: tuple[Trained, ...] = ()
) -> list[LogEntry]:
    """Return the versions on the current branch, newest first.

    Args:
        project: the project.
        limit: the greatest number of versions.
        trained: the model versions to list with the data that they were trained on.
    """
    versions = list_versions(project, None if limit is None else limit + 1)
    known = {version.revision: version for version in versions}
    models = _models(project, known, trained)
    params = {revision: _params(project, revision) for revision in known}
    entries = []
    for version, before in zip_longest(versions, versions[1:]):
        was = before.outputs if before else {}
        now = params[version.revision]
        earlier = params[before.revision] if before else now
        entries.append(
            LogEntry(
                version.revision,
                version.time,
                version.message,
                len(version.outputs),
                tuple(path for path in version.outputs if path not in was),
                tuple(path for path in was if path not in version.outputs),
                tuple(path for path, md5 in version.outputs.items() if was.get(path, md5) != md5),
                changed_params(earlier, now),
                tuple(name for name in now if name not in earlier),
                tuple(name for name in earlier if name not in now),
                models.get(version.revision, ()),
            )
        )
    return entries[:limit]


def changed_params(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the dotted names whose values differ, with both; None for one that is not there.

    >>> changed_params({"data.last": 1, "data.first": 1}, {"data.last": 2, "data.first": 1, "demo.seed": 0})
    {'data.last': (1, 2), 'demo.seed': (None, 0)}
    """
    return {
        name: (_plain(before.get(name)), _plain(after.get(name)))
        for name in dict.fromkeys((*before, *after))
        if name not in before or name not in after or before[name] != after[name]
    }


def flat_params(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by dotted name.

    >>> flat_params({"data": {"last": 1, "none": {}}, "seed": 0})
    {'data.last': 1, 'data.none': {}, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for name, value in content.items():
        inner = flat_params(value) if isinstance(value, Mapping) else {}
        found |= {f"{name}.{each}": one for each, one in inner.items()} or {str(name): value}
    return found


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))  # YAML has dates, JSON has not


def _models(
    project: ProjectFolder, known: Mapping[str, DataVersionInfo], trained: tuple[Trained, ...]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in trained:
        revision = version_of(project, one.commit)
        if revision is None:  # its commit no longer exists, such as after a rebase: match by the data itself
            same = [version.revision for version in known.values() if dict(version.outputs) == dict(one.data)]
            revision = same[-1] if same else None
        if revision is not None:
            found[revision] = (*found.get(revision, ()), f"{one.model}/{one.version}")
    return found


def _params(project: ProjectFolder, revision: str) -> dict[str, Any]:
    shown = git_try(repository(project), "show", f"{revision}:./params.yaml")
    try:
        content = parse_yaml(shown.stdout)
    except YamlError:
        return {}
    return flat_params(content) if shown.returncode == 0 and isinstance(content, dict) else {}
