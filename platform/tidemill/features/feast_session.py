"""Open Feast's feature store, and translate the errors of Feast and its engines into ours."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
from feast import FeatureService, FeatureStore
from feast.errors import FeastError, FeastObjectNotFoundException
from google.protobuf.message import Error as ProtobufError
from pydantic import ValidationError

from tidemill.errors import FeatureError
from tidemill.files.yaml_reading import YamlError
from tidemill.project import Project

__all__ = ["feast_errors", "get_service", "has_repository", "open_store", "repository"]

_ENGINE_ERRORS = (
    FeastError,
    ValidationError,
    YamlError,
    ProtobufError,  # a registry's file holds something else
    sqlite3.Error,
    pl.exceptions.PolarsError,
    pa.ArrowException,
    AssertionError,  # Feast checks its input with asserts and bare built-ins
    AttributeError,
    KeyError,
    LookupError,
    NameError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)


@contextmanager
def feast_errors(doing: str, hint: str | None = None) -> Iterator[None]:
    """Translate the errors that Feast raises inside the block.

    Raises:
        FeatureError: Feast failed; says what was being done.

    >>> with feast_errors("reading the registry"):
    ...     raise ValueError("no such view")
    Traceback (most recent call last):
    ...
    tidemill.errors.FeatureError: reading the registry failed: no such view
    """
    try:
        yield
    except _ENGINE_ERRORS as error:
        message = str(error) or type(error).__name__
        raise FeatureError(f"{doing} failed: {message}", hint=hint) from error


def repository(project: Project) -> Path:
    """Return the folder with the project's feature definitions."""
    return (project.root / project.config.features.repo).resolve()


def has_repository(project: Project) -> bool:
    """Return whether the project has a feature store, and its folder a ``feature_store.yaml``."""
    return project.has_store and (repository(project) / "feature_store.yaml").is_file()


def open_store(project: Project) -> FeatureStore:
    """Open the project's feature store; reads ``feature_store.yaml`` and nothing else yet.

    A store belongs to the process that opened it: a child process opens its own.

    Raises:
        ConfigError: features come in the request: there is no store.
        FeatureError: there is no ``feature_store.yaml``, or it is wrong.
    """
    project.require_store()
    repo = repository(project)
    path = repo / "feature_store.yaml"
    if not path.is_file():
        raise FeatureError(
            f"there is no {path}",
            hint="params.yaml names the folder of the feature repository in features.repo",
        )
    with feast_errors(f"opening {path}"):
        return FeatureStore(repo_path=str(repo), fs_yaml_file=path)


def get_service(store: FeatureStore, name: str) -> FeatureService:
    """Return a service from the registry.

    Raises:
        FeatureError: there is no service of that name.
    """
    with feast_errors("reading the registry"):
        try:
            return store.get_feature_service(name)
        except FeastObjectNotFoundException as error:
            there = ", ".join(service.name for service in store.list_feature_services()) or "none"
            raise FeatureError(
                f"the registry of {store.repo_path} has no feature service {name!r} (there are: {there})",
                hint="apply the definitions first; params.yaml names the service in features.service",
            ) from error
