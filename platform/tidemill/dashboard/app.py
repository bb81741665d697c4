"""Wires the dashboard: its pages behind one door."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from tidemill.accounts.sign_on.sign_on_providers import SignOn
from tidemill.dashboard.door import login_page
from tidemill.dashboard.door.door import Door
from tidemill.dashboard.door.identification import Identification
from tidemill.dashboard.door.openid_login import SignOnRoutes
from tidemill.dashboard.error_pages import API, MLFLOW, Refusal, Unfinished, answer_for
from tidemill.dashboard.installation import Installation
from tidemill.dashboard.pages import audit_page, event_stream, feature_pages, fleet, model_pages, window_pages
from tidemill.dashboard.pages.alerts import alert_acts, alert_lists, one_alert, silence_page, unsent_messages
from tidemill.dashboard.pages.alerts import why_no_alert as why_page
from tidemill.dashboard.pages.decisions import (
    begun_acts,
    champion_acts,
    loop_acts,
    policy_pages,
    rollout_pages,
    serving_decisions,
    turn_pages,
)
from tidemill.dashboard.pages.people import account_page, approval_page, people_page, project_list, token_page
from tidemill.dashboard.pages.runs_and_data import origin_pages
from tidemill.dashboard.pages.serving import job_acts, serving_pages
from tidemill.dashboard.static_files import KeptFiles
from tidemill.dashboard.tracking_proxy.tracking_proxy import TrackingProxy
from tidemill.errors import TidemillError
from tidemill.version import __version__

__all__ = ["PAGES", "make_app", "make_pages"]

PAGES: tuple[Callable[[FastAPI], None], ...] = (
    fleet.add_to,
    account_page.add_to,
    approval_page.add_to,
    people_page.add_to,
    token_page.add_to,
    project_list.add_to,
    model_pages.add_to,
    window_pages.add_to,
    feature_pages.add_to,
    origin_pages.add_to,
    alert_lists.add_to,
    one_alert.add_to,
    alert_acts.add_to,
    silence_page.add_to,
    unsent_messages.add_to,
    why_page.add_to,
    audit_page.add_to,
    serving_pages.add_to,
    job_acts.add_to,
    event_stream.add_to,
    serving_decisions.add_to,
    turn_pages.add_to,
    rollout_pages.add_to,
    policy_pages.add_to,
    champion_acts.add_to,
    begun_acts.add_to,
    loop_acts.add_to,
)
"""Each adds its pages and acts."""


def make_app(installation: Installation, identification: Identification, *, local_only: bool) -> ASGIApp:
    """Return the dashboard.

    Args:
        installation: what it shows.
        identification: says who a request is from.
        local_only: answer to names of this machine alone.
    """
    return Door(
        make_pages(installation.sign_on),
        installation,
        identification,
        local_only=local_only,
        now=installation.clock.now,
    )


def make_pages(sign_on: SignOn | None = None) -> FastAPI:
    """Return what is behind the door; `tidemill.dashboard.page.permissions` names what each route needs."""
    app = FastAPI(
        title="Tidemill",
        version=__version__,
        summary="The JSON twins of the dashboard's pages, under the same permissions.",
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        responses={"202": {"model": Unfinished}, "4XX": {"model": Refusal}, "503": {"model": Refusal}},
    )
    for kind in (TidemillError, RequestValidationError, HTTPException, OSError, Exception):
        app.add_exception_handler(kind, answer_for)
    # Beyond this level a page takes thrice the time for some hundredths of its size.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    app.mount("/static", KeptFiles(), name="static")
    app.mount(MLFLOW, TrackingProxy(MLFLOW), name="mlflow")
    app.add_api_route("/healthz", _health, include_in_schema=False)
    login_page.add_to(app)
    SignOnRoutes(sign_on or SignOn()).add_to(app)
    for add_to in PAGES:
        add_to(app)
    return app


async def _health() -> PlainTextResponse:
    """Say that this process answers: in its loop, so that it does when all threads wait for the records."""
    return PlainTextResponse("ok")
