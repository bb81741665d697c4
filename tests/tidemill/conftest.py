"""A small project; its registry and feature store take seconds to make, so tests get copies of a template."""

import shutil

import pytest

from tests.made_once import made_once
from tests.tidemill.serving.small_project import add_version, crown, make_project
from tidemill.project import load_project


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    return made_once(tmp_path_factory, "parcels", lambda folder: make_project(folder / "project").root)


@pytest.fixture(scope="session")
def served_template(tmp_path_factory, template):
    def make(folder):
        root = shutil.copytree(template, folder / "project")
        project = load_project(root)
        add_version(project, 0.2)
        add_version(project, 0.8)
        crown(project, "1")
        return root

    return made_once(tmp_path_factory, "served-parcels", make)


@pytest.fixture
def parcels(tmp_path, template):
    """The project, without any model."""
    return load_project(shutil.copytree(template, tmp_path / "project"))


@pytest.fixture
def served_parcels(tmp_path, served_template):
    """The project with versions 1 (answers 0.2) and 2 (answers 0.8); 1 is champion."""
    return load_project(shutil.copytree(served_template, tmp_path / "project"))


@pytest.fixture
def few_pieces(monkeypatch):
    """Of tables that projects are made of, compare three pieces, or six periods: a quarter of the work."""
    monkeypatch.setattr("tidemill.quickstart.calibration._BLOCKS", 3)
