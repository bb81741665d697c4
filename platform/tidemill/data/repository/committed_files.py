"""Makes digests of the code and of the parameters that a commit holds."""

import hashlib
import json
from pathlib import Path, PurePosixPath

import yaml

from tidemill.data.repository.git import git_try
from tidemill.data.repository.uncommitted_code import is_code

__all__ = ["committed_digests"]

_OF_DATA = frozenset({"dvc.lock", "params.yaml"})
_MOMENT = frozenset({"as_of", "last_month"})  # of the section data: each turn writes its own
_LENGTH = 12


def committed_digests(root: Path, commit: str) -> dict[str, str]:
    """Return digests of the ``code_files`` and the ``parameters`` of a commit; none if it cannot be read.

    The code is what `find_uncommitted` takes for code, without ``params.yaml`` and DVC's lock: every turn
    commits these. The moment that a turn writes is no parameter.

    Args:
        root: the project's folder, which may lie within a repository.
        commit: full or short.
    """
    if not commit:
        return {}
    listed = git_try(root, "ls-tree", "-r", "-z", commit)
    params = git_try(root, "show", f"{commit}:./params.yaml")
    if listed.returncode or params.returncode:
        return {}
    blobs = [line.split("\t", 1) for line in listed.stdout.split("\0") if line]
    code = sorted((path, blob) for blob, path in blobs if _counts(path))
    try:
        values = yaml.safe_load(params.stdout)
    except yaml.YAMLError:
        return {}
    if isinstance(values, dict) and isinstance(values.get("data"), dict):
        data = {name: value for name, value in values["data"].items() if name not in _MOMENT}
        values = {**values, "data": data}
    return {"code_files": _digest(code), "parameters": _digest(values)}


def _counts(path: str) -> bool:
    return is_code(path) and PurePosixPath(path).name not in _OF_DATA


def _digest(value: object) -> str:
    written = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(written.encode(errors="surrogateescape")).hexdigest()[:_LENGTH]
