"""Splits of rows without time: reproducible, stable while rows are added, and known to the next training."""

import json

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tidemill.training.small_project import FEATURES, day
from tests.tidemill.training.small_project import rows as timed_rows
from tidemill.errors import TrainingError
from tidemill.project import load_project
from tidemill.project.project_config import DatasetConfig, SplitConfig
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.hashed_split import ROW_NUMBER, HashedSplit, split_by_hash

DATASET = DatasetConfig(path="data/training_set.parquet", label="late", time=None, label_known=None)
NAMES = ("wind", "origin")


def table(count, seed=0):
    draw = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "wind": draw.normal(size=count),
            "origin": pl.Series(draw.choice(["EWR", "JFK", None], count).tolist(), dtype=pl.String),
            "late": draw.integers(0, 2, count),
            "farm": draw.integers(0, 20, count),
        }
    )


def split(rows, by="stratified", seed=0, dataset=DATASET, **shares):
    return split_by_hash(rows, NAMES, dataset, SplitConfig(by=by, **shares), seed)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(30, 300), seed=st.integers(-5, 5), by=st.sampled_from(["random", "stratified"]))
def test_every_row_is_on_one_side_and_the_shares_are_those_asked_for(count, seed, by):
    rows = table(count).with_row_index("n")
    made, sides = split(rows, by, seed, holdout=0.2, validation=0.1)
    heights = {name: getattr(sides, name).height for name in ("train", "validation", "holdout")}
    assert HashedSplit.from_dict(json.loads(json.dumps(made.as_dict()))).sizes == heights
    places = [*sides.train["n"], *sides.validation["n"], *sides.holdout["n"]]
    assert sorted(places) == list(range(count))
    assert sides.fit["n"].to_list() == sorted([*sides.train["n"], *sides.validation["n"]])
    assert abs(sides.holdout.height - 0.2 * count) <= 1.5
    assert abs(sides.validation.height - 0.1 * count) <= 1.5


def test_the_seed_reproduces_the_split_whatever_the_order_of_rows_and_columns():
    rows = table(200)
    _, first = split(rows)
    _, again = split(rows.sample(fraction=1, shuffle=True, seed=1).select(reversed(rows.columns)))
    key = ["wind", "origin", "late"]
    assert first.holdout.sort(key).select(key).equals(again.holdout.sort(key).select(key))
    _, other = split(rows, seed=1)
    assert not first.holdout.sort(key).select(key).equals(other.holdout.sort(key).select(key))


def test_classes_are_held_out_alike():
    rows = table(400).with_columns(late=(pl.int_range(400) < 20).cast(pl.Int64))
    _, sides = split(rows, holdout=0.2, validation=0.2)
    assert sides.holdout["late"].sum() == sides.validation["late"].sum() == 4


def test_rows_of_a_group_stay_together():
    found, sides = split(table(500), "group", dataset=DATASET.model_copy(update={"group": "farm"}))
    farms = [set(side["farm"]) for side in (sides.train, sides.validation, sides.holdout)]
    assert all(farms)
    assert sum(map(len, farms)) == 20
    assert str(found) == "500 rows split by farm"


def test_copies_of_a_row_stay_together_unless_most_rows_are_copies():
    few = table(100)
    _, sides = split(pl.concat([few, few]), "random")
    assert sides.holdout.height % 2 == 0
    assert sides.holdout.unique().height * 2 == sides.holdout.height
    many = pl.concat([table(4)] * 50)
    _, sides = split(many, "random")
    assert sides.holdout.height == 30


def test_a_champion_knows_what_it_has_not_seen_when_rows_are_added():
    champion, before = split(table(300))
    candidate, after = split(pl.concat([table(300), table(300, seed=1)]))
    seen = before.fit.select("wind", "late")
    unseen = after.holdout.filter(champion.held_out(after.holdout, candidate))
    assert unseen.join(seen, on=["wind", "late"], how="semi").is_empty()
    assert unseen.height > 0.8 * after.holdout.height


