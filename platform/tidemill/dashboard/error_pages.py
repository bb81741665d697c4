"""Answers for what went wrong: a page for people, JSON for programs, with the same status and words."""

import errno
import logging
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match

from tidemill.dashboard.navigation import shell_of
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.statuses import code_of, status_of
from tidemill.dashboard.templating import render
from tidemill.dashboard.watched.hidden_places import said_without
from tidemill.errors import ApprovalNeeded, BeingComputed, StateError, TidemillError

__all__ = [
    "API",
    "MLFLOW",
    "Problem",
    "Refusal",
    "Unfinished",
    "answer_for",
    "error_answer",
    "is_mlflow",
    "wants_json",
]

API = "/api/v1"
"""The JSON twin of a page is at this prefix and the page's own path."""
MLFLOW = "/mlflow"
"""MLflow's pages and API are below it."""
_MLFLOW_API = tuple(f"{MLFLOW}/{start}" for start in ("api/", "ajax-api/", "graphql", "v1/"))
_log = logging.getLogger(__name__)
_MLFLOW_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 503: "TEMPORARILY_UNAVAILABLE"}
_SAID = {
    404: ("not_found", "there is no such page", "the fleet is where everything begins"),
    405: ("method_not_allowed", "this address does not take that method", None),
    429: ("too_many", "too many requests", "wait a little"),
}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAY_NOT = (errno.EROFS, errno.EACCES, errno.EPERM)
_READING = ("GET", "HEAD")


class Problem(BaseModel):
    """What is wrong, and what to do."""

    code: str
    message: str
    hint: str | None


class Refusal(BaseModel):
    """The answer of a twin that shows or does nothing."""

    error: Problem


class Wait(BaseModel):
    """What is being computed, and what to do meanwhile."""

    message: str
    hint: str | None


class Unfinished(BaseModel):
    """The answer of a twin that takes longer than its program waits: the same request gives more later."""

    being_computed: Wait


def wants_json(request: Request) -> bool:
    """Return whether the answer goes to a program."""
    path: str = request.scope["path"]  # that of the address could be made to begin otherwise by a Host header
    return path.startswith((f"{API}/", *_MLFLOW_API))


def is_mlflow(path: str) -> bool:
    """Return whether a path is one of MLflow's.

    >>> is_mlflow("/mlflow/api/2.0/mlflow/runs/create"), is_mlflow("/mlflows")
    (True, False)
    """
    return path == MLFLOW or path.startswith(f"{MLFLOW}/")


def error_answer(request: Request, status: int, code: str, message: str, hint: str | None = None) -> Response:
    """Return an answer that says what is wrong and what to do."""
    visit = getattr(request.state, "visit", None)
    if visit is not None:
        message, hint = said_without(message, visit.hidden), hint and said_without(hint, visit.hidden)
    if request.scope["path"].startswith(
        _MLFLOW_API
    ):  # in the words of its own errors, which its client shows
        said = f"{message}; {hint}" if hint else message
        return JSONResponse({"error_code": _MLFLOW_CODES.get(status, code.upper()), "message": said}, status)
    if wants_json(request):
        return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status)
    values = {"status": status, "message": message, "hint": hint, "visit": visit, "title": message}
    around = {"path": quote(request.scope["path"]), "shell": shell_of(request, API), "done": None}
    around |= {"sent": getattr(request.state, "sent", None), "look": getattr(request.state, "look", None)}
    around["kept"] = getattr(request.state, "kept", None)
    return HTMLResponse(render("error.html", {**values, **around}), status)


def answer_for(request: Request, error: Exception) -> Response:
    """Return the answer for an error; what the visitor did not cause is logged."""
    match error:
        case BeingComputed() if request.method in _READING:
            return _unfinished(request, error)
        case BeingComputed():
            said = f"{error}; nothing was done"
            return error_answer(request, 503, "not_answering", said, "send it again in a minute")
        case OSError() if error.errno in _MAY_NOT:
            _log.error("%s", error, exc_info=error)
            said = f"the dashboard's process may not use {error.filename or 'a file'}: {error.strerror}"
            return error_answer(request, 503, "not_permitted", said, "let its user read and write there")
        case OSError() if error.errno in _NO_ROOM:
            _log.error("%s", error, exc_info=error)
            where = f" at {error.filename}" if error.filename else ""
            said = f"there is no room to write{where}: {error.strerror}"
            return error_answer(request, 503, "no_room", said, "free space there, then do it again")
        case TidemillError():
            status = status_of(error)
            if status >= 500:
                _log.error("%s", error, exc_info=error)
                if getattr(request.state, "visit", None) is None:  # whom no path of ours concerns
                    what = (
                        "records cannot be read" if isinstance(error, StateError) else "stores do not answer"
                    )
                    said = f"the platform's {what} now"
                    return error_answer(request, status, code_of(error), said, "the dashboard's log says why")
            if isinstance(error, ApprovalNeeded) and "model" in request.path_params:
                model = request.path_params["model"]
                request.state.look = (
                    address_of("models", model, "approvals"),
                    "What waits for a second person",
                )
            return error_answer(request, status, code_of(error), str(error), error.hint)
        case RequestValidationError():
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()
            )
            return error_answer(request, 422, "invalid", wrong, "correct it and send it again")
        case HTTPException():
            code, message, hint = _SAID.get(error.status_code, ("http", str(error.detail), None))
            answer = error_answer(request, error.status_code, code, message, hint)
            answer.headers.update(error.headers or {})
            if error.status_code == 405:
                answer.headers["Allow"] = _taken(request)
            return answer
        case _:
            _log.error("internal error at %s", request.scope["path"], exc_info=error)
            return error_answer(
                request, 500, "internal", "something went wrong here", "the dashboard's log says what"
            )


def _unfinished(request: Request, error: BeingComputed) -> Response:
    """Return the answer of what is being computed: a page that shows it when it is there."""
    headers = {"Retry-After": "2"}
    if wants_json(request):
        return JSONResponse({"being_computed": {"message": str(error), "hint": error.hint}}, 202, headers)
    values = {"message": str(error), "ticket": error.ticket, "title": "Being computed", "done": None}
    values |= {"visit": request.state.visit, "path": quote(request.scope["path"])}
    page = render("being_computed.html", {**values, "shell": shell_of(request, API)})
    return HTMLResponse(page, 202, headers)


def _taken(request: Request) -> str:
    """Return the methods that an address takes: each is a route of its own, which names itself alone."""
    routes = [one for one in request.app.routes if one.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for one in routes for method in getattr(one, "methods", None) or ()}))
