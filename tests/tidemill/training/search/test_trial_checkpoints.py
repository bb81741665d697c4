"""A trial that is cut off goes on from its last whole checkpoint: without Ray."""

import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from tidemill.tasks.task_choice import Target
from tidemill.training.feature_table import FeatureTable
from tidemill.training.model_spec import Family, TrainingSpec
from tidemill.training.search import trial
from tidemill.training.search.trial import AGAIN, CPU_SECONDS, TrialData, run_trial
from tidemill.training.search.trial_checkpoints import (
    checkpoint_file,
    keep_checkpoints,
    read_checkpoint,
    write_checkpoint,
)

ROUNDS, NUMBER = 4, 7


class Killed(Exception):
    """Stands for the end of a process."""


class Model:
    def __init__(self, sharp):
        self.sharp = sharp

    def predict_proba(self, rows):
        late = np.where(rows["wind"] > 0.2 * self.sharp, 0.9, 0.1)
        return np.column_stack([1 - late, late])


@pytest.fixture
def fits():
    return []


@pytest.fixture
def tune(monkeypatch, tmp_path):
    """Keep checkpoints as Ray Tune does, and die after a report."""

    class Tune:
        Checkpoint = SimpleNamespace(from_directory=lambda folder: folder)
        reports, dies_after = [], None

        def report(self, values, checkpoint=None):
            if checkpoint is not None:
                kept = tmp_path / f"results/{NUMBER:04d}/checkpoint_{len(self.reports):06d}"
                shutil.copytree(checkpoint, kept)
            self.reports.append(values)
            if len(self.reports) == self.dies_after:
                raise Killed

    found = Tune()
    found.reports = []
    monkeypatch.setattr(trial, "tune", found)
    return found


def attempt(tune, search, fits, *, can=True, dies_after=None, every=0.0, params=()):
    """Run the trial; return what it reported."""

    def steps(params, features, labels, saved):
        begun = int(saved.state) if saved else 0
        for made in range(begun + 1, ROUNDS + 1):
            fits.append(made)
            yield Model(made), lambda made=made: str(made).encode()

    def fit(params, features, labels):
        return (model for model, _ in steps(params, features, labels, None))

    spec = TrainingSpec((Family("line", {}, fit, ROUNDS, steps=steps if can else None),))
    rows = pl.DataFrame({"wind": np.linspace(-1, 1, 40)})
    table, labels = FeatureTable.of(rows, ("wind",)), (rows["wind"] > 0.5).to_numpy().astype(int)
    tune.reports, tune.dies_after = [], dies_after
    config = {"trial": {"number": NUMBER, "family": "line", "params": dict(params), "rounds": ROUNDS}}
    given = {"root": ".", "source": SimpleNamespace(open=lambda load: spec), "target": Target()}
    try:
        run_trial(config, **given, data=TrialData(table, labels, table, labels), search=search, every=every)
    except Killed:
        keep_checkpoints(search.parent / "results", search)
    return tune.reports


def figures(reports):
    return [one["roc_auc"] for one in reports]


def test_it_reports_what_was_made_before_and_fits_only_the_rest(tune, tmp_path, fits):
    search = tmp_path / "search"
    search.mkdir()
    whole = attempt(tune, search, [])
    assert len(set(figures(whole))) > 1
    shutil.rmtree(tmp_path / "results")

    before = attempt(tune, search, fits, dies_after=3)
    assert (fits, figures(before)) == ([1, 2, 3], figures(whole)[:3])
    after = attempt(tune, search, fits)
    assert fits == [1, 2, 3, 4]
    assert figures(after) == figures(whole)
    assert [bool(one.get(AGAIN)) for one in after] == [True, True, True, False]
    assert after[3][CPU_SECONDS] > after[2][CPU_SECONDS] == before[2][CPU_SECONDS]


def test_a_checkpoint_of_other_parameters_is_left_alone(tune, tmp_path, fits):
    search = tmp_path / "search"
    search.mkdir()
    attempt(tune, search, fits, dies_after=3, params={"c": 1.0})
    attempt(tune, search, fits, params={"c": 2.0})
    assert fits == [1, 2, 3, 1, 2, 3, 4]


@pytest.mark.parametrize("given", [{"can": False}, {"every": 1000.0}])
def test_one_of_which_nothing_is_kept_begins_anew(given, tune, tmp_path, fits):
    search = tmp_path / "search"
    search.mkdir()
    attempt(tune, search, fits, dies_after=3, **given)
    after = attempt(tune, search, fits, **given)
    assert fits == [1, 2, 3, 1, 2, 3, 4]
    assert not any(one.get(AGAIN) for one in after)


def test_a_checkpoint_that_a_kill_cut_off_counts_as_none(tmp_path):
    results, search = tmp_path / "results", tmp_path / "search"
    search.mkdir()
    for place, rounds in enumerate((1, 2)):
        folder = results / f"0003/checkpoint_{place:06d}"
        folder.mkdir(parents=True)
        write_checkpoint(folder, "[]", [{"roc_auc": 0.5}] * rounds, b"state\n\x00")
    [last] = folder.iterdir()
    last.write_bytes(last.read_bytes()[:-1])
    keep_checkpoints(results, search)
    found = read_checkpoint(checkpoint_file(search, 3))
    assert (found.saved.rounds, found.state) == (1, b"state\n\x00")
    keep_checkpoints(results, search)
    assert read_checkpoint(checkpoint_file(search, 3)) == found, "what was kept before stays"
    assert read_checkpoint(checkpoint_file(search, 4)) is None


def test_the_checkpoint_of_a_trial_that_began_again_is_kept_by_its_number(tmp_path):
    results, search = tmp_path / "results", tmp_path / "search"
    search.mkdir()
    (results / "0005").mkdir(parents=True)
    folder = results / "0005_513d/checkpoint_000000"
    folder.mkdir(parents=True)
    write_checkpoint(folder, "[]", [{"roc_auc": 0.5}], b"state")
    keep_checkpoints(results, search)
    assert read_checkpoint(checkpoint_file(search, 5)).state == b"state"
