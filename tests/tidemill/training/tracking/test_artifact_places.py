"""A project's runs and models lie in its own folder, whatever that is called and wherever it is taken."""

import shutil
import sqlite3
from contextlib import closing

import pytest
import yaml

from tests.tidemill.training.small_project import make_project
from tidemill.project import load_project
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.run_files import read_file, write_file

pytestmark = pytest.mark.engine

NAMES = (
    "a%2Fb",
    "my%20project",
    "what?now",
    "x#y",
    "model [v2]",
    "a*b",
    "ünï çödé",
    "with space",
    "100%",
    "a@b:c",
    "q\"uote's",
    "back\\slash",
    "a&b=c;d+e",
)


def start(folder, empty_mlflow):
    folder.mkdir()
    project = make_project(folder)
    project.home.mkdir()
    shutil.copy(empty_mlflow, project.home / "mlflow.db")
    return project


def record(project, text):
    """Write a run with a file, and a logged model with a file; return both addresses."""
    client = connect(project)
    experiment = experiment_id(client, project)
    run = client.create_run(experiment).info.run_id
    write_file(client, run, "notes/a.txt", text.encode())
    model = client.create_logged_model(experiment, name="m", source_run_id=run)
    (project.root / "made").mkdir(exist_ok=True)
    (project.root / "made" / "MLmodel").write_text(text)
    client.log_model_artifacts(model.model_id, str(project.root / "made"))
    return run, model.model_id


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_records_of_an_oddly_named_project_lie_in_it(tmp_path, empty_mlflow, name):
    project = start(tmp_path / name, empty_mlflow)
    run, model = record(project, "one")
    with open_state(project.state_url).transaction():
        pass

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert read_file(connect(project), run, "notes/a.txt") == b"one"
    home = project.root / ".tidemill"
    assert (home / "artifacts" / run / "artifacts" / "notes" / "a.txt").read_text() == "one"
    assert (home / "artifacts" / "models" / model / "artifacts" / "MLmodel").read_text() == "one"
    assert {"mlflow.db", "state.db"} <= {path.name for path in home.iterdir()}


def test_a_folder_with_both_kinds_of_quotes_in_its_name(tmp_path, empty_mlflow, monkeypatch):
    """MLflow writes its working folder into SQL as Python shows a text."""
    project = start(tmp_path / 'it\'s "new"', empty_mlflow)
    with closing(sqlite3.connect(project.home / "mlflow.db")) as database:
        database.execute("DELETE FROM experiments")
        database.commit()
    monkeypatch.chdir(project.root)
    run, _ = record(project, "one")
    assert (project.home / "artifacts" / run / "artifacts" / "notes" / "a.txt").read_text() == "one"


def test_names_that_unquote_alike_are_two_projects(tmp_path, empty_mlflow):
    one, other = (start(tmp_path / name, empty_mlflow) for name in ("a b", "a%20b"))
    run, _ = record(one, "one")
    assert connect(one).get_run(run)
    client = connect(other)
    assert not client.search_runs([experiment_id(client, other)])


def test_a_project_that_was_moved_uses_the_new_place(tmp_path, empty_mlflow):
    run, model = record(start(tmp_path / "old [1]", empty_mlflow), "one")
    (tmp_path / "old [1]").rename(tmp_path / "new?2")
    project = load_project(tmp_path / "new?2", Settings())
    client = connect(project)

    assert read_file(client, run, "notes/a.txt") == b"one"
    assert client.get_logged_model(model).artifact_location.startswith(project.home.as_uri())
    record(project, "two")
    assert [path.name for path in tmp_path.iterdir()] == ["new?2"]


def test_a_copy_reads_and_writes_its_own(tmp_path, empty_mlflow):
    original = start(tmp_path / "original", empty_mlflow)
    run, _ = record(original, "one")
    shutil.copytree(original.root, tmp_path / "copy")
    before = files(original.root)
    copy = load_project(tmp_path / "copy", Settings())
    write_file(connect(copy), run, "notes/a.txt", b"changed in the copy")
    mine, model = record(copy, "two")

    assert read_file(connect(original), run, "notes/a.txt") == b"one"
    assert read_file(connect(copy), run, "notes/a.txt") == b"changed in the copy"
    assert files(original.root) == before
    assert (copy.home / "artifacts" / mine / "artifacts" / "notes" / "a.txt").exists()
    assert (copy.home / "artifacts" / "models" / model / "artifacts" / "MLmodel").exists()
    for project in (original, copy):
        default = connect(project).get_experiment("0")
        assert default.artifact_location == (project.home / "artifacts").as_uri()


def test_a_project_seen_by_another_name_stays_as_it_is(tmp_path, empty_mlflow):
    original = start(tmp_path / "original", empty_mlflow)
    run, _ = record(original, "one")
    (tmp_path / "link").symlink_to(original.root)
    linked = load_project(tmp_path / "link", Settings())
    assert connect(linked).get_run(run).info.artifact_uri.startswith(original.home.as_uri())


def test_a_shared_store_is_changed_only_for_a_project_that_was_moved(tmp_path, empty_mlflow):
    shutil.copy(empty_mlflow, tmp_path / "shared.db")
    settings = Settings(tracking_uri=f"sqlite:///{tmp_path / 'shared.db'}")
    projects = {}
    for name in ("one", "two"):
        folder = start(tmp_path / name, empty_mlflow).root
        params = yaml.safe_load((folder / "params.yaml").read_text())
        params["project"]["name"] = name
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        projects[name] = load_project(folder, settings)
    runs = {name: record(project, name)[0] for name, project in projects.items()}
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    (tmp_path / "two").rename(tmp_path / "moved")

    client = connect(load_project(tmp_path / "copy", settings))
    assert client.get_run(runs["one"]).info.artifact_uri.startswith((tmp_path / "one").as_uri())
    client = connect(load_project(tmp_path / "moved", settings))
    assert read_file(client, runs["two"], "notes/a.txt") == b"two"
    assert client.get_run(runs["two"]).info.artifact_uri.startswith((tmp_path / "moved").as_uri())
    assert client.get_run(runs["one"]).info.artifact_uri.startswith((tmp_path / "one").as_uri())
