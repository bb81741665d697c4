import re
import time

import pytest

INJECTED = "<script>alert('x')</script>"


@pytest.fixture
def now(installation):
    return installation.clock.now()


@pytest.fixture
def add(installation):
    """Add records."""

    def add(*rows):
        for row in rows:  # in order: alerts refer to their runs
            with installation.state.transaction() as session:
                session.add(row)
        return rows[-1]

    return add


@pytest.fixture
def send(browser):
    """Post to a page's form; the answer is the page that it leads to, when what it began has ended."""

    def send(address, *, wait=True, **form):
        token = re.search(r'name="csrf" content="(\w+)"', browser.get("/").text)[1]
        page = browser.post(address, data={"csrf": token, **form}, follow_redirects=True)
        return ended(browser, page) if wait else page

    return send


def ended(browser, page):
    """Return a page again when the act that it shows has ended."""
    until = time.monotonic() + 60
    while "/acts/act_" in str(page.url) and "Being done" in page.text and time.monotonic() < until:
        time.sleep(0.02)
        page = browser.get(str(page.url))
    return page
