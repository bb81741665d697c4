"""Reads what a saved model takes and gives, and its size, from the file that describes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from tidemill.errors import ModelNotFound, RegistryError
from tidemill.files.yaml_reading import YamlError, parse_yaml
from tidemill.project import Project
from tidemill.registry.versions.artifacts import CHECK_REGISTRY, connect_registry, read_model_file

__all__ = ["SavedColumn", "SavedSignature", "read_signature"]


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
