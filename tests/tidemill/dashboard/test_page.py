import re
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.testclient import TestClient

from tidemill.dashboard import app as wiring
from tidemill.dashboard.door.identification import OpenIdentification
from tidemill.dashboard.page import Done, add_act, add_page
from tidemill.dashboard.visit import Here
from tidemill.errors import AlertNotFound


@dataclass(frozen=True)
class Note:
    text: str
    by: str


class NoteForm(BaseModel):
    text: str


@pytest.fixture
def browser(installation, monkeypatch):
    """A browser on a dashboard with a page whose act writes what the page shows."""
    notes = ["<script>alert(1)</script>"]

    def note(visit: Here, model: str) -> Note:
        visit.project(model)
        if not notes:
            raise AlertNotFound("there is no note", hint="write one")
        return Note(notes[-1], visit.who)

    def write(visit: Here, model: str, form: NoteForm) -> Done:
        notes.append(form.text)
        return Done("The note is written.", f"/models/{model}/note")

    def add_to(app: FastAPI) -> None:
        add_page(
            app, "/models/{model}/note", note, template="error.html", needs=("read", "model"), title="Note"
        )
        add_act(app, "/models/{model}/note", write, NoteForm, needs=("comment", "alert"), title="Write")

    monkeypatch.setattr(wiring, "PAGES", (*wiring.PAGES, add_to))
    monkeypatch.setattr("tidemill.dashboard.page.render", lambda template, values: str(values["it"]))
    made = wiring.make_app(installation, OpenIdentification(), local_only=True)
    with TestClient(made, base_url="http://localhost", follow_redirects=False) as client:
        client.notes = notes
        yield client


def csrf_of(browser):
    return re.search(r'name="csrf" content="(\w+)"', browser.get("/nothing").text)[1]


def test_a_page_and_its_twin_show_the_same(browser):
    assert "Note(text=" in browser.get("/models/parcel-delay/note").text
    twin = browser.get("/api/v1/models/parcel-delay/note").json()
    assert twin["text"] == "<script>alert(1)</script>"


def test_a_form_needs_the_token_of_its_page_and_then_leads_on(browser):
    address = "/models/parcel-delay/note"
    token = csrf_of(browser)
    assert browser.post(address, data={"text": "calm"}).status_code == 403
    assert browser.post(address, data={"text": "calm", "csrf": "0" * 64}).status_code == 403
    answer = browser.post(address, data={"text": "calm", "csrf": token})
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/models/parcel-delay/note",
    )
    assert browser.notes[-1] == "calm"
    foreign = {"Origin": "https://evil.example"}
    assert browser.post(address, data={"text": "x", "csrf": token}, headers=foreign).status_code == 403
    assert browser.notes[-1] == "calm"


def test_the_twin_of_an_act_takes_json_and_says_what_is_wrong(browser):
    address, token = "/api/v1/models/parcel-delay/note", {"X-CSRF-Token": csrf_of(browser)}
    assert (
        browser.post(address, json={"text": "low"}, headers=token).json()["message"] == "The note is written."
    )
    wrong = browser.post(address, json={}, headers=token)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid")
    assert "text" in wrong.json()["error"]["message"]
    wrong_form = browser.post("/models/parcel-delay/note", data={"csrf": token["X-CSRF-Token"]})
    assert wrong_form.status_code == 422


def test_a_model_that_is_not_there_is_not_found_by_page_and_act(browser):
    assert browser.get("/models/nothing/note").status_code == 404
    token = {"X-CSRF-Token": csrf_of(browser)}
    assert browser.post("/api/v1/models/nothing/note", json={"text": "x"}, headers=token).status_code == 404


def test_an_error_of_ours_has_its_status_and_hint(browser):
    browser.notes.clear()
    answer = browser.get("/api/v1/models/parcel-delay/note")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "code": "alert_not_found",
        "message": "there is no note",
        "hint": "write one",
    }


def test_openapi_says_how_every_twin_refuses(browser):
    described = browser.get("/api/v1/openapi.json").json()
    refusal = {"$ref": "#/components/schemas/Refusal"}
    for path, methods in described["paths"].items():
        for one in methods.values():
            assert "422" not in one["responses"], path  # FastAPI's own shape, which nothing here sends
            for status in ("4XX", "503"):
                assert one["responses"][status]["content"]["application/json"]["schema"] == refusal, path
