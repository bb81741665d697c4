"""How configurations are drawn, and how the best trial is found: without a trial."""

import socket
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from ray import tune

from tidemill.errors import ConfigError, TrainingError
from tidemill.project.train_config import TrainConfig
from tidemill.tasks.task_choice import Target, make_task
from tidemill.training.failing_rows import answers_to, naming_row
from tidemill.training.model_spec import Family, TrainingSpec
from tidemill.training.ray_session import check_address
from tidemill.training.search.proposals import candidates
from tidemill.training.search.trial_records import TrialRecord
from tidemill.training.search.tuning import _result
from tidemill.training.spec_loading import load_spec

SPEC = TrainingSpec(
    (
        Family("a", {"c": tune.loguniform(0.01, 10.0), "fixed": 3}, iter, rounds=5),
        Family("b", {"leaves": tune.randint(4, 64), "kind": tune.choice(["x", "y"])}, iter, rounds=2),
    )
)


def test_families_take_turns_and_draw_from_their_own_space():
    drawn = candidates(SPEC, trials=20, seed=1)
    assert [one["family"] for one in drawn] == ["a", "b"] * 10
    assert [one["number"] for one in drawn] == list(range(20))
    for one in drawn:
        if one["family"] == "a":
            assert 0.01 <= one["params"]["c"] <= 10
            assert type(one["params"]["c"]) is float
            assert one["params"]["fixed"] == 3
        else:
            assert 4 <= one["params"]["leaves"] < 64
            assert type(one["params"]["leaves"]) is int
            assert one["params"]["kind"] in ("x", "y")
    assert len({one["params"].get("c") for one in drawn}) > 5


def test_the_seed_decides():
    assert candidates(SPEC, 12, seed=1) == candidates(SPEC, 12, seed=1)
    assert candidates(SPEC, 12, seed=1) != candidates(SPEC, 12, seed=2)


def test_the_best_round_is_the_earliest_of_the_best():
    record = TrialRecord(0, "a", {}, 3, "run")
    assert record.best("roc_auc") is None
    record.history += [{"roc_auc": value} for value in (0.6, 0.7, 0.7)]
    assert record.best("roc_auc") == (0.7, 2)


def test_families_need_names_of_their_own_and_rounds():
    with pytest.raises(ValueError, match="names of their own"):
        TrainingSpec((SPEC.families[0], SPEC.families[0]))
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        Family("a", {}, iter, rounds=0)
    assert SPEC.family("b").rounds == 2
    with pytest.raises(KeyError):
        SPEC.family("c")


def test_more_trials_than_one_are_the_default():
    assert TrainConfig().trials >= 12


def test_a_spec_that_cannot_be_imported_names_the_place(new_project):
    project = new_project(spec="no_such_thing")
    with pytest.raises(ConfigError, match="no_such_thing"):
        load_spec(project)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_ray_that_cannot_be_reached_is_named_at_once(scheme):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TrainingError, match=f"no Ray at {address}") as caught:
            check_address(address)
    assert "TIDEMILL_RAY_ADDRESS" in caught.value.hint


def test_a_ray_that_can_be_reached_passes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_the_row_that_a_model_fails_on_is_named():
    class Model:
        def predict_proba(self, rows):
            if rows["wind"].isna().any():
                raise ValueError("the wind is unknown")
            return np.full((len(rows), 2), 0.5)

    rows = pd.DataFrame({"wind": [1.0] * 9 + [np.nan] + [1.0] * 5 + [np.nan]})
    task = make_task(Target(), str)
    with pytest.raises(TrainingError, match=r"ValueError: the wind is unknown \(row 10 of the 16 validation"):
        answers_to(task, Model(), rows)
    assert len(answers_to(task, Model(), rows[:9])) == 9


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (lambda rows, made: rows["wind"].isna().any(), r"too much \(row 10 of the 16 training rows\)"),
        (lambda rows, made: rows["wind"].iloc[0] == 0, r"too much \(row 1 of the 16 training rows\)"),
        (lambda rows, made: True, r"too much$"),
        (lambda rows, made: len(rows) > 9, r"too much$"),
        (lambda rows, made: made and rows["wind"].isna().any(), r"too much$"),
    ],
    ids=["a row", "the first row", "any row", "many rows", "a later round"],
)
def test_the_row_that_a_fit_fails_on_is_named_if_it_is_its_doing(fails, said):
    rows = pd.DataFrame({"wind": [0.0, *[1.0] * 8, np.nan, *[1.0] * 5, np.nan]})

    def begin(some):
        chosen = rows.iloc[some]
        if chosen.empty:
            raise ValueError("no rows")
        for made in range(2):
            if fails(chosen, made):
                raise ValueError("too much")
            yield made

    with pytest.raises((ValueError, TrainingError), match=said):
        list(naming_row(begin, len(rows)))
    assert list(naming_row(lambda some: iter("ab"), 9)) == ["a", "b"]


def test_a_search_whose_trials_all_failed_says_how_many_and_why_the_first_did():
    failed = [
        TrialRecord(number, "trees", {"depth": 3}, 5, "4f1d", error="no such column") for number in (0, 1)
    ]
    for records, said in (
        (failed[:1], "the only trial failed: family"),
        (failed, "all 2 trials failed; the first, f"),
    ):
        log = SimpleNamespace(records={one.number: one for one in records})
        with pytest.raises(TrainingError, match=rf"^{said}.*'depth': 3}}: no such column$"):
            _result(log, TrainConfig())
