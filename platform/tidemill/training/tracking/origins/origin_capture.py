"""Finds out what a run that begins now is made from, in milliseconds, and puts it on record."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.errors import ConfigError, ProjectNotFound, TidemillError
from tidemill.project import ProjectFolder, open_folder
from tidemill.training.tracking.origins.captured_code import CapturedCode, capture_code
from tidemill.training.tracking.origins.environment_capture import environment
from tidemill.training.tracking.origins.generator_seeds import seeds
from tidemill.training.tracking.origins.notebook_cells import keep_cells
from tidemill.training.tracking.origins.origin_files import FORMAT, keep_origin
from tidemill.training.tracking.origins.pointed_data import feature_digest, pointed_data
from tidemill.training.tracking.run_values import ORIGIN_PREFIX, named_files

__all__ = ["origin_tags"]

_SHOWN = 200
_SHORT = 16


class _Opened(NamedTuple):
    stamp: tuple[int, int]
    folder: ProjectFolder


_opened: dict[Path, _Opened] = {}


def origin_tags(start: Path) -> dict[str, str]:
    """Return the tags of a run that begins in a folder, after its whole origin was put on record.

    Args:
        start: a folder with a ``params.yaml``; what is in no project gets no tags.
    """
    folder = _project(start)
    if folder is None:
        return {}
    code = capture_code(folder.root)
    problems = [code.problem] if code.problem else []
    data: Mapping[str, str] = {}
    try:
        data = pointed_data(folder.root, code.commit)
    except (TidemillError, OSError, ValueError) as error:
        problems.append(f"the data's versions cannot be read: {error}")
    origin = _origin(folder, code, data, problems)
    tags = {
        "project": str(origin["project"]),
        "commit": code.commit or "",
        "uncommitted": named_files(code.changed),
        "data": _digest(data) if data else "",
        "features": (origin["features"] or "")[:_SHORT],
        "lock": (origin["lock"] or {}).get("sha256", "")[:_SHORT],
        "hardware": ", ".join(origin["hardware"].values()),
        "threads": ", ".join(f"{name} {value}" for name, value in origin["threads"].items()),
        "seeds": ", ".join(f"{name} {value}" for name, value in seeds().items()),
    }
    try:
        tags["record"] = keep_origin(folder.home, origin, code.patch)
        tags["cells"] = keep_cells(folder.home) or ""
    except OSError as error:
        problems.append(f"what it is made from cannot be kept in {folder.home}: {error}")
    tags["problem"] = "; ".join(problems)[:_SHOWN]
    return {f"{ORIGIN_PREFIX}{name}": value for name, value in tags.items() if value}


def _project(start: Path) -> ProjectFolder | None:
    """Return the project, read again only after its ``params.yaml`` was changed."""
    state = (start / "params.yaml").stat()
    stamp = state.st_mtime_ns, state.st_size
    known = _opened.get(start)
    if known is None or known.stamp != stamp:
        try:
            known = _opened[start] = _Opened(stamp, open_folder(start))
        except (ProjectNotFound, ConfigError):
            return None  # a params.yaml of something else
    return known.folder


def _origin(
    folder: ProjectFolder, code: CapturedCode, data: Mapping[str, str], problems: Sequence[str]
) -> dict[str, Any]:
    section, features = folder.params["project"], folder.params.get("features")
    repo = features.get("repo") if isinstance(features, dict) else None
    return {
        "format": FORMAT,
        "project": section.get("name") or folder.model,
        "model": folder.model,
        "commit": code.commit,
        "uncommitted": list(code.changed),
        "left_out": dict(code.left_out),
        "texts": list(code.texts),
        "patch": hashlib.sha256(code.patch).hexdigest() if code.patch else None,
        "data": dict(data),
        "features": feature_digest(folder.root, str(repo or "feature_repo")),
        **environment(folder.root),
        "problems": list(problems),
    }


def _digest(values: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:_SHORT]
