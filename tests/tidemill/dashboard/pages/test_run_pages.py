import json
import re
from html import unescape

import pytest

from tests.tidemill.dashboard.conftest import PARAMS
from tests.tidemill.dashboard.pages.mlflow_store import open_store
from tidemill.files.locks import locked
from tidemill.state.tables import Turn
from tidemill.training.tracking import run_reading
from tidemill.training.tracking.mlflow_tracking import END, PARENT, ROLE, artifact_location, connect
from tidemill.training.tracking.run_files import write_file
from tidemill.training.tracking.run_values import FRONT, ORIGIN_PREFIX, TURN

NASTY = "<script>alert(1)</script>"


@pytest.fixture
def tracked(installation):
    """A search with three trials, and a run of somebody's own, in MLflow's store; run name → id."""
    client = open_store(installation.home)
    experiment = client.create_experiment("parcels", artifact_location(installation.home))
    made = {}

    def run(name, tags, params, metrics):
        made[name] = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        for key, value in params.items():
            client.log_param(made[name], key, value)
        for key, value in metrics.items():
            client.log_metric(made[name], key, value)
        client.set_terminated(made[name])

    lineage = {"tidemill.lineage.git_commit": "4f1d22aa", "tidemill.lineage.feature_service": "request"}
    run("search", {ROLE: "search", **lineage}, {"depth": 5}, {"holdout_roc_auc": 0.71})
    for number, depth in enumerate((3, 5, 9)):
        tags = {ROLE: "trial", PARENT: made["search"], END: "all rounds"}
        run(
            f"trees-{number}", tags, {"depth": depth, "rounds": 10}, {"validation_roc_auc": 0.6 + depth / 100}
        )
    run(NASTY, {}, {"depth": 3}, {"holdout_roc_auc": float("nan")})
    client.create_registered_model("parcel-delay")
    client.create_model_version("parcel-delay", "file:///nowhere", made["search"])
    return made


def test_the_list_shows_searches_with_version_and_data(browser, tracked):
    page = browser.get("/models/parcel-delay/runs")
    assert page.status_code == 200, page.text
    assert "trees-0" not in page.text
    assert NASTY not in page.text
    assert "&lt;script&gt;" in page.text
    found = browser.get("/api/v1/models/parcel-delay/runs?order=best").json()
    assert [one["name"] for one in found["runs"]] == ["search", NASTY]
    [search, own] = found["runs"]
    assert (search["score"], search["versions"], search["data_revision"]) == (0.71, ["1"], "4f1d22aa")
    assert (own["score"], own["versions"]) == (None, [])


def test_plain_runs_of_other_experiments_stand_in_the_list_where_they_began_in_the_project(
    browser, installation, tracked
):
    client = connect(installation.home)
    script = client.create_experiment("own scripts")
    for project, name, value in (("parcels", "script", 0.75), ("others", "foreign", 0.9)):
        made = client.create_run(script, run_name=name, tags={f"{ORIGIN_PREFIX}project": project})
        client.log_metric(made.info.run_id, "holdout_roc_auc", value)
    address = "/api/v1/models/parcel-delay/runs"
    latest, best = (browser.get(f"{address}?order={order}").json()["runs"] for order in ("latest", "best"))
    assert [one["name"] for one in latest] == ["script", NASTY, "search"]
    assert [one["name"] for one in best] == ["script", "search", NASTY]
    assert browser.get(f"{address}?show=trials&status=FINISHED").json()["runs"][0]["name"] == "trees-2"


