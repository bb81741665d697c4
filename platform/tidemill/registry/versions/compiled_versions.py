"""Compile a version's model when it is registered, compare it with the original, and record the result."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd
from mlflow import MlflowException

from tidemill.errors import ModelUnsafe, RegistryError
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.tasks.task import Task
from tidemill.training.compiling.parity import Parity, compare_answers

__all__ = ["ARTIFACT", "TAG", "CompiledRecord", "compile_scorer", "complete_record", "read_compiled"]

ARTIFACT = "compiled/model.onnx"
"""Where the compiled model is among the files of the logged model."""
_INPUTS = "compiled/inputs.json"
"""File with its features, which can be too many for a tag."""
TAG = "tidemill.compiled"
"""Tag of the version, as JSON. A version gets it at birth, when the artefact is in its place."""
_ROWS = 2000
_LONGEST_REASON = 1000
_ONNX = "it is ONNX already"


@dataclass(frozen=True)
class CompiledRecord:
    """The result of compiling a version.

    >>> record = CompiledRecord("refused", "SVC: too large")
    >>> CompiledRecord.from_tags(record.tags()) == record
    True
    """

    status: Literal["compiled", "refused"]
    reason: str | None = None
    """Why the original serves."""
    parity: Parity | None = None
    sha256: str | None = None
    """Digest of the artefact; an artefact with another one is not loaded."""
    size: int = 0
    """Of the artefact, in bytes."""
    seconds: float = 0.0
    """It took this long to compile and compare."""
    features: tuple[str, ...] = ()
    """The artefact's features, in order."""
    words: tuple[int, ...] = ()
    """Places of the features that are text."""
    inputs_sha256: str | None = None
    """Of the file beside the artefact that tells ``features`` and ``words``."""

    @property
    def is_onnx(self) -> bool:
        """Whether ONNX serves: the compiled model, or a version that was made as ONNX."""
        return self.status == "compiled" or self.reason == _ONNX

    def tags(self) -> dict[str, str]:
        """Return it as a tag of the version, without ``features`` and ``words``."""
        reason = self.reason and self.reason[:_LONGEST_REASON]
        short = replace(self, reason=reason, features=(), words=())
        return {TAG: json.dumps({**short.facts(), "inputs_sha256": self.inputs_sha256})}

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values; an infinite difference becomes None."""
        found = asdict(self)
        del found["inputs_sha256"]
        if self.parity and not np.isfinite(self.parity.max_difference):
            found["parity"]["max_difference"] = None
        return found

    def __str__(self) -> str:
        if self.status == "refused":
            return f"no: {self.reason}"
        return f"yes, {self.size:,} bytes of ONNX; {self.parity}; in {self.seconds:.1f} s"

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "CompiledRecord | None":
        """Read it back, without ``features`` and ``words``; none if there is none, or one that is broken.

        See `complete_record`. Versions of earlier releases have all of it in the tag.
        """
        try:
            found = json.loads(tags[TAG])
            parity = found.pop("parity")
            if parity and parity["max_difference"] is None:
                parity["max_difference"] = float("inf")
            for name in ("features", "words"):
                found[name] = tuple(found[name])
            return cls(**found, parity=Parity(**parity) if parity else None)
        except (KeyError, TypeError, ValueError):
            return None


def compile_scorer(original: Scorer, rows: pd.DataFrame, keep: Callable[[Path, str], None]) -> CompiledRecord:
    """Compile a model, compare it with the original, and keep it with the model's files.

    A failure here is not an error of the version: a model that cannot be compiled is served as it is.

    Args:
        original: the loaded original.
        rows: real rows, with at least the original's features.
        keep: puts a file into a folder of the model's files.
    """
    began = time.perf_counter()
    record, content = _compile(original, rows)
    if content is not None:
        inputs = json.dumps({"features": record.features, "words": record.words}).encode()
        record = replace(record, inputs_sha256=hashlib.sha256(inputs).hexdigest())
        with TemporaryDirectory() as folder:
            for path, written in ((_INPUTS, inputs), (ARTIFACT, content)):
                file = Path(folder) / Path(path).name
                file.write_bytes(written)
                keep(file, str(Path(path).parent))
    return replace(record, seconds=round(time.perf_counter() - began, 3))


def _compile(original: Scorer, rows: pd.DataFrame) -> tuple[CompiledRecord, bytes | None]:
    # Serving alone does not need the compiler and its packages, and most of the rest not even ONNX.
    from tidemill.training.compiling.compiler import Refusal, compile_model
    from tidemill.training.compiling.onnx_session import open_session

    if original.estimator is None:
        return CompiledRecord("refused", _ONNX), None
    if rows.empty:
        return CompiledRecord("refused", "there are no real rows to compare the answers on"), None
    sample = original.frame(rows)
    sample = sample.sample(min(len(sample), _ROWS), random_state=0)
    found = compile_model(original.estimator, sample, original.task, original.places)
    if isinstance(found, Refusal):
        return CompiledRecord("refused", found.reason), None
    words = tuple(place for place, kind in enumerate(found.kinds) if kind == "word")
    try:
        session = open_session(found.content, found.features, words)
        parity = compare_answers(original.predict, session.predict, sample, task=original.task)
    except ModelUnsafe as error:
        return CompiledRecord("refused", str(error)), None
    except Exception as error:  # noqa: BLE001 — the original, or onnxruntime, over some row
        return CompiledRecord("refused", f"the answers cannot be compared: {error!r}"), None
    if not parity.passed:
        return CompiledRecord("refused", f"it does not answer as the original does: {parity}", parity), None
    digest = hashlib.sha256(found.content).hexdigest()
    record = CompiledRecord("compiled", None, parity, digest, len(found.content))
    return replace(record, features=found.features, words=words), found.content


def complete_record(record: CompiledRecord, version: str, read: Callable[[str], bytes]) -> CompiledRecord:
    """Return the record with ``features`` and ``words``.

    Args:
        record: as `CompiledRecord.from_tags` returns it.
        version: number of the version.
        read: returns the content of a file of the logged model.

    Raises:
        ModelUnsafe: the file that tells them is not the one on record.
        RegistryError: there is no such file.
    """
    if record.inputs_sha256 is None:
        return record
    content = _read(_INPUTS, version, record.inputs_sha256, read)
    found = json.loads(content)
    return replace(record, features=tuple(found["features"]), words=tuple(found["words"]))


def read_compiled(folder: Path, version: str, record: CompiledRecord, task: Task) -> Scorer:
    """Load the compiled model of a version.

    Args:
        folder: with the files of the logged model.
        version: number of the version.
        record: of the version, with status "compiled".
        task: what it predicts.

    Raises:
        ModelUnsafe: the artefact is not the one on record, or could run code or read other files.
        RegistryError: there is no artefact.
    """
    from tidemill.training.compiling.onnx_session import open_session

    def read(path: str) -> bytes:
        return (folder / path).read_bytes()

    content, record = _read(ARTIFACT, version, record.sha256, read), complete_record(record, version, read)
    session = open_session(content, record.features, record.words)
    if not record.words:
        return Scorer(version, record.features, session.score, "onnx", task=task)
    return Scorer(
        version,
        record.features,
        session.score,
        "onnx",
        by_name=session.predict,
        task=task,
        words=tuple(record.features[place] for place in record.words),
        mixed=session.mixed,
    )


def _read(path: str, version: str, sha256: str | None, read: Callable[[str], bytes]) -> bytes:
    try:
        content = read(path)
    except (OSError, MlflowException) as error:
        raise RegistryError(
            f"the compiled model of version {version} cannot be read: {error}",
            hint="`tidemill models compile` makes it again",
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelUnsafe(
            f"the compiled model of version {version} is not the one on record: its SHA-256 differs ({path})",
            hint="`tidemill models compile` makes it again",
        )
    return content
