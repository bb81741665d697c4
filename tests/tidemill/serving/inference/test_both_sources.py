"""Features from the store and from the request, with the real online store: the request's values win."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient

from tests.tidemill.serving.small_project import DEFINITIONS, KNOWN, add_version, crown, make_project
from tidemill.errors import UsageError
from tidemill.features.feature_store import apply
from tidemill.features.project_features import feature_names
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project
from tidemill.scoring.score import score
from tidemill.scoring.scoring_job import ScoreRequest
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state

pytestmark = pytest.mark.engine

LOAD = """
from feast import RequestSource
from feast.on_demand_feature_view import on_demand_feature_view


@on_demand_feature_view(
    sources=[weather, RequestSource(name="order", schema=[Field(name="size", dtype=Float64)])],
    schema=[Field(name="load", dtype=Float64)],
    mode="python",
    singleton=True,
)
def load(row):
    return {"load": None if row["size"] is None else row["wind"] * row["size"]}


parcels = FeatureService(name="parcels", features=[weather, load])
"""


@pytest.fixture
def project(tmp_path):
    root = make_project(tmp_path / "parcels").root
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["features"]["from"] = "both"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "features.yaml").write_text(
        "columns:\n- {name: wind, type: number}\n- {name: size, type: number}\n"
    )
    (root / "feature_repo" / "parcel_views.py").write_text(DEFINITIONS + LOAD)
    project = load_project(root)
    apply(project)
    open_state(project.state_url).close()
    crown(project, add_version(project, 0.7, feature_names(project)))
    return project


def test_values_of_the_request_win_and_the_log_says_which(project):
    assert feature_names(project) == ("wind", "rain", "load", "size")
    at = KNOWN + timedelta(hours=1)
    instances = [{"depot": "north"}, {"depot": "south", "wind": 5}, {"depot": "east", "wind": 6.0, "size": 2}]
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        answered = api.post("/predict", json={"instances": instances, "at": at.isoformat()})
        assert answered.status_code == 200, answered.text
        refused = api.post("/predict", json={"instances": [{"depot": "north", "wind": "strong"}]})
    predictions = answered.json()["predictions"]
    assert [one["flags"] for one in predictions] == [
        [],
        ["request:wind"],
        ["missing:weather", "default:rain", "request:wind", "request:size"],
    ]
    assert predictions[0]["decision"] == {"advice": "phone ahead"}
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "instances", 0, "wind"]
    logged = read_predictions(project.predictions, project.model, KNOWN, datetime(2100, 1, 1, tzinfo=UTC))
    values = sorted(logged.select("feature.wind", "feature.rain", "feature.load").rows())
    assert values == [(1.0, 0.5, None), (5.0, 2.0, None), (6.0, 0.0, 12.0)]  # the load of its own wind


def test_a_table_that_brings_what_an_on_demand_view_reads_is_refused(project, tmp_path):
    table = pl.DataFrame({"depot": ["north"], "wind": [9.0], "size": [2.0]})
    table.with_columns(event_timestamp=KNOWN + timedelta(hours=1)).write_parquet(tmp_path / "in.parquet")
    rows, out = (str(tmp_path / name) for name in ("in.parquet", "out"))
    for mode in ("keys", "online"):
        request = ScoreRequest((rows,), out, features=mode, workers=0)
        with pytest.raises(UsageError, match="the rows bring wind, from which on-demand views compute"):
            score(project, request)
