"""Keeps the files of registered versions as they are: what the gate has judged is what serves."""

import re
from typing import Final
from urllib.parse import unquote_plus

from tidemill.project import Project
from tidemill.registry.files_of_versions import holds_version

__all__ = ["what_would_change"]

_ID: Final = re.compile(r"(?<![0-9A-Za-z])(?:m-)?[0-9a-f]{32}(?![0-9A-Za-z])")


def what_would_change(project: Project, method: str, path: str, query: str) -> str | None:
    """Return what is wrong with writing or deleting files at an address of MLflow's server; None if nothing.

    Args:
        project: whose registry says which runs and models are registered.
        method: of the request.
        path: below the prefix of MLflow's pages; a run's or a model's folder is named by its id.
        query: of the request, where an upload by MLflow's pages names its run.

    Raises:
        TidemillError: the registry does not answer.
    """
    named = _ID.findall(f"{unquote_plus(path)} {unquote_plus(query)}")
    if not named and method == "DELETE":
        return "only what is below the folder of a run or a model can be deleted here"
    held = next((one for one in named if holds_version(project, one)), None)
    return f"a registered version is made of the files of {held}, which stay as they are" if held else None
