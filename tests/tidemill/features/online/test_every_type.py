"""Text, truth values, gaps, moments and lists: the same in training and serving, in each store."""

import math
from datetime import UTC, datetime, timedelta

import pandas as pd
import polars as pl
import pytest
import yaml

from tests.tidemill.features import conftest
from tidemill.features import feature_store as features
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.features.skew.comparable_values import as_comparable_rows
from tidemill.features.skew.comparison import differences

pytestmark = pytest.mark.engine

START = datetime(2013, 1, 1, tzinfo=UTC)
VIEWS = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

item = Entity(name="item", join_keys=["item"], value_type=ValueType.INT64)
things = FeatureView(
    name="things",
    entities=[item],
    ttl=timedelta(hours=5),
    schema=[
        Field(name="colour", dtype=String),
        Field(name="open", dtype=Bool),
        Field(name="queue", dtype=Int64),
        Field(name="short", dtype=Int32),
        Field(name="seen", dtype=UnixTimestamp),
        Field(name="embedding", dtype=Array(Float64)),
        Field(name="counts", dtype=Array(Int64)),
        Field(name="half", dtype=Array(Float32)),
        Field(name="price", dtype=Float64, tags={"default": "1.5"}),
    ],
    source=PushSource(
        name="reports",
        batch_source=FileSource(path="../data/things.parquet", timestamp_field="event_timestamp"),
    ),
    tags=TAGS,
)
asked = RequestSource(name="asked", schema=[Field(name="word", dtype=String)])


@on_demand_feature_view(
    sources=[asked, things],
    schema=[Field(name="both", dtype=String), Field(name="turned", dtype=Array(Float64))],
    mode="python",
)
def joined(inputs: dict) -> dict:
    pairs = zip(inputs["word"], inputs["colour"])
    return {
        "both": [None if b is None else f"{a} {b}" for a, b in pairs],
        "turned": [
            None if e is None else [None if one is None else -float(one) for one in e]
            for e in inputs["embedding"]
        ],
    }


