"""Logs people in by a provider of identities: the way there, and the way back."""

import secrets
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tidemill.accounts.login_sessions import NewSession, end_session
from tidemill.accounts.sign_on.sign_on_providers import SignOn
from tidemill.accounts.sign_on.single_sign_on import (
    begin_sign_on,
    finish_sign_on,
    log_in_vouched,
    record_refused,
)
from tidemill.dashboard.door.login_page import local_path
from tidemill.dashboard.door.openid_client import OpenIdClient
from tidemill.dashboard.door.session_cookies import give_session, session_secret
from tidemill.errors import LoginRefused, RecordNotFound
from tidemill.state.tables import SignOnAttempt

if TYPE_CHECKING:
    from tidemill.dashboard.visit import Visit

__all__ = ["SignOnRoutes"]

_COOKIE: Final = "tidemill_sign_on"
_SECONDS: Final = 600


class SignOnRoutes:
    """The routes of all providers."""

    def __init__(self, sign_on: SignOn) -> None:
        self._address = sign_on.address
        self._clients = {name: OpenIdClient(name, provider) for name, provider in sign_on.providers.items()}

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, and what the login page shows."""
        app.state.sign_on = [(name, one.provider.label) for name, one in self._clients.items()]
        app.add_api_route("/login/oidc/{provider}", self.go, methods=["GET"], include_in_schema=False)
        app.add_api_route(
            "/login/oidc/{provider}/callback", self.come_back, methods=["GET"], include_in_schema=False
        )
        app.add_api_route(
            "/login/oidc/{provider}/logout", self.log_out_there, methods=["GET"], include_in_schema=False
        )

    def go(self, request: Request, provider: str) -> Response:
        """Send the browser to the provider."""
        client, visit = self._client(provider), _visit(request)
        browser = secrets.token_urlsafe(32)
        target = local_path(request.query_params.get("next", "/"))
        begun = begin_sign_on(visit.state, provider, browser, target, visit.now, address=_address(request))
        answer = RedirectResponse(client.login_address(begun, self._back(request, provider)), status_code=303)
        answer.set_cookie(
            _COOKIE,
            browser,
            max_age=_SECONDS,
            path="/login/oidc/",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    def come_back(self, request: Request, provider: str) -> Response:
        """Take the provider's answer, and begin the session."""
        client, visit, given = self._client(provider), _visit(request), request.query_params
        browser = request.cookies.get(_COOKIE, "")
        attempt = finish_sign_on(visit.state, provider, browser, given.get("state", ""), visit.now)
        try:
            made = self._begin_session(request, client, attempt)
        except LoginRefused as error:
            record_refused(visit.state, provider, error, address=_address(request))
            raise
        before = session_secret(request)
        if before is not None:
            end_session(visit.state, before)  # it is never taken over
        answer = RedirectResponse(attempt.target, status_code=303)
        give_session(request, answer, made.secret, provider)
        answer.delete_cookie(_COOKIE, path="/login/oidc/")
        return answer

    def log_out_there(self, request: Request, provider: str) -> Response:
        """Send the browser to where the provider logs people out; it asks them first."""
        return RedirectResponse(self._client(provider).logout_address(), status_code=303)

    def _begin_session(self, request: Request, client: OpenIdClient, attempt: SignOnAttempt) -> NewSession:
        visit, given = _visit(request), request.query_params
        if given.get("iss", client.provider.issuer) != client.provider.issuer:
            raise LoginRefused(
                "the answer comes from another provider than the one that was asked",
                hint="begin again; tell an admin if it happens twice",
            )
        if "error" in given or not given.get("code"):
            said = given.get("error_description") or given.get("error") or "it sent no code"
            raise LoginRefused(f"{client.provider.label} refuses the login: {said[:300]}", hint="begin again")
        vouched = client.vouch(given["code"], attempt, self._back(request, client.name))
        return log_in_vouched(
            visit.state,
            client.name,
            client.provider,
            vouched,
            address=_address(request),
            agent=request.headers.get("user-agent", ""),
            now=visit.now,
        )

    def _client(self, name: str) -> OpenIdClient:
        found = self._clients.get(name)
        if found is None:
            raise RecordNotFound(
                f"there is no provider {name!r} to log in by", hint="the login page lists those there are"
            )
        return found

    def _back(self, request: Request, provider: str) -> str:
        """Return where the provider sends the browser back to; it must know this very address."""
        base = (self._address or str(request.base_url)).rstrip("/")
        return f"{base}/login/oidc/{provider}/callback"


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _visit(request: Request) -> "Visit":
    visit: Visit = request.state.visit
    return visit
