"""Write the lineage and the result of a training to its run, and read both back.

Both are JSON files of the run, because MLflow cuts tags. A tag of the run, and of a version registered from
it, holds the SHA-256 of each file: a changed file is refused. Earlier versions of Tidemill
kept all in tags.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from mlflow import MlflowClient, MlflowException

from tidemill.errors import RegistryError
from tidemill.training.tracking.run_files import read_file, write_file
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.run_values import SUMMARY_BEFORE, SUMMARY_TAG
from tidemill.training.tracking.training_result import TrainedModel

__all__ = [
    "LINEAGE",
    "SUMMARY",
    "Document",
    "ReadDocument",
    "log_lineage",
    "log_summary",
    "open_documents",
    "read_lineage",
    "read_summary",
    "training_tags",
]


@dataclass(frozen=True)
class Document:
    """A JSON file of a run, and the tag with its SHA-256."""

    path: str
    tag: str


ReadDocument = Callable[[Document], str]
"""Returns the text of a JSON file."""

LINEAGE = Document("lineage.json", "tidemill.lineage.sha256")
"""`Lineage`; written when the training begins."""
SUMMARY = Document("summary.json", SUMMARY_TAG)
"""`TrainedModel`; written last: a run with its tag is complete."""
_PREFIX = "tidemill.lineage."


def log_lineage(client: MlflowClient, run_id: str, lineage: Lineage) -> dict[str, str]:
    """Write the lineage to a run, and return the tags that the run has got."""
    return _log(client, run_id, LINEAGE, lineage.as_dict(), lineage.tags())


def log_summary(client: MlflowClient, run_id: str, trained: TrainedModel) -> dict[str, str]:
    """Write the result to a run, and return the tag that the run has got: it is complete now."""
    return _log(client, run_id, SUMMARY, trained.as_dict(), {})


def training_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those tags of a run that a version registered from it takes over."""
    return {
        key: value
        for key, value in tags.items()
        if key.startswith(_PREFIX) or key in (SUMMARY.tag, SUMMARY_BEFORE)
    }


def open_documents(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> ReadDocument:
    """Return a function that reads the JSON files of a run.

    Args:
        client: of the store that keeps the run.
        run_id: the run.
        tags: of the run, or of a version registered from it.

    Returns:
        a function that raises RegistryError if a file is missing, or differs from the digest in the tags.
    """
    return lambda document: _read(client, run_id, document.path, tags[document.tag])


def read_lineage(tags: Mapping[str, str], read: ReadDocument) -> Lineage:
    """Return the lineage of a run, or of a version registered from it.

    Args:
        tags: of the run or the version.
        read: reads its JSON files, as `open_documents` does.

    Raises:
        RegistryError: the run has no lineage, or it cannot be read.
    """
    return Lineage.from_dict(json.loads(read(LINEAGE))) if LINEAGE.tag in tags else Lineage.from_tags(tags)


def read_summary(run_id: str, tags: Mapping[str, str], read: ReadDocument) -> TrainedModel:
    """Return the training result of a run, or of a version registered from it.

    Args:
        run_id: the run.
        tags: of the run or the version.
        read: reads its JSON files, as `open_documents` does.

    Raises:
        RegistryError: there is no summary, or it cannot be read.
    """
    text = read(SUMMARY) if SUMMARY.tag in tags else tags.get(SUMMARY_BEFORE)
    return TrainedModel.from_json(run_id, text)


@lru_cache(maxsize=1024)
def _read(client: MlflowClient, run_id: str, path: str, sha256: str) -> str:
    try:
        content = read_file(client, run_id, path)
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"{path} of run {run_id} cannot be read: {error}",
            hint="a model can be judged and described only as long as its run's files are there",
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RegistryError(
            f"{path} of run {run_id} was changed after the training: its SHA-256 is not the recorded one",
            hint="restore the file from a backup, or train again: `tidemill run`",
        )
    return content.decode()


def _log(
    client: MlflowClient, run_id: str, document: Document, values: Mapping[str, Any], tags: Mapping[str, str]
) -> dict[str, str]:
    content = json.dumps(values, sort_keys=True, indent=1, default=_plain).encode()
    write_file(client, run_id, document.path, content)
    given = {**tags, document.tag: hashlib.sha256(content).hexdigest()}
    for key, value in given.items():
        client.set_tag(run_id, key, value)
    return given


def _plain(value: Any) -> Any:
    """Convert a parameter that JSON cannot hold."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else repr(value)
