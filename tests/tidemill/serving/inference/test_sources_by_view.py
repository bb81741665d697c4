"""Features from the store or from the request by view, with the real stores."""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from tests.tidemill.serving.small_project import DEFINITIONS, KNOWN, add_version, crown, make_project
from tidemill.cli.main import app
from tidemill.cli.skew import _notes
from tidemill.errors import ConfigError, TidemillError
from tidemill.features.by_view.view_sources import requested_views
from tidemill.features.feature_status import feature_status
from tidemill.features.feature_store import apply, materialise, open_store
from tidemill.features.online.freshness import freshness
from tidemill.features.project_features import feature_names, features_digest, lookup_columns
from tidemill.monitoring.kinds.feature_skew import _too_few_to_compare
from tidemill.monitoring.quality.skew_monitor import LogSlice, measure_skew
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.project import load_project, open_folder
from tidemill.registry.deployments import DeployRequest, deploy, stop
from tidemill.scoring.score import score
from tidemill.scoring.scoring_job import ScoreRequest
from tidemill.serving.inference.feature_readers import open_reader
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.serving.runtime.replica.worker_wiring import build_worker
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


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


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
    values = sorted(
        logged(project).select("feature.wind", "feature.size", "feature.height", "feature.load").rows()
    )
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


@pytest.mark.parametrize("mode", ["keys", "online"])
def test_tables_bring_the_views_of_the_request_too(project, tmp_path, mode):
    table = pl.DataFrame(
        {"depot": ["south", "north", "north"], "size": [2.0, 4.0, None], "haste": [1.0, 1.0, 1.0]}
    ).with_columns(pl.Series("event_timestamp", [AT] * 3, pl.Datetime("us", "UTC")))
    table.with_columns(height=pl.Series([3.0, None, 3.0])).write_parquet(tmp_path / "in.parquet")
    table.drop("size").write_parquet(tmp_path / "lacking.parquet")

    def request(name):
        files = (str(tmp_path / f"{name}.parquet"),), str(tmp_path / f"out_{name}")
        return ScoreRequest(*files, features=mode, keep=("depot",), max_rejected=1, workers=0, log=True)

    with pytest.raises(TidemillError, match="size"):
        score(project, request("lacking"))
    before = logged(project)
    outcome = score(project, request("in"))
    assert outcome.manifest["rejected"] == 1
    rejects = "".join(file.read_text() for file in (tmp_path / "out_in").rglob("*reject*.ndjson"))
    assert "size is missing" in rejects
    found = pl.concat([pl.read_parquet(file) for file in (tmp_path / "out_in").glob("*.parquet")])
    flags = dict(found.select("depot", "flags").rows())
    assert set(flags["south"]) == {"request:size", "request:height"}
    assert set(flags["north"]) == {"request:size", "request:height", "default:height"}
    rows = logged(project).join(before.select("prediction_id"), on="prediction_id", how="anti")
    values = sorted(rows.select("feature.wind", "feature.size", "feature.height", "feature.load").rows())
    assert values == [(1.0, 4.0, 7.0, None), (9.0, 2.0, 3.0, 19.0)]


def logged(project):
    return read_predictions(project.predictions, project.model, AT, AT + timedelta(minutes=1))


def test_skew_does_not_compare_what_was_brought(project):
    with TestClient(build_api(project, "r3")) as api:
        rows = [{"depot": "south", "size": 2, "height": 3, "haste": 1}, {"depot": "north", "size": 4.0}]
        asked = {"instances": rows, "at": KNOWN.isoformat()}  # the offline store has nothing later
        assert api.post("/predict", json=asked).status_code == 200
    report = measure_skew(project, LogSlice(KNOWN, KNOWN + timedelta(minutes=1)), 0.01)
    assert [one.feature for one in report.features if one.differing] == []
    found = {one.feature: (one.rows, one.brought, one.not_comparable_yet) for one in report.features}
    assert found == dict.fromkeys(("wind", "rain"), (2, 0, 0)) | dict.fromkeys(
        ("size", "height", "load"), (0, 2, 0)
    )
    assert _too_few_to_compare(report, 2) is None, "what is brought lacks nothing"
    assert "2 agree in all rows compared, 0 differ, 0 could not be compared" in _notes(report)[0]
    assert set(_notes(report)[1].partition(": ")[2].split(", ")) == {"size", "height", "load"}


