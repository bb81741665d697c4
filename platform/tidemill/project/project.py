"""Finds a project by its ``params.yaml`` and gives access to what it declares."""

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tidemill.errors import ConfigError, ProjectNotFound
from tidemill.files.sqlite_urls import sqlite_url
from tidemill.project.project_config import ProjectConfig
from tidemill.settings import Settings

__all__ = ["Project", "check_params", "find_project", "load_project"]


@dataclass(frozen=True)
class Project:
    """A project on disk: its folder, its declarations, the addresses it works with."""

    root: Path
    config: ProjectConfig
    settings: Settings
    params: dict[str, Any] = field(repr=False)
    """All of ``params.yaml``, the project's own sections included."""

    @property
    def model(self) -> str:
        """Name of the registered model."""
        return self.config.project.model

    @property
    def home(self) -> Path:
        """Folder of everything that Tidemill writes beside the data: records, runs, logs, reports."""
        return self.root / ".tidemill"

    @property
    def state_url(self) -> str:
        """Address of the platform's records."""
        return self.settings.state_url or sqlite_url(self.home / "state.db")

    @property
    def tracking_uri(self) -> str:
        """Address of MLflow's tracking store and registry."""
        return self.settings.tracking_uri or sqlite_url(self.home / "mlflow.db")

    @property
    def dataset_path(self) -> Path:
        """The training set that the last DVC stage writes."""
        return self.root / self.config.dataset.path

    @property
    def predictions(self) -> Path:
        """Folder of the prediction log and of the labels."""
        return self.home / "predictions"

    @property
    def reports(self) -> Path:
        """Folder of the monitors' HTML reports."""
        return self.home / "reports"

    @property
    def logs(self) -> Path:
        """Folder of the servers' logs."""
        return self.home / "logs"

    def load(self, reference: str) -> Any:
        """Import ``module:object`` from the project's own code.

        Raises:
            ConfigError: there is no such module or object, or it fails to import.
        """
        module_name, _, attribute = reference.partition(":")
        root = str(self.root)
        if sys.path[:1] != [root]:
            sys.path.insert(0, root)
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ConfigError(
                f"{self.root / 'params.yaml'}: {reference!r} cannot be imported: {error}",
                hint=f"it must be a module below {self.root}",
            ) from error
        try:
            return getattr(module, attribute)
        except AttributeError as error:
            raise ConfigError(
                f"{self.root / 'params.yaml'}: module {module_name!r} has no {attribute!r}",
                hint=f"see {module.__file__}",
            ) from error


def find_project(start: Path) -> Path:
    """Return the nearest folder, from ``start`` upwards, whose ``params.yaml`` has a ``project`` section.

    Raises:
        ProjectNotFound: there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if "project" in (_read(folder / "params.yaml") or {}):
            return folder
    raise ProjectNotFound(
        f"{start} is not a Tidemill project: neither here nor above is there a params.yaml with a "
        "project section",
        hint="go to a project's folder, name one with --project DIR, or make one with `tidemill init DIR`",
    )


def load_project(start: Path | None = None, settings: Settings | None = None) -> Project:
    """Load the project at ``start`` (default: the current folder) or above it.

    Raises:
        ProjectNotFound: there is none.
        ConfigError: its ``params.yaml`` is wrong; the message names each field.
    """
    root = find_project(start or Path.cwd())
    path = root / "params.yaml"
    params = _read(path) or {}
    return Project(root, check_params(path, params), settings or Settings(), params)


def check_params(path: Path, params: dict[str, Any]) -> ProjectConfig:
    """Return what ``params``, the content of ``path``, declares.

    Raises:
        ConfigError: a field is missing or wrong; the message names each.
    """
    try:
        return ProjectConfig.model_validate(params)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
            for item in error.errors()
        )
        raise ConfigError(
            f"{path} is wrong: {wrong}", hint="docs/project.md describes every field"
        ) from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = yaml.safe_load(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="it must be YAML in UTF-8") from error
    return content if isinstance(content, dict) else None
