"""An MLflow store for tests of pages: its tables take seconds to make, so each test gets a copy."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from mlflow import MlflowClient

from tidemill.project import Project
from tidemill.training.tracking.mlflow_tracking import connect


def open_store(project: Project) -> MlflowClient:
    """Put an empty store into a project; return a client of it."""
    database = project.home / "mlflow.db"
    database.parent.mkdir(exist_ok=True)
    shutil.copyfile(_template(), database)
    return connect(project)


@cache
def _template() -> Path:
    database = Path(mkdtemp()) / "mlflow.db"
    MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}").search_experiments(max_results=1)
    return database
