"""Find the model that an address names: a file, a folder, an entry of MLflow, a class of the project."""

from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowException

from tidemill.files.yaml_reading import YamlError
from tidemill.project import Project
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.mlflow_models import fetch_model, read_folder_model
from tidemill.registry.importing.model_files import digest_of, read_file_model
from tidemill.registry.importing.model_kinds import ADDRESS, check_address
from tidemill.registry.importing.python_classes import CLASS_FILES, read_class
from tidemill.registry.versions.model_description import read_description
from tidemill.training.fitting.packaging import estimator_digest
from tidemill.training.spec_loading import load_spec

__all__ = ["Origin", "open_model"]


@dataclass(frozen=True)
class Origin:
    """A model from elsewhere, and where it is from."""

    model: ForeignModel
    source: str
    """The address, for people: an absolute path, or as it was given."""
    sha256: str
    """Of the file, or of all files of the folder."""
    file_sha256: str | None = None
    """Of the file of an estimator alone, whatever folder it lies in."""
    run_id: str | None = None
    """The run that made it, as MLflow's description of the folder says."""


def open_model(
    project: Project, address: str, scratch: Path, allow_code: bool, tracking_uri: str | None = None
) -> Origin:
    """Read the model at an address.

    Args:
        project: which imports it.
        address: a path, an MLflow address, or ``module:Class``.
        scratch: a folder for files that are fetched.
        allow_code: whether it may execute code while it is loaded.
        tracking_uri: of the MLflow that the address is in; default: the project's.

    Raises:
        UsageError: nothing is there, or it is of a kind that cannot be imported.
        ModelUnsafe: loading it could execute code, and ``allow_code`` is not set.
        RegistryError: it is damaged, or MLflow does not have it.
    """
    check_address(address, allow_code)
    path = Path(address).absolute()
    path = path.parent.resolve() / path.name  # without "..", which says nothing on record

    def declared() -> tuple[str, ...]:
        return load_spec(project).trusted_types

    if path.is_dir():
        read = read_folder_model(path, declared, allow_code)
        return Origin(read, str(path), digest_of(path), estimator_digest(path), _run_of(path))
    if path.exists():
        read = read_file_model(path, declared, allow_code)
        digest = digest_of(path)
        return Origin(read, str(path), digest, digest, _run_beside(path))
    if ADDRESS.fullmatch(address):
        fetched = fetch_model(project, address, scratch, tracking_uri)
        read = read_folder_model(fetched, declared, allow_code)
        return Origin(read, address, digest_of(fetched), estimator_digest(fetched), _run_of(fetched))
    made = read_class(project, address, scratch)
    return Origin(made, address, digest_of(scratch / CLASS_FILES))


def _run_of(folder: Path) -> str | None:
    run_id = read_description(folder).run_id
    return None if run_id is None else str(run_id)


def _run_beside(file: Path) -> str | None:
    """Return the run of the folder that a file lies in, if that is a model's of MLflow."""
    try:
        return _run_of(file.parent)
    except (OSError, YamlError, TypeError, KeyError, ValueError, AttributeError, MlflowException):
        return None
