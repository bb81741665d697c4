"""Three trained versions of a small model, made once; every test works on a copy of their records.

The second was fitted once more on all rows, after its twin had been judged.
"""

import shutil
from dataclasses import dataclass, replace

import pytest

from tests.made_once import made_once
from tests.tidemill.training.small_project import FEATURES, Data, day, make_project
from tidemill.project import load_project
from tidemill.settings import Settings
from tidemill.state import open_state


@dataclass(frozen=True)
class Trained:
    """A run of the template, as the fixture made it: (family, day of the training)."""

    family: str
    as_of: int
    refit: bool = False


RUNS = (Trained("line", 70), Trained("trees", 100, refit=True), Trained("constant", 130))


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A project whose store has a finished run of each of `RUNS`, made without a search."""
    return made_once(tmp_path_factory, "trained", _train)


def _train(folder):
    from tidemill.training.fitting.final_fit import finish
    from tidemill.training.fitting.split_rows import read_split
    from tidemill.training.search.proposals import candidates
    from tidemill.training.search.trial_records import TrialRecord
    from tidemill.training.search.tuning import SearchResult
    from tidemill.training.spec_loading import load_spec
    from tidemill.training.tracking import mlflow_tracking
    from tidemill.training.tracking.run_lineage import Lineage, installed
    from tidemill.training.tracking.training_record import log_lineage

    project = make_project(folder)
    spec, client = load_spec(project), mlflow_tracking.connect(project)
    experiment = mlflow_tracking.experiment_id(client, project)
    params = {one["family"]: one["params"] for one in candidates(spec, 3, seed=0)}
    made = []
    for one in RUNS:
        train = project.config.train.model_copy(update={"refit": one.refit})
        settings = replace(project, config=project.config.model_copy(update={"train": train}))
        rows = read_split(settings, FEATURES, day(one.as_of))
        lineage = Lineage(
            Data().revision, Data().outputs, "small_service", "77c2", rows.split, day(one.as_of), installed()
        )
        rounds = spec.family(one.family).rounds
        found = SearchResult(
            TrialRecord(0, one.family, params[one.family], rounds, "none"), 0.8, rounds, trials=1, failed=0
        )
        with mlflow_tracking.parent_run(client, experiment, one.family, {}) as run_id:
            log_lineage(client, run_id, lineage)
            made.append(finish(project, client, spec, rows, run_id, found))
    return project.root, made


@pytest.fixture
def project(template, tmp_path):
    shutil.copytree(template[0], tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock"))
    return load_project(tmp_path, Settings())


@pytest.fixture
def runs(template):
    return [model.run_id for model in template[1]]


@pytest.fixture
def state(project):
    opened = open_state(project.state_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def registered_template(template, tmp_path_factory):
    """The template with all its runs registered, and compiled."""
    from tidemill.registry.versions.new_versions import register

    def make(root):
        shutil.copytree(template[0], root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock"))
        project = load_project(root, Settings())
        assert [register(project, model.run_id) for model in template[1]] == ["1", "2", "3"]
        return root

    return made_once(tmp_path_factory, "registered", make)


@pytest.fixture
def registered(project, registered_template):
    """The project with all three registered: 1 is good, 2 better, 3 a constant."""
    for file in project.home.glob("mlflow.db*"):
        file.unlink()
    home, ignored = registered_template / ".tidemill", shutil.ignore_patterns("*.lock")
    shutil.copytree(home, project.home, dirs_exist_ok=True, ignore=ignored)
    return project
