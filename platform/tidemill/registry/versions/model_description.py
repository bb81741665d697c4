"""Reads the folder of an MLflow model, whatever its name: MLflow decodes percent signs in paths."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from mlflow.models import Model

__all__ = ["read_description", "readable_folder"]


def read_description(folder: Path) -> Model:
    """Return what the file ``MLmodel`` in a folder says.

    Raises:
        OSError, yaml.YAMLError, TypeError, KeyError, MlflowException: there is none, or it is broken.
    """
    return Model.from_dict(yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")))


@contextmanager
def readable_folder(folder: Path) -> Iterator[str]:
    """Give a path that MLflow's own loaders read: a copy of ``folder`` where there is a percent sign."""
    if "%" not in str(folder):
        yield str(folder)
        return
    with TemporaryDirectory() as temporary:
        yield str(shutil.copytree(folder, Path(temporary) / "model"))
