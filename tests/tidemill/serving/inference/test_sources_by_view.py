"""Features from the store or from the request by view, with the real stores."""

from datetime import timedelta

import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient

from tests.tidemill.serving.small_project import DEFINITIONS, KNOWN, add_version, crown, make_project
from tidemill.errors import ConfigError
from tidemill.features.feature_store import apply, materialise
from tidemill.features.project_features import feature_names, features_digest, lookup_columns
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project
from tidemill.serving.inference.feature_readers import open_reader
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state

pytestmark = pytest.mark.engine

AT = KNOWN + timedelta(hours=1)
VIEWS = """
from feast import RequestSource
from feast.types import String
from feast.on_demand_feature_view import on_demand_feature_view

order = Entity(name="order", join_keys=["order"], value_type=ValueType.STRING)
sizes = FeatureView(
    name="sizes",
    entities=[order],
    schema=[Field(name="size", dtype=Float64), Field(name="height", dtype=Float64, tags={"default": "7.0"})],
    source=FileSource(path="../data/sizes.parquet", timestamp_field="event_timestamp"),
)


@on_demand_feature_view(
    sources=[weather, sizes, RequestSource(name="haste", schema=[Field(name="haste", dtype=Float64)])],
    schema=[Field(name="load", dtype=Float64)],
    mode="python",
    singleton=True,
)
def load(row):
    return {"load": None if None in row.values() else row["wind"] * row["size"] + row["haste"]}


parcels = FeatureService(name="parcels", features=[weather, sizes, load])
"""
COLUMNS = """
keys:
- {name: depot, type: text, example: north}
- {name: haste, type: number, required: false}
columns:
- {name: size, type: number, example: 2.5}
- {name: height, type: number, required: false}
"""
NAMES = ("wind", "rain", "size", "height", "load")


