"""Export a compiled model with everything needed to run it without Tidemill."""

import json
import shutil
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tidemill.errors import RegistryError, UsageError
from tidemill.files.drafts import discard_draft, new_draft_folder, published
from tidemill.project import Project
from tidemill.registry.versions.compiled_versions import (
    ARTIFACT,
    CompiledRecord,
    complete_record,
    read_compiled,
)
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_loading import version_task
from tidemill.registry.versions.model_versions import get_version, open_files
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.tasks.multiclass import Multiclass
from tidemill.training.compiling.onnx_session import check_content

__all__ = ["ExportedModel", "export_version"]

_EXAMPLE = ("README.md", "index.html", "page.js", "predict.js", "predict.py")


@dataclass(frozen=True)
class ExportedModel:
    """The result of an export."""

    model: str
    version: str
    folder: Path
    files: tuple[str, ...]
    sha256: str
    size: int
    """Of the ONNX file, in bytes."""


def export_version(project: Project, model: str, version: str, output: Path) -> ExportedModel:
    """Write a version's compiled model, its metadata and examples that run it into a new folder.

    The rows with known answers that go along are made up: no row of the data leaves the project.

    Args:
        project: whose model it is.
        model: its name.
        version: a number or an alias.
        output: a folder that does not exist yet, or is empty.

    Raises:
        UsageError: the folder is not empty.
        ModelNotFound: there is no such version.
        RegistryError: the version is not compiled, or its artefact is not the one on record.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is not empty", hint="name a folder that does not exist yet")
    found = get_version(project, version, model)
    record = CompiledRecord.from_tags(found.tags)
    if record is None or record.status != "compiled":
        reason = record.reason if record else "it was registered without being compiled"
        raise RegistryError(
            f"{model} {found.version} has no compiled model: {reason}",
            hint=f"`tidemill models compile {model} {found.version}` tries again",
        )
    output = output.absolute()
    half = new_draft_folder(output)
    try:
        with open_files(project, found.version, model) as folder:
            scorer = read_compiled(folder, found.version, record, version_task(project, found))
            record = complete_record(record, found.version, lambda path: (folder / path).read_bytes())
            shutil.copyfile(folder / ARTIFACT, half / "model.onnx")
        (half / "model.json").write_text(json.dumps(_facts(found, record, scorer, half), indent=2) + "\n")
        for name in _EXAMPLE:
            (half / name).write_text((files("tidemill.registry.versions") / "example" / name).read_text())
        if output.exists():  # keep an empty folder: it may be someone's current directory
            for file in half.iterdir():
                file.replace(output / file.name)
        else:
            half.replace(output)
            published(half)
    except OSError as error:
        raise RegistryError(
            f"{output} cannot be written: {error}",
            hint="check that the folder can be written and the disk has space",
        ) from error
    finally:
        discard_draft(half)
    names = tuple(sorted(file.name for file in output.iterdir()))
    return ExportedModel(found.model, found.version, output, names, record.sha256 or "", record.size)


def _facts(found: ModelVersion, record: CompiledRecord, scorer: Scorer, folder: Path) -> dict[str, Any]:
    model = check_content((folder / "model.onnx").read_bytes())
    kinds = ["word" if place in record.words else "number" for place in range(len(record.features))]
    made = pd.DataFrame(
        [[value if kind == "number" else word for kind in kinds] for value, word in _MADE_UP],
        columns=list(record.features),
    )
    answers, output = scorer.predict(made), model.graph.output[0].name
    classes = scorer.task.classes if isinstance(scorer.task, Multiclass) else ()
    return {
        "model": found.model,
        "version": found.version,
        "features": [{"name": n, "kind": k} for n, k in zip(record.features, kinds, strict=True)],
        "output": {"name": output, "meaning": _MEANING[output], "classes": list(classes)},
        "parity": asdict(record.parity) if record.parity else None,
        "sha256": record.sha256,
        "opset": {one.domain or "ai.onnx": one.version for one in model.opset_import},
        "trained": {
            "service": found.lineage.feature_service if found.lineage else None,
            "data": found.lineage.git_commit if found.lineage else None,
            "run": found.run_id,
        },
        "checks": [
            {"row": _plain(row), output: answer.tolist()}
            for row, answer in zip(made.to_dict("records"), answers, strict=True)
            if np.isfinite(answer).all()
        ],
    }


_MEANING = {
    "probability": "probability of label 1",
    "probabilities": "probability of each class",
    "value": "the value",
}
_MADE_UP = ((np.nan, None), (0.0, "a"), (1.0, "b"), (-1.0, "c"), (1000.0, "d"))


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """Return the row without unknown values: JSON has no NaN."""
    return {str(name): value for name, value in row.items() if value == value and value is not None}
