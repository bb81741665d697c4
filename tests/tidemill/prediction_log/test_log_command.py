"""``tidemill log``, and labels by keys over HTTP, on a small project with a personal key."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from tests.tidemill.serving.small_project import KNOWN
from tidemill.cli.main import app
from tidemill.clock import SystemClock
from tidemill.errors import DataError
from tidemill.features.feature_store import apply
from tidemill.prediction_log import bulk_labels
from tidemill.prediction_log.bulk_labels import import_label_file
from tidemill.prediction_log.prediction_log import count_log, read_labelled
from tidemill.project import load_project
from tidemill.serving.runtime.replica.wiring import build_api

pytestmark = pytest.mark.engine
AT = KNOWN + timedelta(hours=1)


@pytest.fixture
def parcels_served(served_parcels):
    """The depot is personal; four parcels were predicted for, at two moments."""
    views = served_parcels.root / "feature_repo" / "parcel_views.py"
    personal = 'join_keys=["depot"], tags={"personal": "true"},'
    views.write_text(views.read_text().replace('join_keys=["depot"],', personal))
    apply(served_parcels)
    project = load_project(served_parcels.root)
    with TestClient(build_api(project, "r1")) as api:
        for hours in (0, 1):
            instances = [{"depot": "north"}, {"depot": "south"}]
            at = (AT + timedelta(hours=hours)).isoformat()
            assert api.post("/predict", json={"instances": instances, "at": at}).status_code == 200
        label = {"keys": {"depot": "north"}, "predicted_at": AT.isoformat(), "label": 1, "at": AT.isoformat()}
        assert api.post("/feedback", json={"labels": [label]}).json() == {"accepted": 1}
        for wrong in (
            {"label": 1},
            {"label": 1, "prediction_id": "p", "keys": {"depot": "north"}, "predicted_at": AT.isoformat()},
            {"label": 1, "prediction_id": "p", "predicted_at": AT.isoformat()},
            {"label": 1, "keys": {"depot": "north"}},
            {"label": 1, "keys": {}, "predicted_at": AT.isoformat()},
            {"label": 1, "keys": {"depot": ["north"]}, "predicted_at": AT.isoformat()},
            {"label": 1, "keys": {"depot": 10**400}, "predicted_at": AT.isoformat()},
        ):
            assert api.post("/feedback", json={"labels": [wrong]}).status_code == 422, wrong
    return project


@pytest.fixture
def tidemill(parcels_served):
    def run(*arguments, code=0):
        done = CliRunner().invoke(
            app, ["log", *arguments, "-p", str(parcels_served.root)], env={"COLUMNS": "200"}
        )
        if code == 0 and done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.stdout if code == 0 else done

    return run


def labels(project) -> dict[tuple[str, int], int]:
    found = read_labelled(
        project.predictions, project.model, KNOWN, KNOWN + timedelta(days=1), KNOWN + timedelta(days=9)
    )
    names = {"1.0": "north", "9.0": "south"}
    return {
        (names[str(row["feature.wind"])], (row["at"] - AT).seconds // 3600): row["label"]
        for row in found.to_dicts()
    }


def test_from_answers_to_labels_to_parquet_to_nothing(parcels_served, tidemill, tmp_path):
    project = parcels_served
    assert labels(project) == {("north", 0): 1}
    assert "north" not in "".join(path.read_text() for path in project.predictions.rglob("*.ndjson"))

    file = tmp_path / "late.csv"
    pl.DataFrame(
        {
            "depot": ["south", "north", "west"],
            "predicted_at": [(AT + timedelta(hours=1)).isoformat()] * 3,
            "label": [0, 1, 1],
            "at": [(AT + timedelta(hours=5)).isoformat()] * 3,
        }
    ).write_csv(file)
    assert json.loads(tidemill("labels", str(file), "--json")) == {
        "labels": 3,
        "by_keys": 3,
        "keys": ["depot"],
        "unmatched": 1,
        "blank": 0,
        "unnamed": 0,
    }
    assert "by depot and predicted_at; without a prediction in the log: 1" in tidemill("labels", str(file))
    assert labels(project) == {("north", 0): 1, ("south", 1): 0, ("north", 1): 1}

    status = json.loads(tidemill("status", "--json"))
    assert (status["predictions"], status["labels"], status["unmatched"], status["torn"]) == (4, 4, 1, 0)
    assert status["files"]["predictions"] | {"segment_bytes": 0} == {
        "segments": 1, "segment_bytes": 0, "parts": 0, "part_rows": 0, "part_bytes": 0,
    }  # fmt: skip
    assert json.loads(tidemill("compact", "--json"))["rows"] == 11
    after = json.loads(tidemill("status", "--json"))
    assert (after["files"]["predictions"]["parts"], after["files"]["predictions"]["segments"]) == (1, 0)
    assert after | {"files": 0} == status | {"files": 0}
    assert "4 predictions, 2013-04-01 13:00 to 2013-04-01 14:00; 4 labels" in tidemill("status")
    assert labels(project) == {("north", 0): 1, ("south", 1): 0, ("north", 1): 1}

    shown = json.loads(tidemill("show", "--json", "--last", "2"))
    assert [row["role"] for row in shown] == ["champion", "champion"]
    assert shown[0]["prediction_id"] in tidemill("show")
    one = json.loads(tidemill("show", shown[0]["prediction_id"], "--json"))
    assert (one["features"].keys(), len(one["labels"])) == ({"wind", "rain"}, 2)

    planned = json.loads(tidemill("prune", "--before", "2013-04-02", "--dry-run", "--json"))
    assert (planned["predictions"], planned["labels"], planned["dates"]) == (4, 7, ["2013-04-01"])
    assert "4 predictions and 7 labels" in tidemill("prune", "--before", "2013-04-02")
    assert json.loads(tidemill("status", "--json"))["predictions"] == 0
    assert tidemill("prune", code=1).exit_code != 0
    params = project.root / "params.yaml"
    declared = yaml.safe_load(params.read_text())
    declared["serve"]["log"] = {"retention_days": 30}
    params.write_text(yaml.safe_dump(declared))
    assert json.loads(tidemill("prune", "--json"))["predictions"] == 0


LAST = datetime(9999, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prediction_id": ["p"]}, "no column `label`"),
        ({"label": [1]}, "does not say which predictions"),
        ({"label": [1], "depot": ["north"]}, "does not say which predictions"),
        ({"label": [1], "prediction_id": ["p"], "depot": ["north"]}, "both by id and by keys"),
        (
            {"label": [1], "predicted_at": ["2013-04-01T12:00Z"], "depot": ["north"], "city": ["Oslo"]},
            "have no key city; they have: depot, weight, pickup",
        ),
        (
            {"label": [2, 1, 0, 2, 3], "prediction_id": list("pqrst")},
            "3 of 5 labels are not 0 or 1: 2 (2), 3 (1)",
        ),
        ({"label": [0.5, 1.0], "prediction_id": ["p", "q"]}, "1 of 2 labels is not 0 or 1: 0.5 (1)"),
        (
            {"label": [None, None], "prediction_id": ["p", "q"]},
            "wrong.parquet has no label in any of its 2 rows",
        ),
        (
            {"label": ["1", "yes"], "prediction_id": ["p", "q"]},
            "1 of 2 labels is not 0 or 1: 'yes' (1); the first is in row 2",
        ),
        (
            {"label": [1, None], "prediction_id": [None, "p"]},
            "wrong.parquet has no prediction_id in any row with a label",
        ),
        (
            {"label": [1], "depot": ["north"], "predicted_at": ["noon"]},
            "row 1: predicted_at 'noon' is not a moment",
        ),
        ({"label": [1], "prediction_id": ["p"], "at": ["9999-12-31T23:00-05:00"]}, "is not a moment of the"),
        ({"label": [1], "prediction_id": ["p"], "at": [LAST]}, "'9999-12-31 23:00:00.000000+00:00' is not a"),
    ],
)
def test_a_file_that_is_no_labels_is_refused_whole(served_parcels, tmp_path, columns, message):
    file = tmp_path / "wrong.parquet"
    pl.DataFrame(columns).write_parquet(file)
    with pytest.raises(DataError) as refused:
        import_label_file(served_parcels, file, SystemClock())
    assert message in str(refused.value)
    assert count_log(served_parcels.predictions, served_parcels.model).labels == 0


def test_a_file_that_names_no_predictions_is_told_by_what_it_has():
    with pytest.raises(DataError) as refused:
        bulk_labels._keys_of(Path("late.csv"), ["id", "label"])
    assert refused.value.hint.endswith("it has: id, label")


def test_an_error_names_the_row_of_the_file(served_parcels, tmp_path, monkeypatch):
    """Also behind the first batch of rows that are read at once."""
    monkeypatch.setattr(bulk_labels, "_ROWS", 7)
    wrong_values = {
        "at": ("noon", "row {row}: at 'noon' is not a moment"),
        "label": ("7", "the first is in row {row}"),
    }
    right = pl.DataFrame({"label": ["1"] * 20, "at": ["2013-04-01T06:00Z"] * 20})
    right = right.with_columns(prediction_id=pl.format("p{}", pl.int_range(pl.len())))
    for column, (value, message) in wrong_values.items():
        for row in (1, 7, 8, 20):
            here = pl.int_range(pl.len()) == row - 1
            rows = right.with_columns(pl.when(here).then(pl.lit(value)).otherwise(column).alias(column))
            rows.write_csv(tmp_path / "labels.csv")
            rows.write_parquet(tmp_path / "labels.parquet")
            rows.write_ndjson(tmp_path / "labels.ndjson")
            for kind in ("csv", "parquet", "ndjson"):
                with pytest.raises(DataError) as refused:
                    import_label_file(served_parcels, tmp_path / f"labels.{kind}", SystemClock())
                assert message.format(row=row) in str(refused.value)


def test_the_command_says_how_many_rows_name_no_prediction(served_parcels, tmp_path):
    (tmp_path / "late.csv").write_text("prediction_id,label\np,1\n,0\n")
    ran = CliRunner().invoke(
        app, ["log", "labels", str(tmp_path / "late.csv"), "-p", str(served_parcels.root)]
    )
    assert ran.exit_code == 0, ran.output
    assert "set aside, as they have no prediction_id: 1 row" in ran.output
    (tmp_path / "late.csv").write_text("prediction_id,label\n,1\n,0\n")
    ran = CliRunner().invoke(
        app, ["log", "labels", str(tmp_path / "late.csv"), "-p", str(served_parcels.root)]
    )
    assert ran.exit_code != 0


def test_keys_may_be_called_like_the_columns_of_the_file(served_parcels, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk_labels, "_known_keys", lambda project: ("at", "label", "depot"))
    file = tmp_path / "labels.csv"
    file.write_text("key.at,key.label,depot,predicted_at,label\n5,x,north,2013-04-01T12:00Z,1\n")
    done = import_label_file(served_parcels, file, SystemClock())
    assert done.keys == ("at", "label", "depot")
    [segment] = (served_parcels.predictions / served_parcels.model / "labels").rglob("*.ndjson")
    assert json.loads(segment.read_text())["keys"].keys() == {"at", "label", "depot"}
