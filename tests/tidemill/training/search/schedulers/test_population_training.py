"""Population-based training: what may become a population, and what is made of the best of its trials."""

import json
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from ray import tune
from ray.tune.experiment import Trial

from tests.tidemill.training.small_project import FEATURES, day
from tests.tidemill.training.test_train import run, runs_of
from tidemill.errors import ConfigError, TrainingError
from tidemill.training.distributed import Saved
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.final_fit import fit_model
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.model_spec import Chosen, Family, OnlyIf, TrainingSpec
from tidemill.training.reproduction.refitting import METRICS, REFERENCE_AGAIN, refit
from tidemill.training.search.resumed_search import open_for
from tidemill.training.search.schedulers.population_training import Population, check_population
from tidemill.training.search.search_journal import SearchOrigin, begin_journal
from tidemill.training.search.trial import ROUND
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.run_files import read_table
from tidemill.training.tracking.training_result import REFERENCE, schedule_words

pytestmark = pytest.mark.engine

RATE = {"rate": tune.uniform(0.1, 1.0)}


@pytest.mark.parametrize(
    ("space", "given", "why"),
    [
        (RATE, {"steps": None}, "has no steps"),
        (
            {"kind": tune.choice("ab"), "rate": OnlyIf("kind", ("a",), 0.1)},
            {},
            "rate exists only for values of",
        ),
        (RATE, {"lasting": ("rate",)}, "has nothing that can change"),
        (RATE, {"rounds": 1}, "has nothing that can change"),
    ],
)
def test_families_that_cannot_change_are_refused_by_name(space, given, why):
    family = Family(**{"name": "odd", "space": space, "fit": iter, "rounds": 3, "steps": iter} | given)
    with pytest.raises(ConfigError, match=f"pbt, and family 'odd' cannot be trained so: .*{why}"):
        check_population(TrainingSpec((family,)))


@pytest.mark.parametrize(("rounds", "copied"), [(1, False), (2, True)])
def test_no_trial_copies_one_that_made_fewer_rounds(rounds, copied, monkeypatch):
    scheduler = Population("roc_auc", TrainingSpec((Family("grown", RATE, iter, rounds=4),)), seed=0)
    configured = [{"trial": {"number": number, "family": "grown", "rounds": 4}} for number in range(5)]
    trials = [Trial("fit", config=config, stub=True) for config in configured]
    controller = SimpleNamespace(get_trials=lambda: trials, search_alg=None)
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    compared = []

    def take(trial, controller, best, worst):
        compared.append((trial in worst, len(best)))

    monkeypatch.setattr(scheduler, "_checkpoint_or_exploit", take)
    for trial in trials[1:]:
        scheduler.on_trial_result(controller, trial, {ROUND: rounds, "roc_auc": 0.8, "training_iteration": 1})
    scheduler.on_trial_result(controller, trials[0], {ROUND: 2, "roc_auc": 0.6, "training_iteration": 2})
    assert compared[-1] == (copied, 2 if copied else 0)


def test_a_search_that_was_cut_off_is_not_gone_on_with(new_project, caplog):
    project = new_project(spec="population", scheduler="pbt")
    journal = begin_journal(project.home, SearchOrigin("turn_1", "r" * 32, {}))
    with pytest.raises(TrainingError, match=r"train\.scheduler is pbt, .* cannot be gone on with"):
        open_for(project, "turn_1", {}, must_resume=True)
    assert open_for(project, "turn_1", {}, must_resume=False) is None
    assert "it begins anew" in caplog.text
    assert not journal.path.exists()


def test_the_final_model_is_that_of_the_schedule_and_is_reproduced(new_project, ray_of_the_session, tmp_path):
    project = new_project(spec="population", scheduler="pbt", trials=4, seed=1)
    trained = run(project)
    [(first, begun), *others] = trained.schedule
    assert (trained.family, trained.rounds, first, trained.trials) == ("grown", 4, 1, 4)
    assert others, "the best trial had been a copy of another"
    assert trained.params == others[-1][1] != begun
    trials = {one.info.run_name: one for one in runs_of(project, role="trial")}
    assert {one.info.status for one in trials.values()} == {"FINISHED"}
    said = schedule_words(trained.schedule)
    assert said in [one.data.params.get("schedule") for one in trials.values()]
    assert run(project) == trained, "it was read back"
    [parent] = runs_of(project, role="search")
    assert parent.data.params["schedule"] == said

    refit(project.root, trained, day(100), tmp_path)
    again = json.loads((tmp_path / METRICS).read_text())
    assert {name: trained.metrics[name] for name in again} == again
    recorded = read_table(mlflow_tracking.connect(project), trained.run_id, REFERENCE)
    assert pl.read_parquet(tmp_path / REFERENCE_AGAIN).equals(recorded)

    rows, spec = read_split(project, FEATURES, day(100)), load_spec(project)
    held, chosen = as_features(rows.holdout, rows.features), trained.chosen
    found = fit_model(project, spec, rows, chosen).predict_proba(held)
    assert np.array_equal(found, by_hand(project, spec.family("grown"), rows, chosen).predict_proba(held))
    constant = fit_model(project, spec, rows, Chosen("grown", trained.params, trained.rounds))
    assert not np.array_equal(found, constant.predict_proba(held))


def by_hand(project, family, rows, chosen):
    """Fit round by round, each by the parameters that held in it."""
    features = as_features(rows.fit, rows.features)
    labels = pd.Series(project.task.truth(rows.fit, project.config.dataset.label))
    saved, model = None, None
    for number in range(1, chosen.rounds + 1):
        params = [params for start, params in chosen.schedule if start <= number][-1]
        [(model, state)] = islice(family.steps(params, features, labels, saved), 1)
        saved = Saved(number, state())
    return model
