"""Digests what a turn reads, so that no turn repeats an earlier one. Imports no engine.

Two digests: that of the *sources* is known before a turn, and that of the *data* once its stages have run.
The sources are the repository's code and declarations, the parameters without the turn's own moment, and what
the stages read from outside. The data have the training set instead, to which a later moment may add rows.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.data.repository.git import git
from tidemill.data.versioning.params_file import set_values
from tidemill.files.declaration_files import parse_declaration
from tidemill.files.yaml_reading import parse_dvc_yaml
from tidemill.project import Project
from tidemill.project.moments import moment_parameters
from tidemill.project.project import check_params

__all__ = ["Sources", "data_digest", "read_sources", "tell_all", "with_params"]

_OF_CODE = (".py", ".yaml", ".yml", ".toml", ".sql", ".dvc")
_LEFT_OUT = ("params.yaml", "dvc.lock")
_FOLDER_LEFT_OUT = "monitoring/"
_MOST_FILES = 10_000


def tell_all(project: Project) -> bool:
    """Return whether the sources are all that a turn reads: no parameter brings rows of a later moment."""
    return not moment_parameters(project, datetime(2000, 1, 1, tzinfo=UTC))


def with_params(project: Project, overrides: Mapping[str, Any]) -> Project:
    """Return a project with parameters that a turn is to set.

    Raises:
        ConfigError: ``params.yaml`` must not have them.
    """
    path = project.root / "params.yaml"
    file = parse_declaration(set_values(path.read_text(encoding="utf-8"), overrides), path)
    return replace(project, params=file.content, config=check_params(file))


class Sources(NamedTuple):
    """Digests of what a turn reads."""

    own: str
    """Of code, declarations and parameters."""
    all: str | None
    """Of these and of what the stages read from outside; None where changes of that cannot be seen: an
    address, a folder of very many files, or a stage that is to run always."""


def read_sources(project: Project, overrides: Mapping[str, Any]) -> Sources:
    """Digest what a turn that sets those parameters would read.

    Raises:
        DataError: the project's folder is no git repository.
        ConfigError: ``params.yaml`` or ``dvc.yaml`` is wrong.
    """
    root, stages, params = project.root, _stages(project.root), _params(project, overrides)
    made = {
        _path_of(out)
        for stage in stages
        for name in ("outs", "metrics", "plots")
        for out in stage.get(name, ())
    }
    code = [name for name in _code(root) if name not in made]
    found = hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode())
    for name in code:
        found.update(f"\0{name}\0".encode() + (root / name).read_bytes())
    own = found.hexdigest()
    if any(stage.get("always_changed") for stage in stages) or _names_an_address(params):
        return Sources(own, None)
    outside = {_path_of(dep) for stage in stages for dep in stage.get("deps", ())} - made - set(code)
    for name in sorted(outside):
        if "://" in name or (said := _stat_of(root / name)) is None:
            return Sources(own, None)
        found.update(f"\0{name}\0{said}".encode())
    return Sources(own, found.hexdigest())


def data_digest(project: Project, sources: Sources) -> str | None:
    """Return a digest of code, parameters and the training set that the stages made; None without that."""
    if not project.dataset_path.is_file():
        return None
    with project.dataset_path.open("rb") as file:
        return hashlib.sha256(sources.own.encode() + hashlib.file_digest(file, "sha256").digest()).hexdigest()


def _stages(root: Path) -> list[Mapping[str, Any]]:
    path = root / "dvc.yaml"
    content = parse_dvc_yaml(path.read_text(encoding="utf-8")) if path.is_file() else None
    stages = (content or {}).get("stages") or {}
    return [stage for stage in stages.values() if isinstance(stage, Mapping)]


def _params(project: Project, overrides: Mapping[str, Any]) -> Any:
    """Return ``params.yaml`` as a turn sets it, but for its moment."""
    path, own = project.root / "params.yaml", moment_parameters(project, datetime(2000, 1, 1, tzinfo=UTC))
    text = set_values(path.read_text(encoding="utf-8"), {**overrides, **own})
    content = parse_declaration(text, path).content
    # Where a turn computes does not change what it learns.
    return {name: section for name, section in content.items() if name != "kubernetes"}


def _code(root: Path) -> list[str]:
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted(
        name
        for name in dict.fromkeys(listed)
        if name.endswith(_OF_CODE)
        and name not in _LEFT_OUT
        and not name.startswith(_FOLDER_LEFT_OUT)
        and (root / name).is_file()
    )


def _path_of(entry: Any) -> str:
    """Return the path of a dependency or output, which may be a mapping with its settings."""
    return str(next(iter(entry)) if isinstance(entry, Mapping) else entry)


def _names_an_address(value: Any) -> bool:
    """Return whether one of the parameters is an address, whose content no file shows."""
    if isinstance(value, Mapping):
        return any(_names_an_address(each) for each in value.values())
    return isinstance(value, str) and "://" in value


def _stat_of(path: Path) -> str | None:
    """Return size and time of a file, or of all files of a folder; None if there are too many."""
    files: Iterable[Path] = (
        sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    )
    told = []
    for number, file in enumerate(files):
        if number == _MOST_FILES:
            return None
        if file.exists():
            about = file.stat()
            told.append(f"{file}\0{about.st_size}\0{about.st_mtime_ns}")
    return "\0".join(told)