mini = FeatureService(name="mini", features=[things, joined])
"""
VALUES = {
    "colour": ["red", "", "é", None],
    "open": [True, False, None, None],
    "queue": [7, -1, None, 2**53],
    "short": [1, None, 3, 4],
    "seen": [START + timedelta(seconds=1.75), START - timedelta(days=20_000), None, START],
    "embedding": [[1.0, 2.5], [0.0, -1.0], None, [1e300, float("nan")]],
    "counts": [[1, 2, 3], [0, 0, 0], [4, 5, 6], None],
    "half": [[0.1], [0.25], None, [3.5]],
    "price": [None, 0.25, 3.0, None],
}
SEEN = {
    1: (
        "red",
        1.0,
        7.0,
        1.0,
        START.timestamp() + 1,
        (1.0, 2.5),
        (1.0, 2.0, 3.0),
        (0.10000000149011612,),
        1.5,
    ),
    2: ("", 0.0, -1.0, None, START.timestamp() - 86_400 * 20_000, (0.0, -1.0), (0.0,) * 3, (0.25,), 0.25),
}


def hours(count):
    return START + timedelta(hours=count)


@pytest.fixture(params=["sqlite", "redis", "cached"], scope="module")
def opened(request, tmp_path_factory):
    """A project and a reader of its features, after one materialisation."""
    project = conftest.make(tmp_path_factory.mktemp("types") / "project")
    repository = project.root / "feature_repo"
    cached = request.param == "cached"
    tags = '{"cache_seconds": "60"}' if cached else "{}"
    (repository / "mini_views.py").write_text(VIEWS.replace("TAGS", tags))
    if request.param == "redis":
        settings = yaml.safe_load(conftest.STORE)
        settings["online_store"] = {
            "type": "tidemill.features.online.RedisOnlineStore",
            "connection_string": request.getfixturevalue("redis_address"),
        }
        settings["project"] = "every_type"
        (repository / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    rows = {"item": [1, 2, 3, 4], "event_timestamp": [START] * 4, **VALUES}
    pl.DataFrame(rows).write_parquet(project.root / "data" / "things.parquet")
    features.apply(project)
    features.materialise(project, hours(1))
    return project, OnlineFeatures(features.open_store(project), "mini", cached_rows=100 if cached else 0)


def rows():
    return [{"item": item, "word": "a"} for item in (1, 2, 3, 4, 5, None)]


def trained(project, at):
    frame = pl.DataFrame(rows(), schema={"item": pl.Int64, "word": pl.String}).with_columns(
        event_timestamp=pl.lit(at)
    )
    return features.training_frame(project, frame).drop("item", "word", "event_timestamp")


def test_values_of_every_type_are_served_as_models_take_them(opened):
    _, reader = opened
    found = reader.read(rows(), [hours(2)] * 6)
    for item, expected in SEEN.items():
        assert tuple(found[item - 1].values.values())[:9] == expected
    assert found[0].values["both"] == "a red"
    assert found[0].values["turned"] == (-1.0, -2.5)
    assert set(found[4].values.values()) == {None, 1.5}
    assert found[4].flags == ("missing:things", "default:price")


def test_what_is_served_is_what_training_saw_even_after_it_expired(opened):
    project, reader = opened
    for at in (hours(2), hours(6)):
        seen = trained(project, at)
        served = [row.values for row in reader.read(rows(), [at] * 6)]
        names = list(seen.columns)
        logged = pl.DataFrame(
            {f"feature.{name}": [row[name] for row in served] for name in names}, strict=False
        )
        both = logged.hstack(seen.rename(lambda name: f"expected.{name}"))
        found = differences(as_comparable_rows(both, names), names, 1e-6)
        assert found.select(pl.all().any()).row(0) == (False,) * len(names), found


def test_pushed_values_of_every_type_replace_what_was_there(opened):
    project, _ = opened
    pushed = pd.DataFrame(
        {
            "item": [9],
            "event_timestamp": [hours(1)],
            **{name: [values[0]] for name, values in VALUES.items()},
        }
    )
    store = features.open_store(project)
    features.push(store, "reports", pushed)
    reader = OnlineFeatures(store, "mini")
    [row] = reader.read([{"item": 9, "word": "a"}], [hours(2)])
    assert tuple(row.values.values())[:9] == SEEN[1]
    gap = {**pushed.iloc[0].to_dict(), "event_timestamp": hours(1.25), "embedding": [None, 2.5]}
    features.push(store, "reports", pd.DataFrame([gap]))
    [row] = reader.read([{"item": 9, "word": "a"}], [hours(2)])
    assert repr((row.values["embedding"], row.values["turned"])) == "((nan, 2.5), (nan, -2.5))"
    later = {**pushed.iloc[0].to_dict(), "event_timestamp": hours(1.5), "colour": None, "embedding": None}
    features.push(store, "reports", pd.DataFrame([later]))
    [row] = reader.read([{"item": 9, "word": "a"}], [hours(2)])
    assert (row.values["colour"], row.values["embedding"], row.values["queue"]) == (None, None, 7.0)


def test_lists_that_differ_in_an_element_a_gap_or_in_length_are_skew():
    lists = pl.DataFrame(
        {
            "feature.e": [[1.0, 2.0], [1.0, 2.0], [1.0], None, None, [1.0, None], [1.0, None], [None] * 2],
            "expected.e": [
                *([1.0, 2.0 + 1e-9], [1.0, 2.1], [1.0, 2.0], [1.0, 2.0], None),
                *([1.0, math.nan], [1.0, 2.0], None),
            ],
        }
    )
    rows = as_comparable_rows(lists, ["e"])
    assert differences(rows, ["e"], 1e-6)["e"].to_list() == [
        False,
        True,
        True,
        True,
        False,
        False,
        True,
        False,
    ]
