"""Which differences between two runs made the gain: real fits of single ones, judged on the same rows."""

import shutil
import sys
from datetime import UTC

import numpy as np
import polars as pl
import pytest

from tests.tidemill.training.small_project import FEATURES, day, make_project
from tidemill.data.repository.git import git
from tidemill.data.repository.uncommitted_code import find_uncommitted
from tidemill.errors import TrainingError
from tidemill.project import load_project
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.reproduction import explain as explaining
from tidemill.training.reproduction import fitted_recipes
from tidemill.training.reproduction.explain import explain
from tidemill.training.reproduction.swapped_fit import fit_and_answer
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.run_values import WholeRun
from tidemill.training.tracking.training_result import TrainedModel

pytestmark = pytest.mark.engine
CODE, TABLE = "small_model.py", "data/training_set.parquet"


def whole(project, run_id, features, leaves, as_of):
    """Return the record of a run that is made of what lies in the folder now."""
    root = project.root
    project = load_project(root, project.settings)
    changed, rows = find_uncommitted(root), read_split(project, features, as_of)
    commit = git(root, "rev-parse", "HEAD").strip()
    lineage = Lineage(commit, {TABLE: commit}, "s", "77c2", rows.split, as_of, {}, uncommitted=changed.files)
    params = {"leaves": leaves, "depth": 3}
    trained = TrainedModel(run_id, "", {}, 1, 0, "trees", params, rounds=3, features=features)
    return WholeRun(None, lineage, trained, None, changed.patch, (), None)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Runs that differ in code, data, features, parameters and seed; wind is noise in the first data."""
    root = tmp_path_factory.mktemp("explained")
    project = make_project(root, max_rows=1500)
    (root / ".gitignore").write_text(".tidemill\n__pycache__\n")

    def commit(subject):
        git(root, "add", ".")
        git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", subject)

    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").touch()
    git(root, "init", "--quiet")
    table = pl.read_parquet(root / TABLE)
    noise = np.random.default_rng(0).permutation(table["wind"].to_numpy())
    table.with_columns(wind=pl.Series(noise)).write_parquet(root / TABLE)
    commit("First")
    as_of = day(100).astimezone(UTC)
    before = whole(project, "a" * 32, FEATURES[:2], 4, as_of)
    table.write_parquet(root / TABLE)
    params = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(params.replace("train:\n", "train:\n  seed: 5\n"))
    commit("Second")
    code = (root / CODE).read_text()
    (root / CODE).write_text(code.replace("max_iter=5 * step", "max_iter=9 * step"))
    after = whole(project, "b" * 32, FEATURES, 8, as_of)
    (root / CODE).write_text(code)
    return project, {run.trained.run_id: run for run in (before, after)}


@pytest.fixture
def fits(two_runs, monkeypatch):
    """The fits that are made, in this process, where a module's name stands for one tree at a time."""
    _, runs = two_runs
    made = []

    def fit_here(tree, folder):
        sys.modules.pop("small_model", None)
        made.append((tree.parent.name, folder))
        fit_and_answer(tree, folder)

    monkeypatch.setattr(explaining, "read_whole_runs", lambda _, ids: [runs[name] for name in ids])
    monkeypatch.setattr(fitted_recipes, "_run", fit_here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield made
    sys.modules.pop("small_model", None)


def test_differences_are_named_then_measured_piece_by_piece_and_ranked(two_runs, fits, monkeypatch):
    project, _ = two_runs
    a, b = "a" * 32, "b" * 32
    names = ["parameters", "data", "features", "code", "seed"]
    planned = explain(project, a, b)
    assert ([one.factor.name for one in planned.gains], planned.needed, fits) == (names, 7, [])
    assert planned.gains[0].factor.values == ("leaves 4", "leaves 8")

    begun = explain(project, a, b, refits=3)
    assert (begun.fits, begun.kept, begun.stopped, len(fits)) == (3, 0, "budget", 3)
    assert begun.interaction is None
    assert [one.factor.name for one in begun.gains if one.gain is not None] == ["parameters"]
    named = explain(project, a, b)
    assert (named.gains, named.total, named.fits, named.kept) == (begun.gains, begun.total, 0, 3)
    assert (named.stopped, len(fits)) == (None, 3)

    interrupted = fitted_recipes._run

    def stop_at_the_second(tree, folder):
        if len(fits) == 4:
            raise KeyboardInterrupt
        interrupted(tree, folder)

    with monkeypatch.context() as patched:
        patched.setattr(fitted_recipes, "_run", stop_at_the_second)
        stopped = explain(project, a, b, refits=None)
    assert (stopped.fits, stopped.kept, stopped.stopped) == (1, 3, "interrupted")

    done = explain(project, a, b, refits=None)
    assert (done.fits, done.kept, done.stopped, len(fits)) == (3, 4, None, 7)
    assert done.gains[0].factor.name == "data"
    assert done.gains[0].interval.low > 0.05
    assert done.total_interval.low > 0.05
    assert done.total == pytest.approx(done.values[1] - done.values[0])
    assert done.interaction == pytest.approx(done.total - sum(one.gain for one in done.gains))
    assert done.rows > 100
    assert len(git(project.root, "worktree", "list").splitlines()) == 1


def test_what_cannot_be_fitted_is_named_and_the_rest_is_measured(two_runs, fits, monkeypatch):
    project, _ = two_runs
    whole_fit = fitted_recipes._run

    def fail_with_other_code(tree, folder):
        whole_fit(tree, folder)
        if tree.parent.name == "b" and [place for place, _ in fits].count("b") == 2:
            raise TrainingError("it cannot be fitted: the moon is in the wrong house")

    monkeypatch.setattr(fitted_recipes, "_run", fail_with_other_code)
    found = explain(project, "b" * 32, "a" * 32, refits=6)
    assert [(one.factor.name, one.problem) for one in found.gains if one.gain is None] == [
        ("code", "it cannot be fitted: the moon is in the wrong house"),
        ("seed", None),
    ]
    assert (found.interaction, found.stopped) == (None, "budget")
    assert found.total > 0.05  # where wind is noise, what learnt from such rows is better

    def fail(tree, folder):
        raise TrainingError("it cannot be fitted: no module parcels")

    monkeypatch.setattr(fitted_recipes, "_run", fail)
    shutil.rmtree(project.home / "explained")
    with pytest.raises(TrainingError, match="run aaaaaaaa: it cannot be fitted: no module"):
        explain(project, "a" * 32, "b" * 32, refits=1)
