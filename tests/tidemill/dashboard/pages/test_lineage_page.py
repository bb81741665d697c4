import re
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from tests.tidemill.dashboard.pages.mlflow_store import open_store
from tests.tidemill.prediction_log.log_records import NOON, record
from tidemill.accounts.identities import Identity
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.identification import Identified
from tidemill.prediction_log.prediction_log import PredictionLog
from tidemill.state.tables import KnownProject, Turn

pytestmark = pytest.mark.slow


class Viewer:
    """Everybody is a viewer of the parcels."""

    def identify(self, request):
        return Identified(Identity("token", "token:ada", {"parcels": frozenset({"viewer"})}), None)


@pytest.fixture
def viewer(installation):
    app = make_app(installation, Viewer(), local_only=True)
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        yield client


@pytest.fixture
def chained(installation):
    """A version made by a turn, a prediction of it, and a turn of a project of somebody else."""
    client, now = open_store(installation.home), installation.clock.now()
    client.create_registered_model("parcel-delay")
    client.create_model_version("parcel-delay", "file:///nowhere")
    client.set_registered_model_alias("parcel-delay", "champion", "1")
    about = {
        "trigger": "manual", "reason": "<b>more rows</b>", "actor": "ada", "promote": True, "overrides": {},
        "as_of": now, "status": "promoted", "step": "end", "seconds": {}, "requested_at": now,
    }  # fmt: skip
    with installation.state.transaction() as session:
        session.add(Turn(id="turn_ours", model="parcel-delay", version="1", **about))
        session.add(
            Turn(id="turn_theirs", model="secret-model", version="1", **{**about, "status": "failed"})
        )
        session.add(KnownProject(model="secret-model", name="secrets", root="/nowhere", seen_at=now))
    log = PredictionLog(installation.home.predictions, "parcel-delay")
    log.append([record("pred_1", NOON, model="parcel-delay", version="1")])
    log.close()


def test_without_a_thing_the_chain_of_the_champion_is_shown(browser, chained):
    found = browser.get("/api/v1/models/parcel-delay/lineage").json()
    assert found["start"] == "version:parcel-delay/1"
    assert "predictions:parcel-delay/1" in {one["id"] for one in found["things"]}
    assert found["drawn"].count("<rect") == len(found["things"])


def test_the_page_says_when_its_chain_was_read(browser, installation, chained):
    address = "/models/parcel-delay/lineage"
    assert "As it was at <time" in browser.get(address).text
    first = browser.get(f"/api/v1{address}").json()["read_at"]
    assert first[:19] == "2013-07-01T12:00:00"
    installation.clock.advance_to(installation.clock.now() + timedelta(seconds=30))
    assert browser.get(f"/api/v1{address}").json()["read_at"] == first
    assert ">12:00:00</time>" in browser.get(address).text


def test_a_prediction_leads_to_its_version(browser, chained):
    page = browser.get("/models/parcel-delay/lineage?of=pred_1&way=up")
    assert page.status_code == 200
    assert "/models/parcel-delay/predictions/pred_1" in page.text
    found = browser.get("/api/v1/models/parcel-delay/lineage?of=pred_1&way=up").json()
    [prediction] = [one for one in found["things"] if one["kind"] == "prediction"]
    [link] = prediction["made_from"]
    assert (link["relation"], link["id"]) == ("answered by", "version:parcel-delay/1")
    assert link["chain"] == "/models/parcel-delay/lineage?of=version%3Aparcel-delay%2F1"


def test_every_chain_that_a_page_leads_to_can_be_shown(browser, chained):
    page = browser.get("/models/parcel-delay/lineage").text
    assert "predictions:parcel-delay/1" in page
    led = set(re.findall(r'href="(/models/parcel-delay/lineage[^"]+)"', page))
    assert led
    assert {address: browser.get(address).status_code for address in led} == dict.fromkeys(led, 200)


def test_texts_of_records_are_escaped(browser, chained):
    page = browser.get("/models/parcel-delay/lineage?of=turn_ours").text
    assert "<b>more" not in page
    assert "&lt;b&gt;more rows&lt;/b&gt;" in page


def test_who_may_not_read_predictions_gets_none_by_this_way(viewer, chained):
    for of in ("pred_1", "prediction:pred_1", "label:pred_1"):
        assert viewer.get(f"/api/v1/models/parcel-delay/lineage?of={of}").status_code == 403
    assert viewer.get("/api/v1/models/parcel-delay/predictions").status_code == 403
    found = viewer.get("/api/v1/models/parcel-delay/lineage").json()
    assert not {"prediction", "label"} & {one["kind"] for one in found["things"]}


def test_things_of_hidden_projects_look_as_if_they_were_not_there(viewer, chained):
    hidden = viewer.get("/api/v1/models/parcel-delay/lineage?of=turn_theirs")
    absent = viewer.get("/api/v1/models/parcel-delay/lineage?of=turn_nobodys")
    assert (hidden.status_code, absent.status_code) == (422, 422)
    assert hidden.text.replace("theirs", "nobodys") == absent.text
    assert "secret" not in viewer.get(
        "/api/v1/models/parcel-delay/lineage?of=version:secret-model/1"
    ).text.replace("version:secret-model/1", "")


@pytest.mark.parametrize("name", ["0" * 300, "é" * 200, "a/" * 150, "a\0b"])
def test_a_name_that_no_file_can_have_is_not_found(browser, chained, name):
    answer = browser.get("/api/v1/models/parcel-delay/lineage", params={"of": name})
    assert 400 <= answer.status_code < 500, answer.text
