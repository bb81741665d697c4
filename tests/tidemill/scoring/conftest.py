"""A project with two versions that tell rows apart; made once, tests get copies."""

import os
import shutil
from itertools import pairwise

import boto3
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from tests.made_once import made_once
from tests.tidemill.serving.small_project import KNOWN, crown, make_project
from tidemill.project import load_project
from tidemill.registry.versions.new_versions import register
from tidemill.tasks.binary import Binary
from tidemill.training.fitting.packaging import log_model, trusted_types
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_record import log_lineage, log_summary
from tidemill.training.tracking.training_result import TrainedModel

FEATURES = ("wind", "rain")


def add_version(project, weight):
    """Register a model that rises with the wind, by ``weight``, and falls with the rain."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(500, 2)), columns=list(FEATURES))
    model = HistGradientBoostingClassifier(max_iter=20).fit(frame, weight * frame["wind"] - frame["rain"] > 0)
    trusted = trusted_types(model, ())
    client = connect(project)
    run = client.create_run(experiment_id(client, project)).info.run_id
    task, example = Binary(""), frame[:50]
    uri = log_model(
        client, run_id=run, name="m", estimator=model, task=task, example=example, trusted=trusted
    ).uri
    trained = TrainedModel(run, uri, {}, 1, 0, "trees", {}, features=FEATURES, trusted_types=tuple(trusted))
    days = [KNOWN - pd.Timedelta(days=number) for number in (4, 3, 2, 1)]
    lineage = Lineage("0" * 40, {}, "parcels", "0", Split(*(Period(*pair) for pair in pairwise(days))), KNOWN)
    log_lineage(client, run, lineage)
    log_summary(client, run, trained)
    client.set_terminated(run)
    return register(project, run)


@pytest.fixture(scope="session")
def scored_template(tmp_path_factory):
    def make(folder):
        project = make_project(folder / "project")
        add_version(project, 1.0)
        add_version(project, 3.0)
        crown(project, "1")
        return project.root

    return made_once(tmp_path_factory, "scored-parcels", make)


@pytest.fixture
def parcels(tmp_path, scored_template):
    """The project; version 1 is champion."""
    return load_project(shutil.copytree(scored_template, tmp_path / "project"))


@pytest.fixture
def table(tmp_path):
    """Ten thousand rows with features as columns, in ten row groups: ``rows.parquet``."""
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {"id": range(10_000), "wind": rng.normal(size=10_000), "rain": rng.normal(size=10_000)}
    )
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=1000)
    return frame


@pytest.fixture
def bucket(s3_endpoint, monkeypatch):
    """A new bucket on a real S3 server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    name = f"scores-{os.urandom(4).hex()}"
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=name)
    fsspec.filesystem("s3").clear_instance_cache()
    yield name
    fsspec.filesystem("s3").clear_instance_cache()
