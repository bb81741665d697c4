"""MLflow's tables are made only once, which takes seconds."""

import shutil

import pytest

from tests.tidemill.training.small_project import make_project


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    from tidemill.training.tracking.mlflow_tracking import connect

    project = make_project(tmp_path_factory.mktemp("empty"))
    connect(project)
    return project.home / "mlflow.db"


@pytest.fixture(scope="module")
def module_project(tmp_path_factory, empty_mlflow):
    project = make_project(tmp_path_factory.mktemp("module"), spec="rough", trials=5)
    project.home.mkdir()
    shutil.copy(empty_mlflow, project.home / "mlflow.db")
    return project


@pytest.fixture
def new_project(tmp_path, empty_mlflow):
    def make(**choices):
        project = make_project(tmp_path, **choices)
        project.home.mkdir()
        shutil.copy(empty_mlflow, project.home / "mlflow.db")
        return project

    return make
