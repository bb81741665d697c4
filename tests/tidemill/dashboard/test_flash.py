import base64
import re

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from tidemill.dashboard import app as wiring
from tidemill.dashboard.door.identification import OpenIdentification
from tidemill.dashboard.page import Done, add_act
from tidemill.dashboard.visit import Here


class WordForm(BaseModel):
    word: str


def say(visit: Here, form: WordForm) -> Done:
    return Done(f"Said: {form.word}", "/")


@pytest.fixture
def browser(installation, monkeypatch):
    def add_to(app):
        add_act(app, "/say", say, WordForm, needs=("change", "project"), title="Say")

    monkeypatch.setattr(wiring, "PAGES", (wiring.fleet.add_to, add_to))
    made = wiring.make_app(installation, OpenIdentification(), local_only=True)
    with TestClient(made, base_url="http://localhost", follow_redirects=False) as client:
        yield client


def send(browser, word):
    token = re.search(r'name="csrf" content="(\w+)"', browser.get("/").text)[1]
    return browser.post("/say", data={"word": word, "csrf": token})


def test_what_was_done_is_shown_once_and_escaped(browser):
    answer = send(browser, "<b>ünder</b>")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Said: &lt;b&gt;ünder&lt;/b&gt;" in browser.get("/").text
    assert "Said" not in browser.get("/").text


def test_words_that_another_put_into_the_cookie_are_not_shown(browser):
    send(browser, "mine")
    forged = base64.urlsafe_b64encode(b"call this number").decode()
    for value in (forged, f"{forged}.{'0' * 64}", "%%%.x", "", "."):
        browser.cookies.set("tidemill_done", value, domain="localhost.local")
        page = browser.get("/")
        assert page.status_code == 200
        assert 'class="done"' not in page.text


def test_a_long_message_still_fits_a_cookie(browser):
    cookie = send(browser, "x" * 10_000).headers["set-cookie"]
    assert len(cookie) < 4096
