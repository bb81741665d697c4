"""The cookie of a session: scripts cannot read it, and other sites cannot use it to change anything."""

from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from tidemill.accounts.login_sessions import LIFETIME
from tidemill.settings import Secret

__all__ = [
    "forget_session",
    "give_session",
    "provider_of_session",
    "session_secret",
]

_SECURE: Final = "__Host-tidemill"
"""With this prefix a browser takes it from this host alone, over TLS."""
_PLAIN: Final = "tidemill_session"
"""On this machine; the port follows, as browsers send a cookie to all ports of a host."""
_PROVIDER: Final = "tidemill_provider"
_LOGOUT = "/logout"


def session_secret(request: HTTPConnection) -> str | None:
    """Return what the session's cookie carries, if there is one of a length that could be ours."""
    sent = request.cookies.get(_name(request), "")
    return sent if 32 <= len(sent) <= 64 else None


def give_session(request: HTTPConnection, response: Response, secret: Secret, provider: str = "") -> None:
    """Let the browser keep a session. Links that lead here carry it (Lax); forms of other sites do not.

    Args:
        request: what is answered.
        response: the answer.
        secret: what the cookie carries.
        provider: of identities, that vouched for the user; the browser tells it again at its logout, where it
            decides nothing but what the next page offers.
    """
    for name, value, path in (
        (_name(request), secret.get_secret_value(), "/"),
        (_PROVIDER, provider, _LOGOUT),
    ):
        response.set_cookie(
            name,
            value,
            max_age=round(LIFETIME.total_seconds()) if value else 0,
            path=path,
            secure=_is_secure(request),
            httponly=True,
            samesite="lax",
        )


def forget_session(request: HTTPConnection, response: Response) -> None:
    """Let the browser drop its session's cookie."""
    response.delete_cookie(
        _name(request), path="/", secure=_is_secure(request), httponly=True, samesite="lax"
    )
    response.delete_cookie(_PROVIDER, path=_LOGOUT)


def provider_of_session(request: HTTPConnection) -> str:
    """Return the provider that a browser says it came by; nothing if by none."""
    return request.cookies.get(_PROVIDER, "")


def _name(request: HTTPConnection) -> str:
    if _is_secure(request):
        return _SECURE
    port = request.url.port
    return f"{_PLAIN}_{port}" if port else _PLAIN


def _is_secure(request: HTTPConnection) -> bool:
    return request.scope.get("scheme") == "https"
