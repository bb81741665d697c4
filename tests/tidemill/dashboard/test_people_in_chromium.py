"""People in a real browser: they log in, act by keyboard, decide in twos, and are told what they may not."""

import json
import os
import re
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from argon2 import PasswordHasher
from sqlalchemy import delete

from tests.headless_chromium import CHROMIUM, open_chromium
from tests.tidemill.dashboard.conftest import PARAMS
from tests.tidemill.dashboard.door.test_openid_login import ADA, provider_at, real, write_file
from tests.tidemill.dashboard.test_login import WORDS, MovingClock
from tidemill.accounts.users import add_user
from tidemill.dashboard import acting
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.account_identification import AccountIdentification
from tidemill.dashboard.installation import Installation, record_project
from tidemill.errors import ApprovalNeeded
from tidemill.project import load_project
from tidemill.registry.second_person import require_second_person
from tidemill.serving.runtime.network import free_port
from tidemill.settings import Settings
from tidemill.state.tables import Alert, GateDecision, LoginSession, MonitorRun, Promotion

AXE = os.environ.get("AXE_CORE")  # …/node_modules/axe-core
MODEL = "/models/parcel-delay"
NOW = datetime.now(UTC).replace(microsecond=0)
PEOPLE = {"Ada": {"*": ["admin"]}, "bob": {"parcels": ["viewer"]}} | {
    name: {"parcels": ["ml-engineer"]} for name in ("cy", "dot")
}
REFUSED = {"kind": "GateRefused", "message": "the gate refused it", "hint": None, "decision": "gate_1"}
AWAY = (f"{MODEL}/versions", f"{MODEL}/data", f"{MODEL}/lineage", f"{MODEL}/runs")  # no MLflow, no git here
REACHABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)"),
]


def alert(number: int) -> Alert:
    return Alert(
        id=f"alert_{number}", model="parcel-delay", monitor="weekly", version="3", kind="data_drift",
        severity="warning", message=f"wind moved {number}", details={}, monitor_run_id="run_1",
        status="firing", raised_at=NOW - timedelta(hours=5), fired_at=NOW - timedelta(hours=5),
        last_seen_at=NOW,
    )  # fmt: skip


def records():
    """Return rows of the records, new ones each time: a row is written to one database."""
    return (
        MonitorRun(
            id="run_1", model="parcel-delay", monitor="weekly", version="3", verdict="alert", at=NOW,
            window_start=NOW - timedelta(days=8), window_end=NOW - timedelta(days=1), rows=900, labelled=100,
            results={"findings": [{"kind": "data_drift", "message": "wind moved"}]},
        ),
        *map(alert, (1, 2, 3)),
        Promotion(
            id="move_2", model="parcel-delay", alias="champion", from_version="1", to_version="2",
            kind="promotion", status="done", actor="ada", reason="better", at=NOW, requested_at=NOW,
        ),
        GateDecision(
            id="gate_1", model="parcel-delay", candidate="3", champion="2", mode="enforce", passed=False,
            reasons=["roc_auc 0.684 of version 3 against 0.698", "see https://wiki/" + "long" * 12],
            decided_at=NOW,
            numbers={"metric": "roc_auc", "gain": -0.014, "gain_interval": [-0.03, 0.003], "rows": 1202,
                     "min_rows": 1000, "candidate": {"roc_auc": 0.684}, "champion": {"roc_auc": 0.698}},
        ),
    )  # fmt: skip


def stand_in(answer):
    """Return what takes the place of the process that moves champions: it says this, and does nothing."""
    told = f"import sys; sys.stdin.read(); print({json.dumps(answer)!r})"
    return lambda project: [sys.executable, "-c", told]


class Site:
    """A dashboard where people must log in, at a real port of this process."""

    def __init__(self, folder: Path, port: int, settings: Settings) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.clock = MovingClock(NOW)
        self.installation = Installation(load_project(folder, settings), clock=self.clock)
        record_project(self.installation.state, self.installation.home, NOW)
        identification = AccountIdentification(self.installation, open_here=False)
        app = make_app(self.installation, identification, local_only=True)
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        self.server.config.timeout_graceful_shutdown = 2
        self.thread = threading.Thread(target=self.server.run)

    def start(self) -> None:
        self.thread.start()
        deadline = time.monotonic() + 30
        while not self.server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.installation.state.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    (folder / "params.yaml").write_text(PARAMS + "gate: {four_eyes: true}\n")
    (folder / "features.yaml").write_text("features: {weight: {type: float}}\n")
    made = Site(folder, free_port(), Settings())
    state = made.installation.state
    with pytest.MonkeyPatch.context() as patch:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr("tidemill.accounts.passwords._hasher", lambda: cheap)
        patch.setattr(acting, "_command", stand_in({"error": REFUSED}))
        for name, roles in PEOPLE.items():
            add_user(state, name=name, password=WORDS, actor="me", now=NOW, roles=roles)
        for row in records():  # in order: alerts refer to their run
            with state.transaction() as session:
                session.add(row)
        made.start()
        try:
            yield made
        finally:
            made.end()


