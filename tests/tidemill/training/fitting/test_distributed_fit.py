"""Several workers of Ray Train make what one process makes, also where one of them is killed.

For networks the example of digits shows it, in the tests of examples.
"""

import logging
import textwrap
from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from tests.tidemill.training.small_project import FEATURES, day, make_project
from tidemill.settings import Settings
from tidemill.training.families.ready_families import DISTRIBUTED, FAMILIES, ready_spec
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.distributed_fit import elastic, workers_for
from tidemill.training.fitting.final_fit import fit_model
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.model_spec import Chosen
from tidemill.training.spec_loading import load_spec

pytestmark = pytest.mark.engine  # the families' libraries take seconds to import

ROUNDS = {"xgboost": 4, "lightgbm": 2}
PARAMS = {
    "xgboost": {"learning_rate": 0.1, "max_depth": 4},
    "lightgbm": {"learning_rate": 0.1, "num_leaves": 15},
}
MODEL = textwrap.dedent(
    """
    import os
    import signal
    from dataclasses import replace
    from pathlib import Path

    from tidemill import TrainingSpec
    from tidemill.training.families.ready_families import ready_spec

    trees, other = ready_spec(["xgboost", "lightgbm"], "binary").families


    def fit(params, shard, rounds, saved, keep):
        begun = 0 if saved is None else saved.rounds
        with (Path(__file__).parent / "begun").open("a") as file:
            file.write(f"{begun}\\n")

        def keep_or_die(done, state):
            if done == 3 and begun == 0 and shard.places[0] == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            keep(done, state)

        return trees.distributed.fit(params, shard, rounds, saved, keep_or_die)


    dying = replace(trees, distributed=replace(trees.distributed, fit=fit))
    spec = TrainingSpec((dying, other))
    """
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two workers share the one CPU that the Ray of the tests has.

    Features have few values, so that trees are cut at the same ones whoever looks at how they are spread.
    """
    made = make_project(tmp_path_factory.mktemp("together"), workers=2, resources={"cpus": 0.5})
    (made.root / "small_model.py").write_text(MODEL)
    rounded = (pl.col("wind", "delay") * 2).round(0) / 2
    pl.read_parquet(made.dataset_path).with_columns(rounded).write_parquet(made.dataset_path)
    return made


@pytest.mark.parametrize(("name", "most"), [("xgboost", 1e-5), ("lightgbm", 0.05)])
def test_two_workers_make_what_one_process_makes(project, ray_of_the_session, name, most):
    pytest.importorskip(FAMILIES[name])
    spec, rows = load_spec(project), read_split(project, FEATURES, day(100))
    features, params = as_features(rows.fit, rows.features), PARAMS[name]
    labels = pd.Series(project.task.truth(rows.fit, "late"))
    alone = list(islice(spec.family(name).fit(params, features, labels), ROUNDS[name]))[-1]
    together = fit_model(project, spec, rows, Chosen(name, params, ROUNDS[name]))
    held_out = as_features(rows.holdout, rows.features)
    answers = [model.predict_proba(held_out)[:, 1] for model in (alone, together)]
    assert np.abs(answers[0] - answers[1]).mean() < most
    assert not list((project.home / "ray_results").iterdir())
    worth = [roc_auc_score(project.task.truth(rows.holdout, "late"), one) for one in answers]
    assert abs(worth[0] - worth[1]) < 0.01
    if name == "lightgbm":  # whose bins each worker chooses by its own rows; the trees count all of them
        tree = together["model"].booster_.dump_model()["tree_info"][0]["tree_structure"]
        assert tree["internal_count"] == rows.fit.height
        assert "machines" not in together["model"].booster_.model_to_string()
    if name == "xgboost":  # of its first two workers one was killed in the third round
        begun = [int(line) for line in (project.root / "begun").read_text().split()]
        assert begun[:2] == [0, 0]
        assert begun[2:] in ([1, 1], [2, 2])


def test_where_there_is_room_for_fewer_workers_it_says_so(project, caplog):
    with caplog.at_level(logging.WARNING):
        assert [workers_for(project, {"CPU": cpus}) for cpus in (8.0, 0.5)] == [2, 1]
    assert caplog.messages == [
        "train.workers is 2, and Ray has room for 1 worker here: one process fits the model"
    ]


def test_on_a_cluster_fewer_workers_go_on_where_a_node_was_lost(project):
    on_cluster = replace(project, settings=Settings(ray_address="192.0.2.1:6379"))
    assert [elastic(one, 3) for one in (project, on_cluster)] == [3, (1, 3)]


def test_a_family_that_cannot_is_fitted_by_one_process_and_it_says_so(tmp_path, caplog):
    project = make_project(tmp_path, workers=2)
    rows = read_split(project, FEATURES, day(100))
    with caplog.at_level(logging.WARNING):
        fit_model(project, load_spec(project), rows, Chosen("line", {"c": 1.0}, 1))
    assert caplog.messages == ["train.workers is 2, but family 'line' cannot be shared: one process fits it"]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_list_says_which_families_several_workers_can_fit(name):
    pytest.importorskip(FAMILIES[name] or "sklearn")
    [family] = ready_spec([name], "binary").families
    assert (family.distributed is not None) == (name in DISTRIBUTED)
