"""In a real browser: pages refresh what changed, leave alone what somebody works in, and break no policy."""

import os
import socket
import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.request import urlopen

import pytest

from tests.headless_chromium import CHROMIUM, open_chromium
from tests.tidemill.dashboard.conftest import PARAMS
from tests.tidemill.dashboard.pages.serving.test_serving_pages import job
from tests.tidemill.dashboard.tracking_proxy.test_plain_mlflow import wait_until_it_answers
from tests.warm_commands import command
from tidemill.serving.runtime.network import free_port
from tidemill.state import open_state

pytestmark = [pytest.mark.engine, pytest.mark.e2e]
PAGE = "/models/parcel-delay/serving"


@pytest.fixture(scope="module")
def hanging():
    """Port of a server that takes no connection: who connects waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy, ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(busy.getsockname())
        yield busy.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory, hanging):
    folder = tmp_path_factory.mktemp("browsed")
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "features.yaml").write_text("features: {weight: {type: float}}\n")
    port = free_port()
    process = subprocess.Popen(
        command("-m", "tidemill.dashboard.server", "--project", folder, "--port", port),
        env={**os.environ, "TIDEMILL_OTLP_ENDPOINT": f"http://127.0.0.1:{hanging}"},
        cwd=folder,
    )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}", open_state(f"sqlite:///{folder}/.tidemill/state.db")
        with urlopen(f"http://127.0.0.1:{port}/events", timeout=30) as listening:
            listening.readline()
            process.terminate()
            process.wait(45)  # a page that listens, for a minute, does not keep the server from ending
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("needs Chromium (on Debian: apt-get install chromium)")
    with open_chromium() as made:
        yield made


@pytest.fixture
def browser(chromium):
    yield chromium
    for context in chromium.contexts:
        context.close()


def add_job(state, number):
    with state.transaction() as session:
        session.add(job(number, datetime.now(UTC)))


def test_a_part_that_changed_is_fetched_again_and_one_in_use_is_left_alone(server, browser):
    address, state = server
    add_job(state, 1)
    page = browser.new_page(viewport={"width": 360, "height": 800})
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address + PAGE)
    assert page.evaluate("typeof htmx") == "object"
    page.wait_for_timeout(4000)  # the first look has been taken
    add_job(state, 2)
    page.locator("#job-list", has_text="job_000002").wait_for(timeout=15_000)
    page.locator("#live-note", has_text="Updated at").wait_for(timeout=5_000)
    page.focus("#job-list button")
    add_job(state, 3)
    page.wait_for_timeout(6000)
    assert "job_000003" not in page.inner_text("#job-list")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.evaluate("document.activeElement.blur()")
    page.locator("#job-list", has_text="job_000003").wait_for(timeout=15_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert said == []


def test_without_scripts_everything_is_there_to_read(server, browser):
    address, _ = server
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + PAGE)
    assert "job_000001" in page.inner_text("main")
    assert page.inner_text("#live-note") == ""


def test_what_takes_long_is_said_to_be_computed_and_shows_itself(server, browser):
    address, _ = server
    page = browser.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    answer = page.goto(f"{address}/settings", wait_until="domcontentloaded")
    assert answer.status == 202
    assert "Being computed" in answer.text()  # the page itself may be the other one by now
    page.locator("h1", has_text="Settings").wait_for(timeout=30_000)
    assert "not reached" in page.inner_text("main")
    assert said == []