@pytest.mark.parametrize("seed", [0, 1])
def test_a_champion_split_by_other_columns_or_another_seed_still_knows_its_rows(seed):
    rows = table(2000)
    champion, before = split_by_hash(rows, ("wind",), DATASET, SplitConfig(by="random"), seed)
    candidate, after = split(rows)
    unseen = after.holdout.filter(champion.held_out(after.holdout, candidate))
    assert unseen.join(before.fit, on=["wind", "late"], how="semi").is_empty()
    assert 0 < unseen.height < after.holdout.height


def test_a_champion_whose_columns_are_gone_has_perhaps_seen_everything():
    champion, _ = split(table(100))
    _, after = split(table(100))
    lacking = after.holdout.drop("wind")
    assert not champion.held_out(lacking, None).any()


@pytest.mark.parametrize(
    ("rows", "by", "message"),
    [
        (
            table(100).with_columns(late=pl.int_range(100) == 7),
            "stratified",
            "class 'True' of late has 1 dif",
        ),
        (table(2).with_columns(late=0), "random", "there are 2 different labelled rows: at least 3"),
        (table(50).with_columns(farm=1), "group", "column farm has 1 values in 50 rows"),
    ],
)
def test_too_few_rows_are_refused_with_what_to_do(rows, by, message):
    with pytest.raises(TrainingError, match=message) as caught:
        split(rows, by, dataset=DATASET.model_copy(update={"group": "farm"}))
    assert caught.value.hint


def without_time(project, **dataset):
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["dataset"] |= {"time": None, "label_known": None, **dataset}
    params["split"] = {}
    path.write_text(yaml.safe_dump(params))
    rows = pl.read_parquet(project.dataset_path).drop("event_timestamp", "label_known_at")
    rows.write_parquet(project.dataset_path)
    return load_project(project.root)


def test_a_training_set_without_time_is_split_by_class(new_project):
    found = read_split(without_time(new_project()), FEATURES, day(100))
    assert str(found.split) == f"{timed_rows().height:,} rows split at random, each class alike"
    assert ROW_NUMBER in found.holdout.columns
    assert ROW_NUMBER not in found.fit.columns
    assert abs(found.holdout.height - 0.15 * timed_rows().height) < 2


def test_a_limit_of_rows_takes_a_sample_of_all_since_none_is_the_newest(new_project):
    project = without_time(new_project(max_rows=1000))
    pl.read_parquet(project.dataset_path).sort("late").write_parquet(project.dataset_path)
    found = read_split(project, FEATURES, day(100))
    assert (found.train.height, found.fit.height) == (1000, 1000)
    assert 0.2 < found.fit["late"].mean() < 0.6


@pytest.mark.parametrize(
    ("kind", "message"),
    [("text", "feature 'wind' is of type text in features.yaml, but Float64"), ("number", None)],
)
def test_the_training_set_has_the_types_that_requests_bring(new_project, kind, message):
    project = without_time(new_project())
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["features"] = {"from": "request"}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    columns = [{"name": name, "type": kind if name == "wind" else "number"} for name in FEATURES]
    (project.root / "features.yaml").write_text(yaml.safe_dump({"columns": columns}))
    project = load_project(project.root)
    if message is None:
        assert read_split(project, FEATURES, day(100)).fit.height
        return
    with pytest.raises(TrainingError, match=message):
        read_split(project, FEATURES, day(100))


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (pl.lit(1), "nothing can be learnt from column late: it has 1 value in 4,500 rows, not both labels"),
        (pl.when(pl.int_range(4500) < 300).then(pl.col("late")), "column late is null in 4,200 of 4,500"),
    ],
)
def test_a_target_that_teaches_nothing_is_refused(new_project, late, message):
    project = without_time(new_project())
    pl.read_parquet(project.dataset_path).with_columns(late=late).write_parquet(project.dataset_path)
    with pytest.raises(TrainingError, match=message) as caught:
        read_split(project, FEATURES, day(100))
    assert caught.value.hint
