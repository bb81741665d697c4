"""Read the folder of an MLflow model, also if its path has percent signs, which MLflow decodes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from mlflow.models import Model

__all__ = ["read_description", "readable_folder"]


def read_description(folder: Path) -> Model:
    """Return the content of the file ``MLmodel`` in a folder.

    Raises:
        OSError, yaml.YAMLError, TypeError, KeyError, MlflowException: there is none, or it is broken.
    """
    return Model.from_dict(yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")))


@contextmanager
def readable_folder(folder: Path) -> Iterator[str]:
    """Yield a path that MLflow's loaders can read: a copy of ``folder`` if its path has a percent sign."""
    if "%" not in str(folder):
        yield str(folder)
        return
    with TemporaryDirectory() as temporary:
        yield str(shutil.copytree(folder, Path(temporary) / "model"))
