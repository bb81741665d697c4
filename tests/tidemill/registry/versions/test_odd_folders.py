"""A project works in a folder of any name; its copy and it itself, moved, use their own files."""

import shutil
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from tests.tidemill.training.small_project import FEATURES, Data, day, make_project
from tidemill.project import load_project
from tidemill.registry.promotion import promote
from tidemill.registry.versions.model_cache import load_cacheable_scorer
from tidemill.registry.versions.model_versions import get_version, load_reference, open_files
from tidemill.registry.versions.new_versions import compile_version, register
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.training.train import train

pytestmark = pytest.mark.engine

NOW = datetime(2013, 5, 1, tzinfo=UTC)
NAME = "what?now a%2Fb [v2] x#y*ü"
ROWS = pd.DataFrame({"wind": [2.0, -2.0], "delay": [1.0, np.nan], "hour": [3.0, 4.0]})


def train_version(project, turn, as_of):
    run = train(
        project, Data(), as_of, turn, features=FEATURES, service="small_service", definition="77c2"
    ).run_id
    return register(project, run, turn)


def serve(project, version):
    """Promote a version, load it as a replica would, and return its answers."""
    state = open_state(project.state_url)
    promote(project, state, version, "me", "test", NOW)
    state.close()
    return load_cacheable_scorer(project, version).predict(ROWS).tolist()


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")}


def test_a_project_works_in_any_folder_and_wherever_it_is_taken(tmp_path, ray_of_the_session):
    (tmp_path / NAME).mkdir()
    project = make_project(tmp_path / NAME, trials=1)
    assert train_version(project, "turn_1", day(100)) == "1"
    answers = serve(project, "1")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]

    shutil.copytree(project.root, tmp_path / "copy")
    before = files(project.root)
    copy = load_project(tmp_path / "copy", Settings())
    assert load_cacheable_scorer(copy, "1").predict(ROWS).tolist() == answers
    with open_files(copy, "1") as folder:
        assert folder.is_relative_to(copy.root)
    shutil.rmtree(copy.home / "models")
    assert compile_version(copy, "1").status == "compiled"
    assert train_version(copy, "turn_2", day(130)) == "2"
    assert files(project.root) == before

    project.root.rename(tmp_path / "moved %41")
    moved = load_project(tmp_path / "moved %41", Settings())
    assert get_version(moved, "champion").version == "1"
    assert load_cacheable_scorer(moved, "1").predict(ROWS).tolist() == answers
    assert load_reference(moved, "1").features.height > 100
    assert train_version(moved, "turn_3", day(140)) == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "moved %41"]
