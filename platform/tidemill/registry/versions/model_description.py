"""Read the file that describes an MLflow model, also in a folder with percent signs, which MLflow decodes."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowException
from mlflow.models import Model

from tidemill.errors import ModelNotFound, RegistryError
from tidemill.files.yaml_reading import YamlError, parse_yaml, read_yaml
from tidemill.project import Project
from tidemill.registry.versions.artifacts import CHECK_REGISTRY, connect_registry, read_model_file

__all__ = ["SavedColumn", "SavedSignature", "read_description", "read_signature", "readable_folder"]


def read_description(folder: Path) -> Model:
    """Return the content of the file ``MLmodel`` in a folder.

    Raises:
        OSError, YamlError, TypeError, KeyError, MlflowException: the file is missing or broken.
    """
    return Model.from_dict(read_yaml(folder / "MLmodel"))


@contextmanager
def readable_folder(folder: Path) -> Iterator[str]:
    """Yield a path that MLflow's loaders can read: a copy of ``folder`` if its path has a percent sign."""
    if "%" not in str(folder):
        yield str(folder)
        return
    with TemporaryDirectory() as temporary:
        yield str(shutil.copytree(folder, Path(temporary) / "model"))


@dataclass(frozen=True)
class SavedColumn:
    """A column that a model takes or gives."""

    name: str
    """Empty for a tensor without a name."""
    type: str
    required: bool


@dataclass(frozen=True)
class SavedSignature:
    """What a saved model takes and gives."""

    inputs: Sequence[SavedColumn]
    outputs: Sequence[SavedColumn]
    size: int | None
    """Of its files, bytes; None in records of earlier versions of MLflow."""
    format: str
    """The kind of file that it is saved as."""


def read_signature(project: Project, version: str) -> SavedSignature:
    """Return the signature of a version of the project's model.

    Raises:
        ModelNotFound: there is no such version.
        RegistryError: its files cannot be read.
    """
    try:
        address = connect_registry(project).get_model_version_download_uri(project.model, version)
        described: dict[str, Any] = parse_yaml(read_model_file(project, address, "MLmodel"))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise ModelNotFound(f"{project.model} has no version {version!r}") from error
        raise _unreadable(project, version, error) from error
    except (OSError, YamlError) as error:
        raise _unreadable(project, version, error) from error
    signature = described.get("signature") or {}
    flavours = described.get("flavors") or {}
    named = [f"{name} ({kind})" for name, of in flavours.items() if (kind := of.get("serialization_format"))]
    return SavedSignature(
        _columns(signature.get("inputs")),
        _columns(signature.get("outputs")),
        described.get("model_size_bytes"),
        ", ".join(named or flavours),
    )


def _unreadable(project: Project, version: str, error: Exception) -> RegistryError:
    return RegistryError(
        f"the files of {project.model} {version} cannot be read: {error}", hint=CHECK_REGISTRY
    )


def _columns(text: str | None) -> list[SavedColumn]:
    """Return the columns in a part of a signature.

    >>> _columns('[{"type": "double", "name": "wind", "required": false}]')
    [SavedColumn(name='wind', type='double', required=False)]
    >>> _columns('[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]')
    [SavedColumn(name='', type='float64 -1 × 2', required=True)]
    """
    found = []
    for one in json.loads(text or "[]"):
        spec = one.get("tensor-spec")
        kind = f"{spec['dtype']} {' × '.join(map(str, spec['shape']))}" if spec else str(one["type"])
        found.append(SavedColumn(one.get("name", ""), kind, bool(one.get("required", True))))
    return found
