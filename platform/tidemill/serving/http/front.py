"""The ASGI application of a replica: admits requests and limits their bodies, before the web framework."""

from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.serving.http.admission import Admission
from tidemill.serving.http.predictions import Predictions
from tidemill.serving.http.replies import Reply, reply_to
from tidemill.serving.http.request_bodies import limited
from tidemill.serving.inference.calls import Failure
from tidemill.serving.protocols.error_bodies import error_codec

__all__ = ["AdmissionMiddleware"]


class AdmissionMiddleware:
    """Wraps the application and admits its requests, except those for predictions: `Predictions` does it."""

    def __init__(
        self,
        app: ASGIApp,
        predictions: Predictions,
        admission: Admission,
        body_seconds: float,
    ) -> None:
        """Take the parts.

        Args:
            app: answers what is admitted, and has the lifespan.
            predictions: knows the paths of predictions, and admits those requests itself.
            admission: decides who may pass, and how large a body may be.
            body_seconds: in which a body must have come.
        """
        self.app = app
        self.predictions = predictions
        self._admission = admission
        self._body_seconds = body_seconds

    def takes(self, scope: Scope) -> bool:
        """Return whether this is a request for predictions."""
        return scope["type"] == "http" and self.predictions.takes(scope["method"], scope["path"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":  # websockets are not supported, and no key was checked
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if not self.predictions.takes(method, path):
            admitted = self._admission.admit(method, path, dict(scope["headers"]))
            if isinstance(admitted, Failure):
                await _send(send, reply_to(admitted, error_codec(path)))
                return
            scope["tidemill.caller"], scope["tidemill.admin"] = admitted.caller, admitted.admin
        await self.app(scope, limited(receive, self._admission.body_limit(path), self._body_seconds), send)


async def _send(send: Send, reply: Reply) -> None:
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
