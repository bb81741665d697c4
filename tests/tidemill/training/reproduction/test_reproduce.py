"""A model is fitted once more from the code, the patch and the data on record, in a process of its own."""

import shutil
from dataclasses import replace
from datetime import UTC

import pytest

from tests.tidemill.training.small_project import FEATURES, day, make_project
from tidemill.data.repository.git import git
from tidemill.data.repository.uncommitted_code import find_uncommitted
from tidemill.errors import TrainingError
from tidemill.project import load_project
from tidemill.training.fitting.final_fit import finish
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.reproduction import reproduce as reproduction
from tidemill.training.reproduction.refitting import refit
from tidemill.training.reproduction.reproduce import reproduce
from tidemill.training.search.trial_records import TrialRecord
from tidemill.training.search.tuning import SearchResult
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.run_files import write_file
from tidemill.training.tracking.run_lineage import PATCH, Lineage, installed
from tidemill.training.tracking.training_record import log_lineage

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def trained(tmp_path_factory, empty_mlflow):
    """A project with a model of code that was not committed, fitted as a search's last step does."""
    root = tmp_path_factory.mktemp("reproduced")
    project = make_project(root)
    project.home.mkdir()
    shutil.copy(empty_mlflow, project.home / "mlflow.db")
    (root / ".gitignore").write_text(".tidemill\n__pycache__\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").touch()
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "First")
    [code] = [file for file in root.glob("*.py") if "max_iter=5 * step" in file.read_text()]
    committed = code.read_text()
    code.write_text(committed.replace("max_iter=5 * step", "max_iter=7 * step"))
    project, as_of = load_project(root, project.settings), day(100).astimezone(UTC)
    client, rows, changed = connect(project), read_split(project, FEATURES, as_of), find_uncommitted(root)
    run = client.create_run(experiment_id(client, project)).info.run_id
    commit = git(root, "rev-parse", "HEAD").strip()
    lineage = Lineage(commit, {}, "s", "77c2", rows.split, as_of, installed(), uncommitted=changed.files)
    log_lineage(client, run, lineage)
    write_file(client, run, PATCH, changed.patch)
    best = TrialRecord(0, "trees", {"leaves": 6, "depth": 3}, 3, run)
    finish(project, client, load_spec(project), rows, run, SearchResult(best, 0.7, 2, 1, 0))
    code.write_text(committed)
    return project, run


def test_a_model_of_code_that_was_never_committed_is_the_same_bit_by_bit(trained):
    project, run = trained
    before = git(project.root, "status", "--porcelain")
    found = reproduce(project, run)
    assert (found.verdict, found.largest, found.metrics) == ("bit-equal", 0.0, {})
    assert found.rows > 100
    assert (found.environment, found.because) == ([], [])
    assert git(project.root, "status", "--porcelain") == before
    assert len(git(project.root, "worktree", "list").splitlines()) == 1


def test_what_differs_is_named(trained, monkeypatch):
    """Without its patch the committed code is fitted, in an environment that is said to differ."""
    project, run = trained
    whole = reproduction.read_whole_runs

    def otherwise(*given):
        [found] = whole(*given)
        lineage = replace(
            found.lineage,
            uncommitted=(),
            beside={"map.csv": "it is a table"},
            packages={**found.lineage.packages, "numpy": "0.1"},
        )
        return [replace(found, lineage=lineage, patch=b"")]

    def fit_here(tree, trained, lineage, folder, interpreter):
        refit(tree, trained, lineage.as_of, folder)

    monkeypatch.setattr(reproduction, "read_whole_runs", otherwise)
    monkeypatch.setattr(reproduction, "_refit", fit_here)
    found = reproduce(project, run)
    assert found.verdict == "differs"
    assert found.largest > 1e-4
    assert found.metrics["holdout_roc_auc"][0] != found.metrics["holdout_roc_auc"][1]
    assert [one.partition(",")[0] for one in found.because] == ["map.csv", "numpy 0.1"]
    assert found.because[0] == "map.csv, which no commit held, was not kept: it is a table"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"uncommitted": None}, "whether its code was committed"),
        ({"parent": {"version": "2", "run_id": "x"}}, "went on from version 2"),
        ({"imported": {"from": "x"}}, "no finished training"),
    ],
)
def test_a_record_that_is_not_enough_is_refused(trained, monkeypatch, change, said):
    project, run = trained
    [found] = reproduction.read_whole_runs(project, [run])
    wrong = replace(found, lineage=replace(found.lineage, **change))
    monkeypatch.setattr(reproduction, "read_whole_runs", lambda *_: [wrong])
    with pytest.raises(TrainingError, match=said):
        reproduce(project, run)
    monkeypatch.setattr(reproduction, "read_whole_runs", lambda *_: [replace(found, patch=b"")])
    with pytest.raises(TrainingError, match="is gone"):
        reproduce(project, run)