def test_the_list_is_filtered_and_paged_by_the_store(browser, tracked, monkeypatch):
    found = browser.get("/api/v1/models/parcel-delay/runs?show=trials&order=best").json()
    page = browser.get("/models/parcel-delay/runs?show=trials&status=KILLED").text
    assert '<option value="KILLED" selected>killed</option>' in page
    assert [one["name"] for one in found["runs"]] == ["trees-2", "trees-1", "trees-0"]
    assert browser.get("/api/v1/models/parcel-delay/runs?status=FAILED").json()["runs"] == []
    for after in ("nonsense", "%C3%A9", "e30="):
        wrong = browser.get(f"/api/v1/models/parcel-delay/runs?after={after}")
        assert wrong.status_code == 422, after
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "usage_error")
    assert browser.get("/models/parcel-delay/runs?show=everything").status_code == 422
    monkeypatch.setitem(run_reading.list_runs.__kwdefaults__, "size", 2)
    page = browser.get("/models/parcel-delay/runs?show=trials&order=best&status=FINISHED").text
    following = re.search(r'<a rel="next" href="([^"]*)"', page).group(1)
    assert re.findall(r"trees-\d</a>", browser.get(unescape(following)).text) == ["trees-0</a>"]


def test_a_search_shows_its_trials_the_best_first_and_as_lines(browser, tracked):
    page = browser.get(f"/models/parcel-delay/runs/{tracked['search']}").text
    assert re.findall(r"trees-\d</a>", page) == ["trees-2</a>", "trees-1</a>", "trees-0</a>"]
    assert page.count("<polyline") == 3
    assert f"/mlflow/#/experiments/1/runs/{tracked['search']}" in page
    trial = browser.get(f"/api/v1/models/parcel-delay/runs/{tracked['trees-1']}").json()
    assert (trial["parent"], trial["params"]) == (tracked["search"], {"depth": "5", "rounds": "10"})
    assert browser.get(f"/models/parcel-delay/runs/{tracked[NASTY]}").status_code == 200


def test_a_comparison_shows_what_differs_and_the_rest_if_asked(browser, tracked):
    address = f"/models/parcel-delay/runs/compare?run={tracked['trees-0']}&run={tracked['trees-2']}"
    params = {one["title"]: one for one in browser.get(f"/api/v1{address}").json()["sections"]}["Parameters"]
    assert [row["name"] for row in params["rows"]] == ["depth"]
    assert (params["rows"][0]["values"], params["equal"]) == (["3", "9"], 1)
    whole = {one["title"]: one for one in browser.get(f"/api/v1{address}&all=1").json()["sections"]}
    assert {row["name"] for row in whole["Parameters"]["rows"]} == {"depth", "rounds"}
    assert browser.get(address).status_code == 200
    alone = browser.get(f"/models/parcel-delay/runs/compare?run={tracked['search']}")
    assert alone.status_code == 422


