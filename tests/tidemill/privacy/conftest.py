"""A project takes seconds to make, so tests get copies of one."""

import shutil

import pytest

from tests.made_once import made_once
from tests.tidemill.privacy.small_project import make_project, serve_and_train
from tidemill.project import load_project
from tidemill.settings import Settings


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    def make(folder):
        project = make_project(folder / "project")
        serve_and_train(project)
        return folder

    return made_once(tmp_path_factory, "riders", make)


@pytest.fixture
def riders(tmp_path, template):
    """The project, with three riders everywhere."""
    root = shutil.copytree(template, tmp_path / "copy", symlinks=True) / "project"
    return load_project(root, Settings(privacy_key=None))
