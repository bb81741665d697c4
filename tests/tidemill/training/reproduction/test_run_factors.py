"""In which respects two trainings differ: without a fit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tidemill.training.reproduction.run_factors import RunSide, factors_between, model_of
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_result import TrainedModel

DAYS = [datetime(2013, 1, day, tzinfo=UTC) for day in (1, 10, 20, 30)]
SPLIT = Split(*(Period(*DAYS[place : place + 2]) for place in range(3)))
LATER = replace(SPLIT, holdout=Period(DAYS[2], DAYS[3] + timedelta(days=1)))


def side(as_of, split=SPLIT, labels=900, digest="9a0e"):
    lineage = Lineage("4f1d" * 10, {"data/set.parquet": digest}, "s", "77c2", split, as_of, {})
    trained = TrainedModel("run", "", {}, 1, 0, "trees", {}, rounds=3, features=("wind",), labels=labels)
    return RunSide("run", lineage, trained, b"", {})


@pytest.mark.parametrize(
    ("b", "names"),
    [
        (side(DAYS[3] + timedelta(days=9)), []),  # a later moment, and no label more
        (side(DAYS[3] + timedelta(days=9), labels=950), ["data"]),
        (side(DAYS[3] + timedelta(days=9), LATER), ["data"]),
        (side(DAYS[3] + timedelta(days=9), labels=None), ["data"]),
        (side(DAYS[3], digest="9a0f"), ["data"]),
    ],
)
def test_data_are_a_difference_where_the_rows_may_be_others(b, names):
    assert [one.name for one in factors_between(side(DAYS[3]), b, ())] == names


def test_settings_of_a_search_are_no_difference():
    a, b = (
        replace(side(DAYS[3]), params={"train": {"trials": trials, "families": names, "max_rows": rows}})
        for trials, names, rows in ((8, ["linear"], 1000), (40, ["mlp"], 2000))
    )
    [found] = factors_between(a, b, ())
    assert (found.name, found.values) == ("settings", ("train.max_rows 1000", "train.max_rows 2000"))


def test_a_schedule_is_one_factor_and_is_taken_whole():
    a, b = side(DAYS[3]), side(DAYS[3])
    later = ((1, {"c": 0.5}), (3, {"c": 0.6}))
    mine, other = replace(a.trained, params={"c": 0.6}), replace(b.trained, params={"c": 0.6}, schedule=later)
    pair = replace(a, trained=mine), replace(b, trained=other)
    [found] = factors_between(*pair, (), each_parameter=True)
    assert (found.name, found.values) == (
        "parameters",
        ("from round 1: c 0.6", "from round 1: c 0.5; from round 3: c 0.6"),
    )
    assert model_of(mine, other, {"parameters": "b"}).schedule == later
    assert model_of(mine, other, {"parameters": "a"}).schedule == ()
