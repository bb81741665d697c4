"""Some features looked up, others brought, without an application of the project's own: API and tables."""

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import yaml
from fastapi.testclient import TestClient
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.tidemill.serving.small_project import DEFINITIONS, KNOWN, add_model, crown, make_project
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.errors import ConfigError
from tidemill.features.feature_store import apply, materialise
from tidemill.features.project_features import feature_names
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project
from tidemill.scoring.execution.feature_values import FeatureKinds, FeatureValues, brought_values
from tidemill.scoring.score import score
from tidemill.scoring.scoring_job import ScoreRequest
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state
from tidemill.tasks.binary import Binary

pytestmark = pytest.mark.engine

AT = KNOWN + timedelta(hours=1)
TWO_DAYS = timedelta(days=2)
SKY = """Field(name="sky", dtype=String, tags={"categories": '["clear", "grey"]', "unseen": "flag"})"""
COLUMNS = """
keys:
- {name: depot, type: text, example: north, personal: true}
columns:
- {name: wind, type: number, required: false, personal: true}
- {name: size, type: text, categories: [S, L], unseen: refuse, example: S}
- {name: picture, type: list, length: 2, required: false}
"""
FRAME = pd.DataFrame(
    {
        "wind": [1.0, 9.0, 5.0, 2.0],
        "rain": [0.5, 2.0, 1.0, 0.0],
        "sky": ["clear", "grey", "grey", "clear"],
        "size": ["S", "L", "S", "L"],
        "picture.0": [0.0, 1.0, 0.0, 1.0],
        "picture.1": [1.0, 1.0, 0.0, 0.0],
    }
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("both") / "parcels").root
    views = DEFINITIONS.replace("import Float64", "import Float64, String").replace(
        'schema=[Field(name="wind", dtype=Float64), ', f'schema=[Field(name="wind", dtype=Float64), {SKY}, '
    )
    (root / "feature_repo" / "parcel_views.py").write_text(views)
    weather = pl.read_parquet(root / "data" / "weather.parquet")
    third = weather.head(1).with_columns(depot=pl.lit("east"))
    sky = pl.Series("sky", ["clear", "grey", "violet"])
    pl.concat([weather, third]).with_columns(sky).write_parquet(root / "data" / "weather.parquet")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["features"]["from"] = "both"
    del params["project"]["application"]
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "features.yaml").write_text(COLUMNS)
    project = load_project(root)
    apply(project)
    materialise(project, AT)
    open_state(project.state_url).close()
    encoded = ColumnTransformer(
        [("text", OneHotEncoder(handle_unknown="ignore"), ["sky", "size"])], remainder="passthrough"
    )
    model = make_pipeline(encoded, LogisticRegression()).fit(FRAME, [0, 1, 1, 0])
    crown(project, add_model(project, model, FRAME, Binary(""), {"picture": 2}))
    return project


def test_the_api_needs_no_code_and_takes_keys_and_features(project):
    assert feature_names(project) == ("wind", "sky", "rain", "size", "picture")
    instances = [
        {"depot": "north", "size": "S", "picture": [0.0, 1.0]},
        {"depot": "south", "size": "L", "picture": [1.0, 1.0], "wind": 3},
        {"depot": "east", "size": "S", "picture": [0.0, 1.0]},
    ]
    body = {"instances": instances, "at": AT.isoformat()}
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        answered = api.post("/predict", json=body)
        assert answered.status_code == 200, answered.text
        refused = api.post("/predict", json={"instances": [{**instances[0], "size": "XL"}]})
        unkeyed = api.post("/predict", json={"instances": [{"size": "S"}]})
    assert [one["flags"] for one in answered.json()["predictions"]] == [
        ["request:size", "request:picture"],
        ["request:wind", "request:size", "request:picture"],
        ["unseen:sky", "request:size", "request:picture"],
    ]
    assert (refused.status_code, refused.json()["detail"][0]["loc"][-1]) == (422, "size")
    assert (unkeyed.status_code, unkeyed.json()["detail"][0]["loc"][-1]) == (422, "depot")
    logged = read_predictions(project.predictions, project.model, KNOWN, AT + timedelta(hours=1))
    first = logged.filter(pl.col("feature.sky") == "violet")
    assert first["feature.picture"].to_list() == [[0.0, 1.0]]
    assert "north" not in json.dumps(logged["keys"].to_list())


TABLE = pl.DataFrame(
    {
        "depot": ["north", "south", "east", "north", "south"],
        "size": ["S", "L", "S", "XL", "S"],
        "picture": [[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], None, None],
        "wind": [None, 3.0, None, None, None],
        "event_timestamp": [AT] * 5,
    },
    schema_overrides={"event_timestamp": pl.Datetime("us", "UTC")},
)


