"""Finds a project by its ``params.yaml`` and gives access to what it declares."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.errors import ConfigError, ProjectNotFound
from tidemill.files.declaration_files import Declaration, read_declaration
from tidemill.files.sqlite_urls import sqlite_url
from tidemill.project.folder_names import check_folder_name, shown_name
from tidemill.project.own_code import load_object
from tidemill.settings import Settings

if TYPE_CHECKING:
    from tidemill.project.project_config import ProjectConfig
    from tidemill.tasks.task import Task
    from tidemill.tasks.task_choice import Target

__all__ = ["Project", "ProjectFolder", "check_params", "find_project", "load_project", "open_folder"]

MODEL_NAME = r"[A-Za-z0-9][\w-]*"


@dataclass(frozen=True)
class ProjectFolder:
    """A project on disk with only the name of its model checked, which is enough to show its records."""

    root: Path
    settings: Settings
    params: dict[str, Any] = field(repr=False)
    """All of ``params.yaml``, including the project's own sections."""

    @property
    def model(self) -> str:
        """Name of the registered model."""
        return str(self.params["project"]["model"])

    @property
    def has_store(self) -> bool:
        """Whether there is a feature store; without one, features come in the request."""
        features = self.params.get("features")
        return not isinstance(features, dict) or features.get("from") != "request"

    def require_store(self) -> None:
        """Check that the project has a feature store.

        Raises:
            ConfigError: it has none: its features come in the request.
        """
        if not self.has_store:
            raise ConfigError(
                "this project has no feature store: its features come in the request "
                f"({self.root / 'params.yaml'}, features.from)",
                hint="features.yaml lists the features; docs/project.md says how to add a feature store",
            )

    @property
    def home(self) -> Path:
        """Folder of everything that Tidemill writes except the data: records, runs, logs, reports."""
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
    def tracking_database(self) -> str:
        """Address of the database behind MLflow, which `tracking_uri` may reach by a server."""
        return self.settings.tracking_database or self.tracking_uri

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


@dataclass(frozen=True)
class Project(ProjectFolder):
    """A project on disk: its folder, its declarations, and the addresses that it uses."""

    config: "ProjectConfig"

    @property
    def model(self) -> str:
        """Name of the registered model."""
        return self.config.project.model

    @property
    def dataset_path(self) -> Path:
        """The training set that the last DVC stage writes."""
        return self.root / self.config.dataset.path

    @property
    def feature_service(self) -> str:
        """Name of the Feast service that training and serving share.

        Raises:
            ConfigError: features come in the request: there is no feature store.
        """
        self.require_store()
        return str(self.config.features.service)

    @property
    def target(self) -> "Target":
        """What is predicted, as plain values."""
        from tidemill.tasks.target_labels import class_text
        from tidemill.tasks.task_choice import Target

        config = self.config
        positive = config.dataset.positive
        return Target(
            kind=config.project.task,
            metric=config.train.metric,
            classes=tuple(class_text(name) for name in config.dataset.classes),
            positive=None if positive is None else class_text(positive),
            costs=config.train.costs,
        )

    @property
    def task(self) -> "Task":
        """What is predicted, and how it is judged.

        Raises:
            ConfigError: the declarations contradict each other, or the project's own metric does not exist.
        """
        from tidemill.tasks.task_choice import make_task

        return make_task(self.target, self.load)

    def load(self, reference: str) -> Any:
        """Import ``module:object`` from the project's own code.

        Raises:
            ConfigError: the module or object does not exist, or its import fails.
        """
        return load_object(self.root, reference)

    def load_application(self) -> Any:
        """Return the project's `tidemill.Application`; made from ``features.yaml`` where none is named.

        Raises:
            ConfigError: it cannot be imported, or ``features.yaml`` is missing or wrong.
        """
        named, source = self.config.project.application, self.config.features.source
        own = None if named is None else self.load(named)
        if source == "store" or (source == "request" and own is not None):
            return own
        return self.load("tidemill.serving.inference.request_application:make_application")(self, own)


def find_project(start: Path) -> Path:
    """Return the nearest folder, from ``start`` upwards, whose ``params.yaml`` has a ``project`` section.

    Raises:
        ProjectNotFound: no such folder exists.
    """
    return _find(start)[0]


def open_folder(start: Path | None = None) -> ProjectFolder:
    """Find the project at ``start`` (default: the current folder) or above it; check only its model's name.

    Commands that only show records use this, because importing pydantic, which checks the rest, takes longer
    than the whole command.

    Raises:
        ProjectNotFound: no folder there has a project's ``params.yaml``.
        ConfigError: its ``params.yaml`` does not name the model.
    """
    root, file = _find(start or Path.cwd())
    section = file.content["project"]
    model = section.get("model") if isinstance(section, dict) else None
    if not isinstance(model, str) or re.fullmatch(MODEL_NAME, model) is None:
        check_params(file)  # raises the full message
    return ProjectFolder(root, Settings(), file.content)


def load_project(start: Path | None = None, settings: Settings | None = None) -> Project:
    """Load the project at ``start`` (default: the current folder) or above it.

    Raises:
        ProjectNotFound: no folder there has a project's ``params.yaml``.
        ConfigError: its ``params.yaml`` is wrong; the message names each field.
    """
    root, file = _find(start or Path.cwd())
    return Project(root, settings or Settings(), file.content, check_params(file))


def check_params(file: Declaration) -> "ProjectConfig":
    """Return what a ``params.yaml`` declares.

    Raises:
        ConfigError: a field is missing or wrong; the message names each, and its line.
    """
    from tidemill.project.project_config import ProjectConfig

    return file.as_model(ProjectConfig, "docs/project.md describes every field")


def _find(start: Path) -> tuple[Path, Declaration]:
    if not start.exists():
        raise ProjectNotFound(
            f"there is no folder {shown_name(start)}", hint="name a project's folder with --project DIR"
        )
    other = ""
    for folder in (start.resolve(), *start.resolve().parents):
        file = read_declaration(folder / "params.yaml")
        if file is not None and isinstance(file.content, dict) and "project" in file.content:
            check_folder_name(folder)
            return folder, file
        if file is not None and not other:
            other = f" ({file.path} {_instead(file.content)})"
    raise ProjectNotFound(
        f"{shown_name(start)} is not a Tidemill project: neither here nor above is there a params.yaml with "
        f"a project section{other}",
        hint="go to a project's folder, name one with --project DIR, or make one with `tidemill init DIR`",
    )


def _instead(content: Any) -> str:
    """Say what a ``params.yaml`` has instead of the section."""
    match content:
        case None:
            return "is empty"
        case dict():
            return "has none"
        case _:
            return "is not a mapping of sections"