def say(root, given, columns=COLUMNS, own=False):
    """Write where features come from; return the project."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["features"]["from"] = given
    params["project"].pop("application", None)
    if own:
        params["project"]["application"] = "parcels_app:application"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "features.yaml").write_text(columns)
    return load_project(root)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("by_view") / "parcels").root
    (root / "feature_repo" / "parcel_views.py").write_text(DEFINITIONS + VIEWS)
    known = pl.Series("event_timestamp", [KNOWN], pl.Datetime("us", "UTC"))
    sizes = pl.DataFrame({"order": ["a"], "size": [100.0], "height": [100.0]}).with_columns(known)
    sizes.write_parquet(root / "data" / "sizes.parquet")
    project = say(root, {"sizes": "request"})
    apply(project)
    materialise(project, AT)
    open_state(project.state_url).close()
    crown(project, add_version(project, 0.7, feature_names(project)))
    return root


@pytest.fixture
def project(root):
    return say(root, {"sizes": "request", "default": "store"})


def body(*instances):
    return {"instances": list(instances), "at": AT.isoformat()}


def test_a_view_of_the_request_is_not_looked_up_and_its_columns_are_required(project):
    assert feature_names(project) == NAMES
    assert lookup_columns(project) == ("depot", "haste", "size", "height")  # no order
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        whole = {"depot": "south", "size": 2, "height": 3, "haste": 1}
        answered = api.post("/predict", json=body(whole, {"depot": "north", "size": 4.0}))
        assert answered.status_code == 200, answered.text
        lacking, stored, wrong = (
            api.post("/predict", json=body(instance))
            for instance in (
                {"depot": "north"}, {"depot": "north", "size": 1, "wind": 3}, {"depot": "north", "size": "L"}
            )
        )  # fmt: skip
        schema = api.get("/openapi.json").json()["components"]["schemas"]["Instance"]
        tensors = {
            "inputs": [
                {"name": "depot", "datatype": "BYTES", "shape": [1], "data": ["south"]},
                {"name": "size", "datatype": "FP64", "shape": [1], "data": [2.0]},
            ]
        }
        inferred = api.post(f"/v2/models/{project.model}/infer", json=tensors)
        assert inferred.status_code == 200, inferred.text
        assert api.post(f"/v2/models/{project.model}/infer", json={"inputs": tensors["inputs"][:1]}).is_error
        scored = api.post("/invocations", json={"dataframe_records": [{"depot": "north", "size": 1.0}]})
        assert scored.status_code == 200, scored.text
        assert api.post("/invocations", json={"dataframe_records": [{"depot": "north"}]}).status_code == 400
    assert [one["flags"] for one in answered.json()["predictions"]] == [
        ["request:size", "request:height"],
        ["default:height", "request:size", "request:height"],
    ]
    assert set(schema["required"]) == {"depot", "size"}
    said = [(one.status_code, one.json()["detail"][0]["loc"][-1]) for one in (lacking, stored, wrong)]
    assert said == [(422, "size"), (422, "wind"), (422, "size")]
    logged = read_predictions(project.predictions, project.model, AT, AT + timedelta(minutes=1))
    values = sorted(logged.select("feature.wind", "feature.size", "feature.height", "feature.load").rows())
    assert values == [(1.0, 4.0, 7.0, None), (9.0, 2.0, 3.0, 19.0)]


def test_an_application_of_the_projects_own_asks_for_the_columns_too(root):
    project = say(
        root, {"sizes": "request", "weather": "both"}, COLUMNS + "- {name: wind, type: number}\n", True
    )
    fields = project.load_application().request.model_fields
    assert {name: fields[name].is_required() for name in ("depot", "size", "height", "wind")} == {
        "depot": True, "size": True, "height": False, "wind": False
    }  # fmt: skip
    row = {"depot": "north", "size": 2.0, "height": 3.0, "haste": 0.0}
    rows = [row, {**row, "wind": 5}]
    looked_up, brought = open_reader(project).read(rows, [AT, AT])
    assert (looked_up.values["wind"], looked_up.values["load"]) == (1.0, 2.0)
    assert (brought.values["wind"], brought.values["load"]) == (5.0, 10.0)
    assert [("request:wind" in row.flags) for row in (brought, looked_up)] == [True, False]


def test_where_all_views_come_in_the_request_no_key_is_needed(root):
    both = "columns: [{name: wind, type: number}, {name: rain, type: number}, {name: load, type: number}]"
    columns = yaml.safe_load(both)["columns"] + yaml.safe_load(COLUMNS)["columns"]
    project = say(root, {"default": "request"}, yaml.safe_dump({"columns": columns}))
    assert set(lookup_columns(project)) == {*NAMES}
    row = {"wind": 1.0, "rain": None, "size": 2.0, "height": None, "load": 5.0}
    project.load_application().request.model_validate(
        {k: v for k, v in row.items() if v is not None} | {"rain": 1}
    )
    (found,) = open_reader(project).read([row], [AT])
    assert found.values == {"wind": 1.0, "rain": 0.0, "size": 2.0, "height": 7.0, "load": 5.0}
    assert not any(flag.startswith("missing") for flag in found.flags)


@pytest.mark.parametrize(
    ("given", "columns", "said", "hint"),
    [
        (
            {"wether": "both"},
            COLUMNS,
            "names 'wether', and service 'parcels' has no such view",
            "weather, sizes, load",
        ),
        (
            {"weather": "request", "sizes": "request"},
            COLUMNS,
            "'weather' come in the request .* wind, rain",
            "name: wind",
        ),
        (
            {"sizes": "store", "weather": "both"},
            COLUMNS,
            "lists size, height, but .* 'sizes' come from the store",
            "request or both",
        ),
    ],
)
def test_what_contradicts_the_views_is_named(root, given, columns, said, hint):
    project = say(root, given, columns)
    with pytest.raises(ConfigError, match=said) as caught:
        open_reader(project)
    assert hint in caught.value.hint


def test_another_source_is_another_meaning_of_the_features(root):
    digests = [
        features_digest(say(root, given)) for given in ("both", {"sizes": "request"}, {"sizes": "both"})
    ]
    assert len(set(digests)) == 3