@pytest.fixture(scope="module")
def chromium():
    with open_chromium() as made:
        yield made


@pytest.fixture
def enter(chromium, site):
    """Open a browser of a person's own; each thing that its console says fails the test."""
    opened, said = [], []

    def enter(name=None, **more):
        context = chromium.new_context(base_url=site.address, **more)
        page = context.new_page()
        page.set_default_timeout(10_000)
        opened.append(context)
        page.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        if name is not None:
            page.goto("/login")
            log_in(page, name)
        return page

    yield enter
    for context in opened:
        context.close()
    assert [one for one in said if not re.search("status of (401|403|409|503) ", one)] == []


def log_in(page, name, password=WORDS):
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def tabbed(page):
    """Press Tab through a page; return what was reached, and what showed no focus."""
    seen, dim = 0, []
    page.evaluate(f"document.querySelectorAll('{REACHABLE}').forEach((one, n) => one.dataset.n = n)")
    reached = set()
    while seen < 200:
        page.keyboard.press("Tab")
        at = page.evaluate(
            "(() => { const one = document.activeElement, look = getComputedStyle(one);"
            " return [one.tagName, one.dataset.n, look.outlineStyle, parseFloat(look.outlineWidth)] })()"
        )
        if at[0] == "BODY" or (at[1] in reached and at[1] == "0"):
            break
        reached.add(at[1])
        if at[2] == "none" or at[3] < 2:
            dim.append(at)
        seen += 1
    missed = page.evaluate(
        f"reached => [...document.querySelectorAll('{REACHABLE}')].filter(one => one.checkVisibility()"
        " && !reached.includes(one.dataset.n)).map(one => one.outerHTML.slice(0, 80))",
        sorted(one for one in reached if one),
    )
    return missed, dim


def test_a_password_leads_to_the_page_that_was_wanted_and_an_old_session_back_to_the_login(enter, site):
    page = enter()
    page.goto(f"{MODEL}/alerts")
    log_in(page, "ADA", "not her password")
    assert "wrong" in page.get_by_role("alert").inner_text()
    log_in(page, "ADA")
    assert page.url == f"{site.address}{MODEL}/alerts"
    assert "Ada" in page.inner_text("header")
    site.clock.moment += timedelta(hours=13)
    try:
        page.goto("/alerts")
        assert page.url.startswith(f"{site.address}/login?")
        log_in(page, "ada")
        assert page.url == f"{site.address}/alerts"
    finally:
        site.clock.moment = NOW
    page.get_by_role("button", name="Log out").click()
    page.goto("/")
    assert page.url.startswith(f"{site.address}/login?")


