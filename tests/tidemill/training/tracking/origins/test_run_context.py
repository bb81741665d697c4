"""Plain MLflow runs inside a project: real MLflow finds the provider by the entry point that we declare."""

import shutil
import tomllib
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking.context import registry

from tests.tidemill.training.small_project import make_project
from tidemill.data.repository.git import git
from tidemill.data.repository.untracked_patches import UNTRACKED_LIMIT
from tidemill.training.tracking.origins import captured_code
from tidemill.training.tracking.origins.captured_code import capture_code
from tidemill.training.tracking.origins.origin_files import read_origin_of

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[5]
SECRET = 'PASSWORD = "correct horse"\n'.replace(" horse", "-horse")


@pytest.fixture
def declared(tmp_path_factory, monkeypatch):
    """MLflow with the providers of its own and the one that ``pyproject.toml`` declares."""
    group = "mlflow.run_context_provider"
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][group]
    folder = tmp_path_factory.mktemp("installed")
    about = folder / "declared-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1\n")
    lines = [f"{name} = {place}" for name, place in entries.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(folder))
    found = registry.RunContextProviderRegistry()
    found.register_entrypoints()
    monkeypatch.setattr(registry, "_run_context_provider_registry", found)


@pytest.fixture
def project(tmp_path, empty_mlflow, declared, monkeypatch):
    """A committed project with data in DVC, and plain MLflow in its folder."""
    made = make_project(tmp_path)
    made.home.mkdir()
    shutil.copy(empty_mlflow, made.home / "mlflow.db")
    for name, text in {
        "train.py": "SPEED = 1\n",
        "requirements.lock": "numpy==2.0\n",
        "features.yaml": "features: {wind: {type: float}}\n",
        "data/rows.csv.dvc": "outs:\n- md5: 9a0e\n  path: rows.csv\n",
        ".gitignore": ".tidemill\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "First")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made.home / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by-hand")
    yield made
    mlflow.end_run()


def tags_of_new_run():
    with mlflow.start_run() as run:
        pass
    every = mlflow.MlflowClient().get_run(run.info.run_id).data.tags
    prefix = "tidemill_origin."
    return {key.removeprefix(prefix): value for key, value in every.items() if key.startswith(prefix)}


def test_a_run_is_tagged_with_what_it_is_made_from(project):
    root, commit = project.root, git(project.root, "rev-parse", "HEAD").strip()
    clean = tags_of_new_run()
    assert clean["commit"] == commit
    assert "uncommitted" not in clean
    assert "problem" not in clean
    (root / "train.py").write_text("SPEED = 2\n")
    (root / "new one.py").write_text("NEW = 1")
    (root / "keys.py").write_text(SECRET)
    (root / ".env").write_text("TOKEN=1\n")
    (root / "large.py").write_text("#" * (UNTRACKED_LIMIT + 1))
    (root / "data/rows.csv.dvc").write_text("outs:\n- md5: 77c2\n  path: rows.csv\n")
    dirty = tags_of_new_run()
    assert dirty["uncommitted"].startswith("5: data/rows.csv.dvc, keys.py, large.py, new one.py, train.py")
    drawn = "seeds"  # MLflow itself draws the names of runs
    assert [name for name in clean if clean[name] != dirty[name] and name != drawn] == ["data", "record"]
    origin, patch, trouble = read_origin_of(project.home, dirty["record"])
    assert trouble is None
    assert origin["data"] == {"data/rows.csv": "77c2"}
    assert origin["packages"]["mlflow"] == mlflow.__version__
    assert origin["left_out"] == {
        "keys.py": "it holds what looks like a secret",
        "large.py": f"it is larger than {UNTRACKED_LIMIT:,} bytes",
    }
    assert b"correct-horse" not in patch
    again = root / ".tidemill" / "again"
    git(root, "worktree", "add", "--quiet", "--detach", str(again), commit)
    (again / "p").write_bytes(patch)
    git(again, "apply", "p")
    for name in ("train.py", "new one.py", "data/rows.csv.dvc"):
        assert (again / name).read_text() == (root / name).read_text(), name
    (project.home / "origins" / f"{dirty['record']}.json").write_text("{}")
    assert "was changed" in str(read_origin_of(project.home, dirty["record"])[2])


def test_seeds_are_on_record_until_numbers_were_drawn(project):
    np.random.seed(42)
    assert "numpy 42" in tags_of_new_run()["seeds"]
    np.random.rand()
    assert "numpy state " in tags_of_new_run()["seeds"]


def test_trouble_is_a_tag_and_never_fails_a_run(project, monkeypatch):
    (project.root / "data/rows.csv.dvc").write_text("outs: [")
    assert "versions cannot be read" in tags_of_new_run()["problem"]
    shutil.rmtree(project.root / ".git")
    (project.home / "origins").rename(project.home / "other")
    (project.home / "origins").write_text("no folder")
    tags = tags_of_new_run()
    assert "is not the root of a git repository" in tags["problem"]
    assert "record" not in tags
    assert tags["lock"]
    (project.root / "params.yaml").write_text("project: [")
    assert tags_of_new_run() == {}


def test_git_that_hangs_is_given_up(project, monkeypatch):
    monkeypatch.setattr(captured_code, "_SECONDS", 1e-9)
    assert "longer than" in str(capture_code(project.root).problem)


def test_outside_a_project_nothing_is_done(project, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert tags_of_new_run() == {}
    Path("params.yaml").write_text("train: {depth: 3}\n")  # of DVC alone
    assert tags_of_new_run() == {}
