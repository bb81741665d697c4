"""Find the model that an address names: a file, a folder, an entry of MLflow, a class of the project."""

import re
from dataclasses import dataclass
from pathlib import Path

from tidemill.errors import UsageError
from tidemill.project import Project
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.model_sources import digest_of, read_file_model
from tidemill.training.spec_loading import load_spec

__all__ = ["Origin", "open_model"]

_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Origin:
    """A model from elsewhere, and where it is from."""

    model: ForeignModel
    source: str
    """The address, for people: an absolute path, or as it was given."""
    sha256: str
    """Of the file, or of all files of the folder."""


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
    path = Path(address).absolute()
    if not path.exists():
        raise UsageError(
            f"{address}: there is no such file", hint="name the file of a model (docs/importing.md)"
        )
    return Origin(
        read_file_model(path, lambda: load_spec(project).trusted_types, allow_code),
        str(path),
        digest_of(path),
    )
