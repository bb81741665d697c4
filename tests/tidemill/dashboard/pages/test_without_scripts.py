"""Every page holds its facts in the HTML that the server sends, and its forms need no script."""

import re
from html.parser import HTMLParser

import pytest

from tests.tidemill.dashboard.kept_pages import pages_with_kept_routes
from tests.tidemill.dashboard.test_people_in_chromium import records
from tidemill.dashboard.page import permissions

pytestmark = pytest.mark.engine

DOCUMENTS = ("/events", "/audit/export", "/models/{model}/windows/{run_id}/report")
PAGES = sorted(
    path
    for path in permissions(pages_with_kept_routes())
    if not path.startswith("POST ") and path not in DOCUMENTS
)
OWN = {"model": "parcel-delay", "alert_id": "alert_1", "run_id": "run_1", "decision_id": "gate_1"}
ALONE = {"meta", "link", "input", "br", "img", "hr"}
HOLDERS = {
    "div",
    "section",
    "figure",
    "figcaption",
    "span",
    "p",
    "td",
    "th",
    "dd",
    "tbody",
    "ul",
    "ol",
    "output",
}
FILLED_BY_SCRIPTS = {"live-note"}
"""It says that a part has been refreshed, which without scripts never is."""


class Reading(HTMLParser):
    """Takes a page apart as a browser without scripts does, and finds what only a script would fill or do."""

    def __init__(self):
        super().__init__()
        self.open, self.faults = [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if any(name.startswith(("on", "hx-")) for name in given):
            self.faults.append(("only a script hears it", tag, given))
        if tag == "a" and (given.get("href") or "#") in ("#", "javascript:"):
            self.faults.append(("a link to nowhere", tag, given))
        form = next((one for one in self.open if one["tag"] == "form"), None)
        if tag == "button" and form is None and "form" not in given:
            self.faults.append(("a button without a form", tag, given))
        if tag in ("input", "select", "textarea"):
            self._note_field(form, given)
        if tag in ("input", "img", "svg", "textarea", "select"):
            self._fill()
        if tag not in ALONE:
            self.open.append({"tag": tag, "given": given, "full": False, "fields": set()})

    def _note_field(self, form, given):
        if form is None or not given.get("name"):
            self.faults.append(("a field that no form sends", given))
        else:
            form["fields"].add(given["name"])

    def _fill(self):
        for one in self.open:
            one["full"] = True

    def handle_startendtag(self, tag, attributes):
        self._fill()

    def handle_data(self, text):
        if text.strip():
            self._fill()

    def handle_endtag(self, tag):
        one = self.open.pop()
        given = one["given"]
        assert one["tag"] == tag, f"<{one['tag']}> is closed by </{tag}>"
        if tag in HOLDERS and not one["full"] and given.get("id") not in FILLED_BY_SCRIPTS:
            self.faults.append(("it is empty", tag, given))
        if (
            tag == "form"
            and given.get("method") == "post"
            and not (given.get("action") and "csrf" in one["fields"])
        ):
            self.faults.append(("it cannot be posted", given, one["fields"]))


def faults_of(page: str) -> list:
    reading = Reading()
    reading.feed(page)
    reading.close()
    assert reading.open == []
    return reading.faults


def test_what_only_a_script_would_fill_is_found():
    assert faults_of("<div id='x'><p>a</p></div>") == []
    for bad in (
        "<div id='x'></div>", "<a href='#'>a</a>", "<p hx-get='/x'>a</p>", "<button>a</button>",
        "<form method='post' action='/x'><input name='a'></form>", "<input name='a'>",
    ):  # fmt: skip
        assert len(faults_of(bad)) == 1, bad


def test_no_alert_at_all_leaves_no_empty_paragraph(browser):
    assert faults_of(browser.get("/alerts").text) == []


def test_every_page_is_read_and_used_without_scripts(browser, add):
    add(*records())
    wrong, read = {}, 0
    for path in PAGES:
        answer = browser.get(re.sub(r"\{(\w+)\}", lambda name: OWN.get(name[1], "none"), path))
        read += answer.status_code == 200
        if found := faults_of(answer.text):
            wrong[path] = found
    assert wrong == {}
    assert read > len(PAGES) / 2
