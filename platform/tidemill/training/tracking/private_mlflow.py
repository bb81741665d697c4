"""Undocumented names of MLflow that Tidemill uses, each with the reason."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = [
    "NAMES",
    "address_columns",
    "artifact_repository",
    "import_gateway_late",
    "knows_schema",
    "local_path",
    "migrate",
    "newest_schema",
    "requirements_as_given",
    "server_application",
    "silence_telemetry",
]

_MOVED = "MLflow records absolute addresses, and has no way to change them when a project was moved or copied"
_SERVER = "MLflow's command keeps a second process, as large as the one that serves, which only waits for it"
_SCHEMA = "MLflow's command for migrations takes no lock, and its clients make tables without asking"
_GATEWAY = "MLflow imports its gateway's package everywhere, and that FastAPI, which only servers need"
_OF_GATEWAY = {"get_gateway_uri": "utils", "set_gateway_uri": "utils"}
"""What the package ``mlflow.gateway`` has, and the module of it that defines it."""
_SCHEMA_FUNCTIONS = (
    "_get_alembic_config",
    "_get_latest_schema_revision",
    "_initialize_tables",
    "_upgrade_db",
    "create_sqlalchemy_engine_with_retry",
)
_SERVER_VARIABLES = (
    "BACKEND_STORE_URI",
    "REGISTRY_STORE_URI",
    "ARTIFACT_ROOT",
    "ARTIFACTS_DESTINATION",
    "SERVE_ARTIFACTS",
)

NAMES = (
    ("mlflow.store.tracking.dbmodels.models.SqlExperiment.artifact_location", _MOVED),
    ("mlflow.store.tracking.dbmodels.models.SqlRun.artifact_uri", _MOVED),
    ("mlflow.store.tracking.dbmodels.models.SqlLoggedModel.artifact_location", _MOVED),
    ("mlflow.store.model_registry.dbmodels.models.SqlModelVersion.source", _MOVED),
    ("mlflow.store.model_registry.dbmodels.models.SqlModelVersion.storage_location", _MOVED),
    ("mlflow.utils.file_utils.local_file_uri_to_path", "it says which file MLflow reads for an address"),
    (
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        "the client's own methods find the files of a run by its id alone, and take those of a project for "
        "those of its copy; and none of them writes beside a model that exists",
    ),
    *((f"mlflow.store.db.utils.{name}", _SCHEMA) for name in _SCHEMA_FUNCTIONS),
    ("mlflow.server.fastapi_app.app", _SERVER),
    ("mlflow.server.handlers.initialize_backend_stores", _SERVER),
    *((f"mlflow.server.constants.{name}_ENV_VAR", _SERVER) for name in _SERVER_VARIABLES),
    *((f"mlflow.gateway.{module}.{name}", _GATEWAY) for name, module in _OF_GATEWAY.items()),
    (
        "mlflow.telemetry.set_telemetry_client",
        "the environment variable that switches usage statistics off is read when MLflow is imported, which "
        "somebody else may have done before",
    ),
    (
        "mlflow.utils.requirements_utils._MODULES_TO_PACKAGES",
        "saving a model compares its requirements with what is installed, and for that MLflow reads files of "
        "every installed package, which takes seconds; ours are written from what is installed",
    ),
)
"""Dotted paths, and why each is used."""


class _LateGateway(MetaPathFinder, Loader):
    """Imports ``mlflow.gateway`` without its modules: each is imported when it is asked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "mlflow.gateway":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Have it look for what is asked of it when that is asked."""

        def get(name: str) -> Any:
            if name in _OF_GATEWAY.values():
                return import_module(f"{module.__name__}.{name}")
            if name not in _OF_GATEWAY:  # skops and pickle ask all modules for the names of others
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return getattr(import_module(f"{module.__name__}.{_OF_GATEWAY[name]}"), name)

        vars(module).update(__getattr__=get, __all__=[*_OF_GATEWAY])


def import_gateway_late() -> None:
    """Spare processes that import MLflow from now on FastAPI, unless they use MLflow's gateway."""
    late = any(isinstance(finder, _LateGateway) for finder in sys.meta_path)
    if not late and "mlflow" not in sys.modules:
        sys.meta_path.insert(0, _LateGateway())


def artifact_repository(address: str, tracking_uri: str) -> Any:
    """Return MLflow's access to the files at ``address``, an URI as MLflow recorded it."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(address, tracking_uri=tracking_uri)


def server_application(tracking_uri: str, artifacts: str) -> Any:
    """Return the ASGI application of MLflow's server, as ``mlflow server`` sets it up for its workers."""
    from mlflow.server import constants, handlers

    values = (tracking_uri, tracking_uri, artifacts, artifacts, "true")
    for name, value in zip(_SERVER_VARIABLES, values, strict=True):
        os.environ[getattr(constants, f"{name}_ENV_VAR")] = value
    handlers.initialize_backend_stores(tracking_uri, tracking_uri, artifacts)
    from mlflow.server.fastapi_app import app

    return app


@contextmanager
def requirements_as_given() -> Iterator[None]:
    """Save models meanwhile without a search through all installed packages for those that they require."""
    from mlflow.utils import requirements_utils

    known = requirements_utils._MODULES_TO_PACKAGES
    requirements_utils._MODULES_TO_PACKAGES = {} if known is None else known
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = known


def silence_telemetry() -> None:
    """Switch MLflow's usage statistics off in this process; ``MLFLOW_DISABLE_TELEMETRY`` must be set."""
    from mlflow.telemetry import set_telemetry_client

    set_telemetry_client()


def address_columns() -> tuple[Any, ...]:
    """Return the columns of MLflow's database that hold addresses of files; first that of experiments."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
    from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlLoggedModel, SqlRun

    return (
        SqlExperiment.artifact_location,
        SqlRun.artifact_uri,
        SqlLoggedModel.artifact_location,
        SqlModelVersion.source,
        SqlModelVersion.storage_location,
    )


def local_path(address: str) -> Path:
    """Return the path that MLflow reads for a ``file:`` address."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(address))


def newest_schema() -> str:
    """Return the revision of the schema that the installed MLflow needs."""
    from mlflow.store.db import utils

    return str(utils._get_latest_schema_revision())


def knows_schema(revision: str) -> bool:
    """Return whether the installed MLflow can bring a database from this revision to its own."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    return any(script.revision == revision for script in scripts.walk_revisions())


def migrate(url: str, *, empty: bool) -> None:
    """Make MLflow's tables in an empty database, or bring them to its present schema."""
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine_with_retry(url)
    try:
        (utils._initialize_tables if empty else utils._upgrade_db)(engine)
    finally:
        engine.dispose()
