import re

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
    """Post to a page's form; the answer is the page that it leads to."""

    def send(address, **form):
        token = re.search(r'name="csrf" content="(\w+)"', browser.get("/").text)[1]
        return browser.post(address, data={"csrf": token, **form}, follow_redirects=True)

    return send
