"""Describe in OpenAPI the routes that FastAPI does not parse itself, and admission.

Query parameters that it does not describe are refused.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from html import escape
from importlib.util import find_spec
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from tidemill.serving.http.admission import scope_of
from tidemill.serving.http.predictions import Predictions
from tidemill.serving.http.replies import Reply
from tidemill.serving.protocols.query_parameters import refuse_unknown

__all__ = [
    "COMMON",
    "KNOWN_PARAMETERS",
    "PredictionRoute",
    "add_documentation",
    "as_response",
    "declare_admission",
    "predicting",
]

COMMON: Mapping[str, tuple[Any, Any]] = {
    "x_tidemill_test": (
        Annotated[str | None, Header(description="`1` marks test traffic: logged, and ignored by monitors.")],
        None,
    ),
    "explain": (
        Annotated[bool, Query(description="Whether each prediction says what each feature contributed.")],
        False,
    ),
}
"""Parameters of all requests for predictions, for `predicting`."""
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" href="docs/assets/favicon.png">
<title>{title}</title>
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> says the same.</noscript>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</body>
</html>
"""
_START = (
    'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, '
    "presets: [SwaggerUIBundle.presets.apis]});\n"
)
_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
_POLICY = {
    # Swagger UI sets styles of its own, and draws its icons from data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_REFUSALS = {
    401: "There is no API key, or one that is unknown, expired or revoked.",
    403: "The key lacks the scope; or, without API keys, a page of another site sent the request.",
    421: "Without API keys: the host in the request is not a name of the server's own machine.",
    429: "The key is over its rate.",
}


async def _refuse_others(request: Request) -> None:
    """Refuse the request if its query names what its route does not read."""
    if not request.url.query:
        return
    route = request.scope["route"]
    known = [field.alias for field in route.dependant.query_params] if isinstance(route, APIRoute) else []
    elsewhere = {} if "at" in known else {"at": "a moment goes into the body"}
    refuse_unknown(request.query_params.keys(), known, elsewhere if request.method == "POST" else {})


KNOWN_PARAMETERS = Depends(_refuse_others)
"""Refuses query parameters that a route does not have, which FastAPI ignores: one of its ``dependencies``."""


class PredictionRoute(APIRoute):
    """A route whose endpoint gets the request as it is: a codec decodes it, in a fraction of FastAPI's time.

    The endpoint's signature says what OpenAPI shows.
    """

    def get_route_handler(self) -> Endpoint:
        """Return the endpoint itself."""
        endpoint: Endpoint = self.endpoint
        return endpoint


def predicting(predictions: Predictions, name: str, text: str, **parameters: Any) -> Endpoint:
    """Return the endpoint of a route for predictions.

    Args:
        predictions: answers.
        name: of the operation.
        text: what it does.
        parameters: name → annotation of what a request has; in a tuple with its default, if it has one.
    """

    async def endpoint(request: Request) -> Response:
        scope = request.scope
        headers = dict(scope["headers"])
        head = predictions.head(request.method, scope["path"], headers, scope["query_string"])
        if head is None:
            raise LookupError(f"{request.method} {scope['path']} is routed here, and no protocol answers it")
        reply = await predictions.respond(head, request.receive)
        return Response(status_code=400) if reply is None else as_response(reply)  # its client has gone

    endpoint.__name__, endpoint.__doc__ = name, text
    endpoint.__signature__ = Signature(_parameters(parameters))  # type: ignore[attr-defined]
    return endpoint


def as_response(reply: Reply) -> Response:
    """Return a reply as the web framework sends it."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
    return Response(reply.body, reply.status, headers, media_type=reply.content_type.decode())


def add_documentation(api: FastAPI) -> None:
    """Add the page that shows OpenAPI, with assets from an installed package: it works without a network."""
    title = escape(api.title)

    @api.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("docs")

    @api.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(_PAGE.format(title=title), headers=_POLICY)

    @api.get("/docs/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name == "start.js":
            return Response(_START, media_type="text/javascript", headers=_POLICY)
        if name not in _ASSETS:
            raise HTTPException(404)
        return FileResponse(_assets() / name, headers={**_POLICY, "Cache-Control": "max-age=86400"})


def _assets() -> Path:
    """Return the folder of Swagger UI, of which fastapi-offline holds a copy."""
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise HTTPException(404)
    return Path(found.origin).parent / "static"


def declare_admission(api: FastAPI, required: bool) -> None:
    """Describe in OpenAPI how a key is sent, where one is needed, and how requests are refused.

    Args:
        api: all routes of which are there.
        required: whether requests need a key.
    """
    make = api.openapi

    def declared() -> dict[str, object]:
        schema = make()
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {"type": "http", "scheme": "bearer"}
        schemes["header"] = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        # An empty requirement says that none is needed.
        open_too: list[dict[str, list[str]]] = [] if required else [{}]
        schema["security"] = [{"bearer": []}, {"header": []}, *open_too]
        _declare_refusals(schema)
        return schema

    api.openapi = declared  # type: ignore[method-assign]


def _declare_refusals(schema: dict[str, Any]) -> None:
    """Add what is decided before any path is asked; protocols declare it in their own shape."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            is_open = scope_of(method.upper(), path) is None
            if is_open:
                operation["security"] = []
            for status in (403, 421) if is_open else _REFUSALS:
                declared = {"description": _REFUSALS[status], "content": error}
                operation["responses"].setdefault(str(status), declared)


def _parameters(declared: dict[str, Any]) -> Sequence[Parameter]:
    found = []
    for name, one in declared.items():
        annotation, default = one if isinstance(one, tuple) else (one, Parameter.empty)
        found.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    return found
