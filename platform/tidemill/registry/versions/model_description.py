"""Read the folder of an MLflow model, also if its path has percent signs, which MLflow decodes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.models import Model

from tidemill.files.yaml_reading import read_yaml

__all__ = ["read_description", "readable_folder"]


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