def test_an_alert_is_acknowledged_and_silenced_by_keyboard_alone(enter):
    page = enter("cy", viewport={"width": 360, "height": 800})
    page.goto(f"{MODEL}/alerts/alert_1")
    page.keyboard.press("Tab")
    assert page.locator("a.skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_label("A word for others").focus()
    page.keyboard.type("I look at it")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("cy has it").wait_for()
    assert "I look at it" in page.inner_text("main")
    page.get_by_text("Silence alerts like this").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Why", exact=True).focus()
    page.keyboard.type("the feed is being mended")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{MODEL}/silences")
    assert "the feed is being mended" in page.inner_text("main")


def test_a_list_stays_when_the_session_has_ended_and_what_was_typed_is_given_back(enter, site):
    page = enter("dot")
    page.goto(f"{MODEL}/alerts")
    shown = page.locator("#alert-list").inner_text()
    with site.installation.state.transaction() as session:
        session.execute(delete(LoginSession))
    page.evaluate(
        "htmx.ajax('GET', location.href, {target: '#alert-list', select: '#alert-list', swap: 'outerHTML'})"
    )
    page.locator("#live-note", has_text="your session has ended").wait_for()
    assert page.locator("#alert-list").inner_text() == shown
    page = enter("dot")
    page.goto(f"{MODEL}/alerts/alert_3")
    with site.installation.state.transaction() as session:
        session.execute(delete(LoginSession))
    page.get_by_label("A word for others").fill("it took five minutes to find this out")
    page.get_by_role("button", name="Acknowledge").click()
    assert page.get_by_label("Comment").input_value() == "it took five minutes to find this out"
    page.get_by_role("link", name="Log in again").click()
    log_in(page, "dot")
    assert page.url == f"{site.address}{MODEL}/alerts/alert_3"


def test_who_comes_second_is_told_who_was_first(enter):
    first, second = enter("cy"), enter("dot")
    for page in (first, second):
        page.goto(f"{MODEL}/alerts/alert_2")
    first.get_by_role("button", name="Acknowledge").click()
    second.get_by_label("A word for others").fill("mine")
    second.get_by_role("button", name="Acknowledge").click()
    second.get_by_text("was first").or_(second.get_by_text("cy has it")).first.wait_for()


def test_a_version_needs_a_second_person_who_is_another(enter, site, monkeypatch):
    monkeypatch.setattr(acting, "_command", stand_in({"done": {"said": "Version 7 serves."}}))
    home, state = site.installation.home, site.installation.state
    with pytest.raises(ApprovalNeeded):
        require_second_person(
            home, state, "promote", "7", actor="cy", reason="for the summer", terms={"champion": "1"}
        )
    asked, other = enter("cy"), enter("dot")
    asked.goto(f"{MODEL}/approvals")
    asked.get_by_label("Why").fill("it is mine")
    asked.get_by_role("button", name="Approve").click()
    assert "403" in asked.inner_text("h1")
    other.goto(f"{MODEL}/approvals")
    other.get_by_label("Why").fill("I looked at the slices")
    other.get_by_role("button", name="Approve").click()
    other.get_by_text("Version 7 serves.").wait_for()  # the page comes by itself to what it waits for
    other.goto(f"{MODEL}/approvals")
    assert "dot" in other.inner_text("table")


def test_a_refusal_of_the_gate_leads_to_its_numbers(enter):
    page = enter("cy")
    page.goto(f"{MODEL}/promote")
    page.get_by_label("Version").fill("3")
    page.get_by_label("Why").fill("it is newer")
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("link", name="What the gate found").click()
    assert "0.684" in page.inner_text("main")


def test_a_viewer_has_no_button_and_is_told_why_a_page_is_closed(enter):
    page = enter("bob")
    page.goto(f"{MODEL}/alerts/alert_3")
    assert page.locator("main button").count() == 0
    page.goto("/people")
    assert "bob may not read people here" in page.inner_text("main")
    assert page.get_by_role("link", name="People").count() == 0


def test_every_page_is_used_by_keyboard_and_fits_a_telephone(enter):
    page = enter("Ada", viewport={"width": 360, "height": 800}, bypass_csp=bool(AXE))
    page.goto(f"{MODEL}/decisions")
    entries = page.eval_on_selector_all("header nav a, nav.within a", "all => all.map(a => a.pathname)")
    page.goto("/settings")
    entries += page.eval_on_selector_all("nav.within a", "all => all.map(a => a.pathname)")
    more = ("alerts/alert_3", "silences", "promote", "decisions/gate_1")
    pages = [*dict.fromkeys(entries), *(f"{MODEL}/{path}" for path in more)]
    assert len(pages) > 15
    faults = {}
    for path in pages:
        answer = page.goto(path)
        missed, dim = tabbed(page)
        found = [] if AXE is None else broken_rules(page)
        wide = page.evaluate("document.documentElement.scrollWidth") > 360
        away = path in AWAY and answer.status == 503
        if (answer.status != 200 and not away) or missed or dim or found or wide:
            faults[path] = (answer.status, missed, dim, found, wide)
    assert faults == {}


def broken_rules(page):
    """Return what axe-core finds, in light and in dark."""
    page.evaluate(Path(str(AXE), "axe.min.js").read_text())
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(done => "
            "done.violations.map(one => [one.id, one.nodes[0].html.slice(0, 120)]))"
        )
    return found


@real
def test_somebody_logs_in_by_a_provider(chromium, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "features.yaml").write_text("features: {weight: {type: float}}\n")
    port = free_port()
    with provider_at(f"http://127.0.0.1:{port}/login/oidc/corp/callback", ADA) as issuer:
        site = Site(tmp_path, port, Settings(oidc=write_file(tmp_path, issuer)))
        site.clock.moment = datetime.now(UTC)  # its tokens say when they were given
        site.start()
        try:
            page = chromium.new_page(base_url=site.address)
            page.goto(f"{MODEL}/alerts")
            page.get_by_role("link", name="Log in with Corp").click()
            page.wait_for_url(f"{site.address}{MODEL}/alerts")
            assert "ada" in page.inner_text("header")
            page.close()
        finally:
            site.end()
