"""Every page of the dashboard in a real browser, over the workspace of a demo that has ended."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.routing import compile_path

from tests.headless_chromium import open_chromium
from tests.tidemill.dashboard.tracking_proxy.test_plain_mlflow import wait_until_it_answers
from tests.warm_commands import command
from tidemill.dashboard.app import make_pages
from tidemill.dashboard.page import permissions
from tidemill.serving.runtime.network import free_port

AXE = os.environ.get("AXE_CORE")  # …/node_modules/axe-core
VIEWS = tuple((wide, scheme) for wide in (360, 1440) for scheme in ("light", "dark"))
MOST_BYTES = 200_000
"""Of a page with all that it needs, compressed."""
NOT_PAGES = ("/events", "/audit/export", "/models/{model}/windows/{run_id}/report")
"""They are streams and documents of others."""
NOT_IN_A_DEMO = (
    "/models/{model}/rollouts/{rollout_id}",  # without replicas a version is promoted at once
    "/models/{model}/rollouts/{rollout_id}/stop",
    "/models/{model}/turns/{turn_id}/answer",
    "/models/{model}/turns/{turn_id}/cancel",  # none is being made
    "/models/{model}/acts/{act_id}",  # commands act, no form
    "/account",  # nobody has logged in
    "/models/{model}/policies/now",  # it reads the log and all data: tests of its own have less
)
"""Pages about what a demo does not do; they have tests of their own."""
SERIOUS = ("serious", "critical")
AXE_RUNS = """options => axe.run(document, options).then(done => done.violations.map(
    one => [one.impact, one.id, one.nodes[0].html.slice(0, 160)]))"""


@contextmanager
def dashboard_of(workspace: Path) -> Iterator[str]:
    """Serve a project's dashboard; give its address."""
    port = free_port()
    served = ["-m", "tidemill.dashboard.server", "--project", workspace, "--port", port]
    process = subprocess.Popen(command(*served), cwd=workspace)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


class Walk:
    """Goes from page to page by their links, to one page of each kind."""

    def __init__(self, address: str, browser: Any) -> None:
        self.address = address
        self.faults: dict[str, list[Any]] = {}
        self.seen: dict[str, str] = {}
        self._said: list[str] = []
        self._bytes = 0
        self._kinds = {
            path: compile_path(path)[0]
            for path in sorted(permissions(make_pages()), key=lambda path: path.count("{"))
            if not path.startswith("POST ") and path not in NOT_PAGES
        }
        self.page = browser.new_page(base_url=address, bypass_csp=bool(AXE))
        cache = self.page.context.new_cdp_session(self.page)  # each page is weighed with all that it needs
        cache.send("Network.enable")
        cache.send("Network.setCacheDisabled", {"cacheDisabled": True})
        self.page.on("console", lambda each: self._said.append(f"{each.type}: {each.text}"))
        self.page.on("pageerror", lambda error: self._said.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("requestfinished", self._finished)
        self.page.on(
            "response", lambda one: one.status >= 400 and self._said.append(f"{one.status} {one.url}")
        )

    def all(self) -> None:
        """Walk until no link leads to a page of a kind that was not seen yet."""
        waiting = ["/"]
        while waiting:
            path = waiting.pop(0)
            kind = self._kind(path)
            if kind is not None and kind not in self.seen and kind not in NOT_IN_A_DEMO:
                self.seen[kind] = path
                waiting += self._look(path)

    def missed(self) -> set[str]:
        """Return the kinds of pages to which no link led."""
        return self._kinds.keys() - self.seen.keys() - set(NOT_IN_A_DEMO)

    def _look(self, path: str) -> list[str]:
        """Look at a page in each view; return where it leads."""
        self.page.set_viewport_size({"width": 360, "height": 800})
        self._open(path)
        found: list[Any] = []
        for wide, scheme in VIEWS:
            self.page.set_viewport_size({"width": wide, "height": 800})
            self.page.emulate_media(color_scheme=scheme)
            if (reached := self.page.evaluate("document.documentElement.scrollWidth")) > wide:
                found.append(f"{reached} wide on {wide}")
            if (wide, scheme) == VIEWS[0]:
                found += self._broken_rules({})
            elif (wide, scheme) == VIEWS[-1]:  # the other rules do not ask for colours or sizes
                found += self._broken_rules({"runOnly": ["color-contrast"]})
        found += self._said
        if self._bytes > MOST_BYTES:
            found.append(f"{self._bytes:,} bytes")
        if found:
            self.faults[path] = found
        links = self.page.eval_on_selector_all(
            "a[href]", "all => all.map(one => new URL(one.getAttribute('href'), location).href)"
        )
        ticked = self.page.eval_on_selector_all("input[name=run]", "all => all.map(one => one.value)")[:2]
        if len(ticked) == 2:
            links.append(f"{self.address}{path}/compare?run={ticked[0]}&run={ticked[1]}")
        return [self._here(link) for link in links if link.startswith(f"{self.address}/")]

    def _open(self, path: str) -> None:
        """Open a page; one that reads something slow says so first, and loads itself again."""
        for _ in range(12):
            self._said, self._bytes = [], 0
            answer = self.page.goto(path)
            if answer.status not in (202, 503):
                return
            time.sleep(3)

    def _broken_rules(self, options: dict[str, Any]) -> list[Any]:
        if AXE is None:
            return []
        if not self.page.evaluate("typeof axe == 'object'"):
            self.page.evaluate(Path(AXE, "axe.min.js").read_text())
        broken = self.page.evaluate(AXE_RUNS, {"resultTypes": ["violations"], **options})
        return [one for one in broken if one[0] in SERIOUS]

    def _here(self, link: str) -> str:
        parts = urlsplit(link)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _kind(self, path: str) -> str | None:
        return next((kind for kind, form in self._kinds.items() if form.fullmatch(urlsplit(path).path)), None)

    def _failed(self, request: Any) -> None:
        left = urlsplit(request.url).path in ("/events", "/static/icon.svg")  # both end with their page
        if not (left and request.failure == "net::ERR_ABORTED"):
            self._said.append(f"failed: {request.url} {request.failure}")

    def _finished(self, request: Any) -> None:
        sizes = request.sizes()
        self._bytes += sizes["responseBodySize"] + sizes["responseHeadersSize"]


def walk(workspace: Path) -> None:
    """Walk the dashboard over a workspace; fail with what is wrong with each page."""
    with dashboard_of(workspace) as address, open_chromium() as browser:
        walk = Walk(address, browser)
        walk.all()
    assert not walk.faults, walk.faults
    assert not walk.missed(), walk.missed()