@pytest.mark.parametrize("mode", ["keys", "online"])
def test_tables_are_scored_alike_and_refused_categories_set_aside(project, tmp_path, mode):
    TABLE.write_parquet(tmp_path / "in.parquet")
    request = ScoreRequest(
        (str(tmp_path / "in.parquet"),),
        str(tmp_path / "out"),
        features=mode,
        max_rejected=2,
        workers=0,
        keep=("depot",),
        log=mode == "keys",
    )
    outcome = score(project, request)
    assert outcome.manifest["rejected"] == 2
    rejects = "".join(file.read_text() for file in (tmp_path / "out").rglob("*reject*.ndjson"))
    assert "picture: the model gave nan where this is missing" in rejects
    found = pl.concat([pl.read_parquet(file) for file in sorted((tmp_path / "out").glob("*.parquet"))])
    assert dict(found.select("depot", "flags").rows()) == {
        "north": ["request:size", "request:picture"],
        "south": ["request:wind", "request:size", "request:picture"],
        "east": ["unseen:sky", "request:size", "request:picture"],
    }
    with TestClient(build_api(project, "r2"), raise_server_exceptions=False) as api:
        instances = [
            {name: value for name, value in row.items() if value is not None}
            for row in TABLE.drop("event_timestamp").head(3).to_dicts()
        ]
        answered = api.post("/predict", json={"instances": instances, "at": AT.isoformat()}).json()
    expected = [one["probability"] for one in answered["predictions"]]
    assert found["probability"].to_list() == pytest.approx(expected)
    assert len(set(np.round(expected, 6))) == 3


def test_features_given_as_columns_are_checked_for_categories(project, tmp_path):
    rows = pl.from_pandas(FRAME.drop(columns=["picture.0", "picture.1"])).with_columns(
        picture=pl.Series([[0, 1], [1, 1], [0, 0], [1, 0]]),
        size=pl.Series(["S", "L", "XL", None]),
        depot=pl.Series(["north", "south", "east", "west"]),
    )
    rows.write_parquet(tmp_path / "in.parquet")
    texts = pl.Series("picture", ["[0, 1]", "[1.0, 1]", "[0, 0]", " [1,0] "])
    rows.with_columns(texts).write_csv(tmp_path / "in.csv")
    answers = {}
    for name in ("in.parquet", "in.csv"):
        request = ScoreRequest(
            (str(tmp_path / name),),
            str(tmp_path / name.replace("in", "out")),
            features="columns",
            max_rejected=1,
            workers=0,
            keep=("rain",),
            at=AT + timedelta(days=1),
            log=True,
        )
        outcome = score(project, request)
        assert outcome.manifest["rejected"] == 1
        read = pl.read_parquet if name.endswith("parquet") else pl.read_csv
        answers[name] = read(tmp_path / name.replace("in", "out"))["probability"].to_list()
    assert len(answers["in.parquet"]) == 3
    assert answers["in.csv"] == pytest.approx(answers["in.parquet"])
    # A person can be found in the log to be erased, and is hidden in it, as with predictions of the API.
    logged = read_predictions(project.predictions, project.model, AT + timedelta(hours=2), AT + TWO_DAYS)
    hide = Pseudonymiser(load_key(project)).hide
    expected = [{"depot": hide(depot)} for depot in ("north", "south", "west")]
    assert [json.loads(keys) for keys in logged.sort("request_id", "prediction_id")["keys"]] == expected * 2
    assert logged["feature.wind"].null_count() == logged.height


@pytest.mark.parametrize(
    ("kind", "fits"), [("number", False), ("moment", False), ("text", True), ("integer", True)]
)
def test_a_key_of_another_type_than_the_stores_is_refused_with_both(project, kind, fits):
    file = project.root / "features.yaml"
    written = file.read_text()
    try:
        file.write_text(COLUMNS.replace("type: text, example: north", f"type: {kind}"))
        if fits:
            assert "depot" in request_fields(project)
            return
        said = f"key 'depot' is of type {kind} in .*features.yaml, and STRING in the feature store"
        with pytest.raises(ConfigError, match=said) as refused:
            project.load_application()
        assert refused.value.hint == "declare it as text or integer"
    finally:
        file.write_text(written)


def request_fields(project):
    return [field.alias for field in project.load_application().request.model_fields.values()]


def test_a_row_that_brings_all_of_a_view_is_not_flagged_as_lacking_it():
    """As in the API, which `StoreAndRequest` answers."""
    kinds = FeatureKinds(("wind", "rain"), (), {})
    flags = pl.Series("flags", [["missing:weather", "default:wind", "infinite:rain"]] * 3)
    table = pa.table({"wind": [1.0, 1.0, None], "rain": [2.0, None, None]})
    found = brought_values(
        FeatureValues(np.full((3, 2), np.nan), {}, flags), table, {"wind", "rain"}, kinds, {},
        views={"weather": ("wind", "rain"), "others": ()},
    )  # fmt: skip
    assert found.flags.to_list() == [
        ["request:wind", "request:rain"],
        ["missing:weather", "infinite:rain", "request:wind"],
        ["missing:weather", "default:wind", "infinite:rain"],
    ]