def test_a_run_that_is_not_there_or_anothers_is_not_found(browser, installation, tracked):
    client = connect(installation.home)
    foreign = client.create_run(client.create_experiment("secrets"), run_name="theirs").info.run_id
    for run_id in ("0" * 32, "nothing", foreign):
        answer = browser.get(f"/api/v1/models/parcel-delay/runs/{run_id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "run_not_found")
        assert "theirs" not in answer.text


def test_a_run_whose_process_was_killed_is_not_called_running(browser, tracked, installation):
    client, now = connect(installation.home), installation.clock.now()
    experiment = client.get_experiment_by_name("parcels").experiment_id
    run_id = client.create_run(experiment, tags={ROLE: "search", TURN: "turn_1"}).info.run_id
    turn = Turn(
        id="turn_1", model="parcel-delay", trigger="manual", reason="", actor="ada", promote=True,
        overrides={}, as_of=now, status="running", step="train", seconds={}, requested_at=now,
    )  # fmt: skip
    with installation.state.transaction() as session:
        session.add(turn)
    address = "/models/parcel-delay/runs"
    with locked(installation.home.home / "turn.lock"):
        assert [one["status"] for one in _runs(browser, f"{address}?status=RUNNING")] == ["RUNNING"]
        assert _runs(browser, f"{address}?status=KILLED") == []
    assert [one["run_id"] for one in _runs(browser, f"{address}?status=KILLED")] == [run_id]
    assert _runs(browser, f"{address}?status=RUNNING") == []
    page = browser.get(f"{address}/{run_id}").text
    assert "its process was killed: `tidemill run --resume` goes on with it" in page


def _runs(browser, address):
    return browser.get(f"/api/v1{address}").json()["runs"]


def test_no_database_is_no_run_before_the_first_turn_and_trouble_after(browser, installation):
    assert "There is no such run" in browser.get("/models/parcel-delay/runs").text
    now = installation.clock.now()
    turn = Turn(
        id="turn_1", model="parcel-delay", trigger="manual", reason="", actor="ada", promote=True,
        overrides={}, as_of=now, status="failed", step="train", seconds={}, requested_at=now,
    )  # fmt: skip
    with installation.state.transaction() as session:
        session.add(turn)
    gone = browser.get("/models/parcel-delay/runs")
    assert gone.status_code == 503
    assert "database is not at" in gone.text
    assert browser.get("/").status_code == 200


def test_a_broken_database_is_said_to_be(browser, installation):
    database = installation.home.home / "mlflow.db"
    database.write_bytes(b"this is no database " * 400)
    broken = browser.get("/api/v1/models/parcel-delay/runs")
    assert (broken.status_code, broken.json()["error"]["code"]) == (503, "not_answering")


def test_a_loss_has_its_own_name_and_sign_and_the_least_is_the_best(browser, folder, tracked, installation):
    (folder / "params.yaml").write_text(PARAMS + "train: {metric: neg_log_loss}\n")
    client = connect(installation.home)
    for name, loss in (("trees-0", 0.5), ("trees-1", 0.4), ("trees-2", 0.6)):
        client.log_metric(tracked[name], "validation_neg_log_loss", -loss)
    client.log_metric(tracked["search"], "holdout_neg_log_loss", -0.45)
    address = f"/models/parcel-delay/runs/{tracked['search']}"
    twin = browser.get(f"/api/v1{address}").json()
    assert (twin["metric"], twin["run"]["score"], twin["metrics"]["holdout_log_loss"]) == (
        "holdout_log_loss", 0.45, 0.45,
    )  # fmt: skip
    assert [one["run"]["name"] for one in twin["trials"]] == ["trees-1", "trees-0", "trees-2"]
    assert 'class="best"' in twin["coordinates"].partition("<title>trees-1")[0].rpartition("<polyline")[2]
    listed = browser.get("/api/v1/models/parcel-delay/runs").json()
    assert (listed["metric"], listed["better"]) == ("holdout_log_loss", "lower is better")
    compared = f"/models/parcel-delay/runs/compare?run={tracked['trees-0']}&run={tracked['trees-2']}"
    assert not [page for page in (address, compared) if "neg_" in browser.get(page).text]


def test_a_search_by_several_metrics_shows_its_front_as_table_and_picture(browser, tracked, installation):
    client = connect(installation.home)
    for name, loss in (("trees-0", 0.4), ("trees-1", 0.6), ("trees-2", 0.5)):
        client.log_metric(tracked[name], "validation_neg_log_loss", -loss)
    front = [
        {"trial": number, "run_id": tracked[name], "family": "trees", "params": {"depth": depth},
         "metrics": {"roc_auc": auc, "neg_log_loss": -loss}}
        for number, name, depth, auc, loss in ((2, "trees-2", 9, 0.69, 0.5), (0, "trees-0", 3, 0.63, 0.4))
    ]  # fmt: skip
    write_file(client, tracked["search"], FRONT, json.dumps(front).encode())
    address = f"/models/parcel-delay/runs/{tracked['search']}"
    shown = browser.get(f"/api/v1{address}").json()["front"]
    assert (shown["metrics"], shown["better"]) == (
        ["roc_auc", "log_loss"], ["higher is better", "lower is better"],
    )  # fmt: skip
    assert [(one["name"], one["numbers"]) for one in shown["trials"]] == [
        ("trees-2", [0.69, 0.5]), ("trees-0", [0.63, 0.4]),
    ]  # fmt: skip
    page = browser.get(address).text
    assert page.count('class="mark first"') == 2
    assert page.count('class="mark hollow second"') == 1
    assert "trees-1: roc_auc 0.65, log_loss 0.6" in page
    trial = browser.get(f"/api/v1/models/parcel-delay/runs/{tracked['trees-0']}").json()
    assert trial["front"] is None