def test_what_comes_in_the_request_is_neither_filled_nor_aged_and_that_is_said(project):
    assert materialise(project, AT) == {"weather": 2}
    ages = feature_status(open_folder(project.root), AT)
    assert [(one.view, one.state, one.keys) for one in ages] == [
        ("weather", "fresh", 2),
        ("sizes", "request", None),
    ]
    unread = requested_views(project).unread
    assert freshness(open_store(project), "parcels", AT, sources=True, unread=unread) == ages
    said = "sizes: left out, as it comes in the request"
    for command in ("status", "materialise"):
        shown = CliRunner().invoke(
            app, ["features", command, "-p", str(project.root)], env={"COLUMNS": "200"}
        )
        assert said in shown.stdout, shown.output
    with TestClient(build_api(project, "r4")) as api:
        told = api.get("/metrics").text
    assert 'tidemill_feature_keys{view="weather"} 2' in told
    assert 'view="sizes"' not in told
    both = say(project.root, {"sizes": "both"})
    assert [one.state for one in feature_status(open_folder(both.root), AT)] == ["fresh", "empty"]
    assert materialise(both, AT) == {"weather": 2, "sizes": 1}


def test_a_view_that_only_a_brought_on_demand_view_reads_is_not_looked_up(root):
    columns = yaml.safe_load(COLUMNS)
    columns["columns"].append({"name": "load", "type": "number"})
    text = yaml.safe_dump(columns)
    assert requested_views(say(root, {"sizes": "request", "load": "request"}, text)).unread == {"sizes"}
    assert requested_views(say(root, {"default": "both"}, text)).unread == set()


def test_jobs_bring_the_views_of_the_request_too(project):
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["serve"]["jobs"] = {"enabled": True, "chunk_rows": 2}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    project = load_project(project.root)
    rows = [{"depot": "south", "size": number, "haste": 1} for number in (1, 2, 3)]
    with TestClient(build_api(project, "r5"), raise_server_exceptions=False) as api:
        lacking = api.post("/jobs", json=body({"depot": "south"}))
        assert (lacking.status_code, lacking.json()["detail"][0]["loc"][-1]) == (422, "size")
        accepted = api.post("/jobs", json=body(*rows))
        build_worker(project, "w1", threading.Event())[0].run(accepted.json()["id"])
        done = api.get(f"{accepted.headers['location']}/result").json()["predictions"]
    assert [one["flags"] for one in done] == [["default:height", "request:size", "request:height"]] * 3
    made = logged(project).filter(pl.col("request_id") == accepted.json()["id"])
    assert made["feature.load"].sort().to_list() == [None] * 3  # of a height that is not known


def test_redis_is_asked_for_the_other_views_alone(project, redis_address):
    file = project.root / "feature_repo" / "feature_store.yaml"
    ours = file.read_text()
    settings = yaml.safe_load(ours)
    settings["online_store"] = {
        "type": "tidemill.features.online.RedisOnlineStore", "connection_string": redis_address
    }  # fmt: skip
    file.write_text(yaml.safe_dump(settings))
    try:
        assert materialise(project, AT) == {"weather": 2}
        row = {"depot": "south", "size": 2.0, "height": 3.0, "haste": 1.0}
        (found,) = open_reader(project).read([row], [AT])
        ages = feature_status(open_folder(project.root), AT)
    finally:
        file.write_text(ours)
    assert found.values == {"wind": 9.0, "rain": 2.0, "size": 2.0, "height": 3.0, "load": 19.0}
    assert [(one.view, one.state) for one in ages] == [("weather", "fresh"), ("sizes", "request")]


def test_a_canary_and_a_shadow_get_what_the_request_brings(project):
    second = add_version(project, 0.3, feature_names(project))
    asked = AT + timedelta(minutes=2)
    row = {"depot": "south", "size": 2, "height": 3, "haste": 1}
    with TestClient(build_api(project, "r6")) as api, closing(open_state(project.state_url)) as state:
        for role, share in (("shadow", 1.0), ("canary", 0.5)):
            deploy(project, state, DeployRequest(role, second, share, "ada", "to see"), datetime.now(UTC))
        until(lambda: [one["loaded"] for one in api.get("/model").json()["lanes"]] == [True, True])
        rows = [{**row, "depot": "abcdefgh"[number % 8] * (1 + number // 8)} for number in range(20)]
        answered = api.post("/predict", json={"instances": rows, "at": asked.isoformat()}).json()
        by_champion = [one["model_version"] for one in answered["predictions"]].count("1")
        assert 0 < by_champion < 20

        def copies():
            span = asked, asked + timedelta(minutes=1)
            made = read_predictions(project.predictions, project.model, *span, include_shadows=True)
            return made.filter(pl.col("role") == "shadow")

        until(lambda: len(copies()) == 20)  # of those that the canary answers, too
        assert copies().select("version", "feature.size", "feature.height").unique().rows() == [
            (second, 2.0, 3.0)
        ]
        assert set(copies()["flags"].explode()) >= {"request:size", "request:height"}
        stop(project, state, ("shadow", "canary"), "seen", "ada")
