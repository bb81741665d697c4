"""Opens MLflow's local database, and reads what runs and models say of themselves; imports no MLflow."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tidemill.files.read_only_sqlite import open_to_read
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.project import ProjectFolder

__all__ = ["AskMlflow", "local_compiled", "local_lineage", "local_summary", "open_database"]

_PARTS = ("train", "validation", "holdout")


class AskMlflow(Exception):
    """Raised where files or tables are elsewhere, or not as expected: MLflow must answer."""


def open_database(folder: ProjectFolder) -> sqlite3.Connection | None:
    """Return MLflow's database, to read; None if there is none yet, which MLflow would make.

    Raises:
        AskMlflow: it is no local file.
        sqlite3.Error: it cannot be read.
    """
    path = sqlite_file(folder.tracking_uri)
    if path is None:
        raise AskMlflow
    if not path.is_file():
        return None
    database = open_to_read(path, wait_seconds=30)
    database.row_factory = sqlite3.Row
    return database


def local_summary(root: Path, files: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return what a run says of its result; nothing if Tidemill did not train it.

    Args:
        root: the project's folder.
        files: address of the run's files.
        tags: of the version.

    Raises:
        AskMlflow: the files are elsewhere, or not as expected.
    """
    summary = _document(root, files, "summary.json", tags.get("tidemill.summary.sha256"))
    if summary is None:
        summary = json.loads(tags.get("tidemill.summary", "{}"))
    return summary


def local_lineage(root: Path, files: str, tags: Mapping[str, str]) -> Mapping[str, Any]:
    """Return what a run was made from; arguments and errors as of `local_summary`."""
    document = _document(root, files, "lineage.json", tags.get("tidemill.lineage.sha256"))
    if document is not None:
        return document
    prefix = "tidemill.lineage."
    found = {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}
    if "data" not in found:
        return {}
    split = {part: {edge: found[f"{part}_{edge}"] for edge in ("start", "end")} for part in _PARTS}
    plain = {name: found[name] for name in ("git_commit", "feature_service", "feature_definition", "as_of")}
    return {**plain, **{name: json.loads(found[name]) for name in ("data", "packages")}, "split": split}


def local_compiled(root: Path, files: str, tags: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return what came of compiling a model; None if that was not tried. As `local_summary`."""
    if "tidemill.compiled" not in tags:
        return None
    facts: dict[str, Any] = json.loads(tags["tidemill.compiled"])
    inputs = _document(root, files, "compiled/inputs.json", facts.pop("inputs_sha256", None))
    return facts | (inputs or {})


def _document(root: Path, address: str, path: str, sha256: str | None) -> dict[str, Any] | None:
    """Return a JSON file of a run or a model; None if no digest of it is recorded."""
    if sha256 is None:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("", "file"):
        raise AskMlflow
    place = Path(unquote(parts.path) if parts.scheme else address)
    if not place.is_relative_to(root):
        raise AskMlflow  # the project was moved or copied: MLflow's tracking code finds the files
    try:
        content = (place / path).read_bytes()
    except OSError:
        raise AskMlflow from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise AskMlflow  # raises what is wrong with it
    found: dict[str, Any] = json.loads(content)
    return found
