"""Reads which data a project's folder points to, and what its features are defined by, in milliseconds."""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tidemill.data.repository.git import git
from tidemill.data.repository.revisions import POINTERS
from tidemill.files.yaml_reading import YamlError, parse_dvc_yaml

__all__ = ["feature_digest", "pointed_data"]

_LOCK = "dvc.lock"
_DECLARED = "features.yaml"
_MOST = 500
"""Files of definitions that are read."""


def pointed_data(root: Path, commit: str | None) -> dict[str, str]:
    """Return path → MD5 of the data that ``dvc.lock`` and the ``.dvc`` files in the folder name now.

    The data itself is not read: whether it was changed since DVC wrote its MD5 is not told.

    Args:
        root: the project, which is the root of its repository.
        commit: where ``.dvc`` files are looked up; they are not searched in the folder, which may be large.

    Raises:
        DataError, OSError: they cannot be read.
    """
    found: dict[str, str] = {}
    for name in (_LOCK, *(_pointers(root, commit) if commit else ())):
        file = root / name
        if file.is_file():
            state = file.stat()
            found |= _outputs(file, posixpath.dirname(name), state.st_mtime_ns, state.st_size)
    return dict(sorted(found.items()))


@lru_cache(maxsize=8)
def _pointers(root: Path, _commit: str) -> tuple[str, ...]:
    return tuple(name for name in git(root, "ls-files", "-z", "--", POINTERS).split("\0") if name)


@lru_cache(maxsize=256)
def _outputs(file: Path, folder: str, _changed: int, _size: int) -> Mapping[str, str]:
    try:
        content = parse_dvc_yaml(file.read_bytes())
    except YamlError as error:
        raise ValueError(f"{file}: {error}") from error
    return dict(_named(content if isinstance(content, dict) else {}, folder))


def _named(content: Mapping[str, Any], folder: str) -> Iterator[tuple[str, str]]:
    stages = content.get("stages")
    every = [content] if stages is None else [stage for stage in stages.values() if isinstance(stage, dict)]
    for stage in every:
        for output in stage.get("outs") or ():
            path = posixpath.normpath(posixpath.join(folder, str(stage.get("wdir", "")), str(output["path"])))
            yield path, str(output.get("md5") or output.get("etag") or output.get("checksum") or "")


def feature_digest(root: Path, repo: str) -> str | None:
    """Return a SHA-256 of the files that define the features; None where there are none.

    Args:
        root: the project.
        repo: its folder of Feast's definitions.
    """
    folder = root / repo
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else []
    files = [file for file in [*files[:_MOST], root / _DECLARED] if file.is_file()]
    if not files:
        return None
    found = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        found.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
