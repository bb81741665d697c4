"""The way of fast requests past what Ray Serve's replica does for every request.

Ray Serve 2.60 makes metadata, tasks, context variables and metrics of each request before the application
sees it. None of that serves ours: it counts and limits its requests itself. So requests for fast routes are
taken where Ray Serve lets middlewares in (``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``, a documented
setting), and all others go their usual way.

What Ray Serve does not see, it cannot count: with autoscaling, which needs its counts, there is no shortcut.
"""

from typing import Protocol

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.serving.http import fast_lane

__all__ = ["CALLBACK", "Fast", "Shortcut", "middlewares", "use"]

CALLBACK = f"{__name__}:middlewares"
"""What Ray Serve imports and calls in every process that listens for HTTP."""


class Fast(fast_lane.Fast, Protocol):
    """What a replica answers with: `tidemill.serving.http.front.Front`."""

    def takes(self, scope: Scope) -> bool:
        """Say whether this is a fast request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it."""


_fast: Fast | None = None


def use(fast: Fast) -> None:
    """Have fast requests of this process answered by ``fast`` from now on."""
    global _fast
    _fast = fast_lane.Direct.fast = fast


def middlewares() -> list[Middleware]:
    """Return what Ray Serve puts around its replicas, and around its proxies, which have nothing fast.

    It asks before it starts a server: this is also where servers learn the way of `direct`.
    """
    fast_lane.install()
    return [Middleware(Shortcut)]


class Shortcut:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        """Take Ray Serve's own way."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the one way or the other."""
        fast = _fast
        if fast is not None and fast.takes(scope):
            await fast(scope, receive, send)
        else:
            await self._app(scope, receive, send)
