"""What a run was made from and what came out of it, written and read back whatever its length."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from tidemill.errors import RegistryError
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id, log_values
from tidemill.training.tracking.run_files import read_file, write_file
from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.run_values import has_summary
from tidemill.training.tracking.training_record import (
    LINEAGE,
    SUMMARY,
    log_lineage,
    log_summary,
    open_documents,
    read_lineage,
    read_summary,
)
from tidemill.training.tracking.training_result import TrainedModel

pytestmark = pytest.mark.engine

DAY = [datetime(2013, 3, n, tzinfo=UTC) for n in range(1, 5)]
SPLIT = Split(Period(DAY[0], DAY[1]), Period(DAY[1], DAY[2]), Period(DAY[2], DAY[3]))
FEATURES = tuple(f"a_name_of_some_length_{n:03d}_{'x' * 100}" for n in range(400))
LONG = "word " * 4000  # 20,000 characters
FILES = {f"data/day_{n:03d}.parquet": f"{n:032x}" for n in range(500)}
BEFORE = {
    "tidemill.lineage.git_commit": "4f1d",
    "tidemill.lineage.data": '{"data/set.parquet": "9a0e"}',
    "tidemill.lineage.feature_service": "flight_delay",
    "tidemill.lineage.feature_definition": "77c2",
    "tidemill.lineage.train_start": "2013-03-01T00:00:00+00:00",
    "tidemill.lineage.train_end": "2013-03-02T00:00:00+00:00",
    "tidemill.lineage.validation_start": "2013-03-02T00:00:00+00:00",
    "tidemill.lineage.validation_end": "2013-03-03T00:00:00+00:00",
    "tidemill.lineage.holdout_start": "2013-03-03T00:00:00+00:00",
    "tidemill.lineage.holdout_end": "2013-03-04T00:00:00+00:00",
    "tidemill.lineage.as_of": "2013-03-04T00:00:00+00:00",
    "tidemill.lineage.packages": '{"numpy": "2.3.3"}',
    "tidemill.summary": '{"run_id": "4f1d", "model_uri": "models:/m-1", "metrics": {"holdout_roc_auc": 0.7}, '
    '"trials": 12, "failed_trials": 1, "family": "trees", "params": {"depth": 3}, "rounds": 2, '
    '"features": ["wind", "delay"], "trusted_types": []}',
}
"""Tags of a run as the first version of Tidemill wrote them."""


@pytest.fixture
def store(new_project):
    client = connect(project := new_project())
    return client, client.create_run(experiment_id(client, project)).info.run_id


def read(client, run, tags=None):
    tags = client.get_run(run).data.tags if tags is None else tags
    documents = open_documents(client, run, tags)
    return read_summary(run, tags, documents), read_lineage(tags, documents)


def test_many_features_and_long_parameters_are_read_back(store):
    client, run = store
    metrics = {f"roc_auc_{month:04d}": month / 7 for month in range(500)}
    params = {"words": LONG, "shape": [64, 32], "none": None}
    trained = TrainedModel(run, "models:/m-1", metrics, 1, 0, "trees", params, features=FEATURES)
    lineage = Lineage("4f1d", FILES, "service", "77c2", SPLIT, DAY[3], {"numpy": "2"})
    tags = log_lineage(client, run, lineage) | log_summary(client, run, trained)

    assert read(client, run) == read(client, run, tags) == (trained, lineage)
    assert max(map(len, client.get_run(run).data.tags.values())) < 500


def test_parameters_that_json_does_not_know_are_written_all_the_same(store):
    client, run = store
    params = {"rate": np.float32(0.5), "weights": np.array([1, 2]), "callback": len}
    trained = TrainedModel(run, "models:/m-1", {}, 1, 0, "trees", params)
    log_lineage(client, run, Lineage("4f1d", {}, "service", "77c2", SPLIT, DAY[3]))
    log_summary(client, run, trained)
    found = read(client, run)[0].params
    assert found == {"rate": 0.5, "weights": [1, 2], "callback": "<built-in function len>"}


def test_what_earlier_versions_kept_in_tags_is_read(store):
    client, run = store
    assert has_summary(BEFORE)
    trained, lineage = read(client, run, BEFORE)
    assert (trained.features, trained.params, trained.metrics) == (
        ("wind", "delay"),
        {"depth": 3},
        {"holdout_roc_auc": 0.7},
    )
    assert lineage == Lineage(
        "4f1d", {"data/set.parquet": "9a0e"}, "flight_delay", "77c2", SPLIT, DAY[3], {"numpy": "2.3.3"}
    )
    cut = {**BEFORE, "tidemill.summary": BEFORE["tidemill.summary"][:100]}
    with pytest.raises(RegistryError, match="summary is missing or broken"):
        read(client, run, cut)


@pytest.mark.parametrize("document", [LINEAGE, SUMMARY])
def test_a_file_that_was_changed_or_removed_is_named(store, document):
    client, run = store
    trained = TrainedModel(run, "models:/m-1", {}, 1, 0, "trees", {}, trusted_types=("a.B",))
    tags = log_lineage(client, run, Lineage("4f1d", {}, "service", "77c2", SPLIT, DAY[3])) | log_summary(
        client, run, trained
    )
    content = json.loads(read_file(client, run, document.path))
    write_file(client, run, document.path, json.dumps({**content, "trusted_types": ["evil.Type"]}).encode())
    with pytest.raises(RegistryError, match=f"{document.path} of run {run} was changed"):
        read(client, run, tags)
    other = client.create_run(client.get_run(run).info.experiment_id).info.run_id
    with pytest.raises(RegistryError, match=f"{document.path} of run {other} cannot be read"):
        open_documents(client, other, tags)(document)


def test_mlflow_shows_the_beginning_of_long_parameters_and_takes_any_name(store):
    client, run = store
    params = {f"parameter {n}": n for n in range(250)}
    log_values(client, run, params={**params, "words": LONG, "max(depth)": 3, "n" * 400: 1})
    shown = client.get_run(run).data.params
    assert len(shown) == 253
    assert shown["words"].endswith("… (20,000 characters)")
    assert (shown["max_depth_"], shown["n" * 200]) == ("3", "1")


def test_where_a_run_keeps_its_files_is_asked_once(store, monkeypatch):
    client, run = store
    write_file(client, run, "notes/a.txt", b"one")
    monkeypatch.setattr(client, "get_run", None)
    write_file(client, run, "notes/b.txt", b"two")
    assert [read_file(client, run, f"notes/{name}.txt") for name in "ab"] == [b"one", b"two"]
