"""Scoring one batch: what its columns may be called."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from tidemill.errors import UsageError
from tidemill.project.feature_columns import FeatureColumn
from tidemill.scoring.execution.batch_rows import Parts, score_batch
from tidemill.scoring.execution.input_columns import shared_types
from tidemill.scoring.input.fragments import examine, fragments_of
from tidemill.scoring.input.row_reading import Batch, Columns, read
from tidemill.scoring.input.table_places import find_files, locate
from tidemill.scoring.output.publishing import missing_features
from tidemill.scoring.scoring_job import Job
from tidemill.tasks.binary import Binary

NAMES = (
    "prediction_id",
    "model_version",
    "probability",
    "decision",
    "flags",
    "score",
    "label",
    "version",
    "at",
    "keys",
    "event_timestamp",
    "row",
    "date",
)


MODEL = SimpleNamespace(
    score=lambda rows: np.nan_to_num(rows).sum(axis=1) / 1e4,
    by_name=None,
    words=(),
    lists={},
    mixed=None,
    task=Binary("roc_auc"),
)


def job_of(table, features, kind="parquet"):
    return Job(
        id="score_0123456789abcdef",
        started_at=datetime(2013, 4, 1, tzinfo=UTC),
        model="delay",
        version="3",
        mode="columns",
        features=features,
        service=None,
        definition=None,
        at_column=None,
        at=None,
        keep=("id",),
        rename={},
        decide=False,
        format=kind,
        log=False,
        schema=table.schema,
        files=(),
        fragments=(),
        code={},
    )


def test_what_a_request_refuses_is_set_aside():
    table = pa.table(
        {
            "id": [1, 2, 3, 4, 5],
            "wind": ["1.5", "", "1e39", "2", None],
            "floors": ["3", "4", "5", "1" + 30 * "0", ""],
        }
    )
    columns = [FeatureColumn("wind", "number"), FeatureColumn("floors", "integer", required=False)]
    parts = Parts(job_of(table, ("wind", "floors")), MODEL, columns=columns, required=["wind"])
    found = score_batch(parts, Batch("rows", table, np.arange(5)), 0, 0)
    assert found.table["id"].to_pylist() == [1]
    assert {one.row: one.reason for one in found.rejects} == {
        1: "wind is missing; `required: false` in features.yaml allows gaps",
        2: "wind: 1e+39 does not lie within ±3.403e+38",
        3: "floors: 1e+30 is beyond 64 bits",
        4: "wind is missing; `required: false` in features.yaml allows gaps",
    }


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_feature_may_be_called_like_a_column_of_the_output(kind):
    columns = {name: pa.array(np.arange(4.0) + 10 * number) for number, name in enumerate(NAMES)}
    table = pa.table({"id": [7, 8, 9, 10], **columns})
    found = score_batch(Parts(job_of(table, NAMES, kind), MODEL), Batch("rows", table, np.arange(4)), 0, 0)
    assert found.rejects == []
    assert found.table.column_names == ["id", "prediction_id", "model_version", "probability", "flags"]
    expected = sum(np.asarray(column) for column in columns.values()) / 1e4
    assert found.table["probability"].to_numpy() == pytest.approx(expected)
    assert found.table["model_version"].to_pylist() == ["3"] * 4
    assert (
        found.features.matrix == np.column_stack([np.asarray(column) for column in columns.values()])
    ).all()


def test_a_feature_that_rows_may_leave_out_is_missing_where_a_file_lacks_it(tmp_path):
    (tmp_path / "1.csv").write_text("id,wind\n1,2.0\n")
    (tmp_path / "2.csv").write_text("id,wind,rain\n2,3.0,40\n")
    files, shapes = find_files(locate("*.csv", tmp_path)), [["id", "wind"], ["id", "wind", "rain"]]
    files = [replace(file, header=tuple(names)) for file, names in zip(files, shapes, strict=True)]
    schemas = [pa.schema([(name, pa.string()) for name in names]) for names in shapes]
    with pytest.raises(UsageError, match=r"1\.csv lacks columns that .*: rain"):
        shared_types(files, schemas, ["id", "wind", "rain"])
    schema = shared_types(files, schemas, ["id", "wind", "rain"], ["rain"])
    assert schema.names == ["id", "wind", "rain"]
    rows = list(read(files, fragments_of(files, examine(files), 9)[0], Columns(schema)))
    assert [row for batch in rows for row in batch.table["rain"].to_pylist()] == [None, "40"]
    table = pa.table({"id": [1], "wind": [2.0]})
    job = job_of(table, ("wind", "rain"))
    assert score_batch(Parts(job, MODEL), Batch("f", table, np.arange(1)), 0, 0).answers.tolist() == [2e-4]
    assert missing_features(job) == ["rain"]
