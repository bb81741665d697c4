"""Two worlds that are the same until a moment and have nothing in common after it."""

import shutil
import zipfile
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.features import write_features
from pipelines.ingest import ingest
from pipelines.model import spec
from pipelines.training_set import write_training_set
from pipelines.validate import validate_tables
from tidemill.features.feature_store import service_features

MOMENT = datetime(2013, 1, 20, 17, 30, tzinfo=UTC)
SETTINGS = {"boosting": {"learning_rate": 0.1, "max_leaf_nodes": 15}, "linear": {"alpha": 1e-4}}


def another_future(csv_folder, target):
    """Copy the CSV files; after the moment only late flights are left, in other weather."""
    target.mkdir()
    shutil.copy(csv_folder / "planes.csv", target)
    shutil.copy(csv_folder / "airports.csv", target)
    packed = zipfile.ZipFile(csv_folder / "flights.csv.zip").read("flights.csv")
    flights = pl.read_csv(packed, null_values=["NA", ""], infer_schema_length=None)
    later = pl.col("time_hour").str.to_datetime(time_zone="UTC") >= MOMENT
    january = flights.filter(pl.col("month") == 1)
    january.filter(~later | (pl.col("arr_delay") > 15)).write_csv(target / "flights.csv", null_value="NA")
    weather = pl.read_csv(csv_folder / "weather.csv", null_values=["NA", ""], infer_schema_length=None)
    weather.with_columns(
        pl.when(later).then(pl.col(name) / 2 + 1).otherwise(pl.col(name)).alias(name)
        for name in ("temp", "dewp", "humid", "wind_speed", "precip", "visib")
    ).write_csv(target / "weather.csv", null_value="NA")


def training_set(project):
    for stage in (ingest, validate_tables, write_features, write_training_set):
        stage(project)
    return pl.read_parquet(project.dataset_path)


@pytest.mark.engine
def test_no_feature_and_no_score_before_a_moment_depends_on_what_comes_after(
    make_project, csv_folder, tmp_path
):
    happened = training_set(make_project(last_month="2013-01"))
    another_future(csv_folder, tmp_path / "csv")
    project = make_project(last_month="2013-01", source="csv")
    imagined = training_set(project)
    features = list(service_features(project))

    after = pl.col("event_timestamp") > MOMENT
    keys = ["event_timestamp", "carrier", "origin", "dest", "tailnum"]
    before = [
        rows.filter(~after, pl.col("event_timestamp").dt.offset_by("2h") < MOMENT).sort(keys)
        for rows in (happened, imagined)
    ]
    assert before[0].height > 10_000
    assert_frame_equal(before[0].select(keys + features), before[1].select(keys + features), check_exact=True)
    assert not happened.filter(after).select(features).equals(imagined.filter(after).select(features))

    known = [rows.filter(pl.col("label_known_at") <= MOMENT) for rows in (happened, imagined)]
    assert_frame_equal(*known, check_exact=True)
    known, before = ([rows.gather_every(6) for rows in each] for each in (known, before))  # a model of few
    for family in spec.families:
        scores = []
        for rows, asked in zip(known, before, strict=True):
            *_, model = family.fit(
                SETTINGS[family.name], rows.select(features).to_pandas(), rows["late"].to_pandas()
            )
            scores.append(model.predict_proba(asked.select(features).to_pandas())[:, 1])
        np.testing.assert_array_equal(scores[0], scores[1])
