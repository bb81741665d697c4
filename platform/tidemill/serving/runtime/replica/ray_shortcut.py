"""Route requests for predictions around the work that Ray Serve's replica does for every request.

Ray Serve 2.60 makes metadata, tasks, context variables and metrics of each request before the application
sees it. None of that serves ours: it counts and limits its requests itself. So requests for predictions are
taken where Ray Serve lets middlewares in (``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``, a documented
setting), and all others go their usual way. It belongs to the fast lane, and is turned off with it.

Ray Serve does not count these requests, so the shortcut is off with autoscaling, which needs the counts.
"""

from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:  # what answers takes seconds to import, and only replicas need it
    from tidemill.serving.http.front import AdmissionMiddleware

__all__ = ["CALLBACK", "ShortcutMiddleware", "install", "middlewares"]

CALLBACK = f"{__name__}:middlewares"
"""What Ray Serve imports and calls in every process that listens for HTTP."""


_front: "AdmissionMiddleware | None" = None


def install(front: "AdmissionMiddleware") -> None:
    """Send this process's requests for predictions to ``front`` from now on."""
    global _front
    from tidemill.serving.http import fast_lane

    _front, fast_lane.FastLaneProtocol.fast = front, front.predictions


def middlewares() -> list[Middleware]:
    """Return what Ray Serve puts around its replicas, and around its proxies, which have nothing fast.

    It asks all its processes: what answers is imported in `install`, by replicas alone.
    """
    return [Middleware(ShortcutMiddleware)]


class ShortcutMiddleware:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        """Take Ray Serve's own way."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send predictions to the front, and everything else to Ray Serve."""
        front = _front
        if front is not None and front.takes(scope):
            await front(scope, receive, send)
        else:
            await self._app(scope, receive, send)
