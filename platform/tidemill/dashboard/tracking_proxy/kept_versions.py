"""Keeps versions that serve, and what registered versions were made by, from being deleted over MLflow."""

import re
from collections.abc import Sequence
from typing import Final

from tidemill.dashboard.tracking_proxy.body_fields import fields_of
from tidemill.project import Project
from tidemill.registry.files_of_versions import holds_experiment, holds_version
from tidemill.registry.versions.alias_names import CHAMPION, kind_of
from tidemill.registry.versions.registry_reader import read_alias_names

__all__ = ["what_would_be_lost"]

_LOGGED: Final = re.compile(r"/logged-models/([^/]+)\Z")
_RUNS: Final = "/runs/delete"
_EXPERIMENTS: Final = "/experiments/delete"
_VERSIONS: Final = "/model-versions/delete"
_ALIASES: Final = "/registered-models/alias"
_MODELS: Final = ("/registered-models/delete", "/registered-models/rename")


def what_would_be_lost(project: Project, method: str, path: str, body: bytes) -> str | None:
    """Return what is wrong with deleting, renaming or ending something; None if nothing is.

    A field that is given twice is looked at twice, so that no spelling of a request gets around it.

    Args:
        project: whose registry says what is registered, and what serves.
        method: of the request.
        path: below the prefix of MLflow's pages.
        body: the content as it was sent.

    Raises:
        TidemillError: the registry does not answer.
    """
    if (logged := _LOGGED.search(path)) and method in ("DELETE", "PATCH"):
        return _made_by(project, [logged[1]])
    if path.endswith(_RUNS):
        return _made_by(project, [one.lower() for one in fields_of(body, "run_id", "runId")])
    if path.endswith(_EXPERIMENTS):
        for one in fields_of(body, "experiment_id", "experimentId"):
            if holds_experiment(project, one):
                return f"registered versions were made in the experiment {one}"
    if path.endswith(_ALIASES) and method == "DELETE" and project.model in fields_of(body, "name"):
        named = CHAMPION in fields_of(body, "alias")
        return f"the alias {CHAMPION} says which version of {project.model} serves" if named else None
    if path.endswith((_VERSIONS, *_MODELS)) and project.model in fields_of(body, "name"):
        return _serving(project, None if path.endswith(_MODELS) else fields_of(body, "version"))
    return None


def _made_by(project: Project, ids: Sequence[str]) -> str | None:
    held = next((one for one in ids if holds_version(project, one)), None)
    return f"a registered version was made by {held}" if held else None


def _serving(project: Project, versions: Sequence[str] | None) -> str | None:
    """Return which of some versions, or of all, serves, answers beside the champion, or is in a stage."""
    stages = {stage.name for stage in project.config.stages}
    for alias, version in read_alias_names(project).items():
        known = alias == CHAMPION or kind_of(alias) or alias in stages
        if known and (versions is None or version in versions):
            return f"version {version} of {project.model} is the {alias}"
    return None
