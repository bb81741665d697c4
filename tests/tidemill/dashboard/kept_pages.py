"""The dashboard's pages for tests: three hundred routes take FastAPI half a second, so they are made once."""

from unittest.mock import patch

from fastapi import FastAPI

from tidemill.accounts.sign_on.sign_on_providers import SignOn
from tidemill.dashboard import app as wiring
from tidemill.dashboard.page import permissions

USUAL = wiring.PAGES

_real = wiring.make_pages
_routes = []
_needs = {}


def pages_with_kept_routes(sign_on: SignOn | None = None) -> FastAPI:
    """Return what `tidemill.dashboard.app.make_pages` does; apps with the usual pages share them."""
    if wiring.PAGES[: len(USUAL)] != USUAL:
        return _real(sign_on)
    with patch.object(wiring, "PAGES", (_add_usual, *wiring.PAGES[len(USUAL) :])):
        return _real(sign_on)


def _add_usual(app: FastAPI) -> None:
    if not _routes:
        before = len(app.router.routes)
        known = set(permissions(app))
        for add_to in USUAL:
            add_to(app)
        _routes.extend(app.router.routes[before:])
        _needs.update({path: needs for path, needs in permissions(app).items() if path not in known})
    else:
        app.router.routes.extend(_routes)
        permissions(app).update(_needs)
