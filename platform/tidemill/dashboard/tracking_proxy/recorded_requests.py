"""Puts on record who changes what by MLflow's API."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tidemill.accounts import audit
from tidemill.dashboard.tracking_proxy.body_fields import fields_of
from tidemill.dashboard.tracking_proxy.forwarding import headers_given_back, headers_sent_on
from tidemill.registry.own_versions import is_ours

if TYPE_CHECKING:
    from tidemill.accounts.roles import Permission
    from tidemill.dashboard.visit import Visit

__all__ = ["CREATES_VERSION", "forward_registration", "put_on_record"]

CREATES_VERSION: Final = "/model-versions/create"
"""How the path ends of a request that registers a version."""
_KEPT_BYTES: Final = 2000  # of what was asked, in the audit log
_OF_A_WHOLE: Final = ("content-length", "content-encoding", "etag", "last-modified", "accept-ranges")


def put_on_record(
    request: Request, path: str, needs: "Permission", body: bytes, version: str | None = None
) -> None:
    """Write what somebody is about to change by MLflow's API into the audit log.

    It is written first: MLflow's own records are no part of our transactions. Where it refuses, that is
    written after.

    Args:
        request: with the visit.
        path: below the prefix of MLflow's pages.
        needs: what is done, and to what.
        body: what was asked.
        version: of the project's model, that it is done to; None: the one that was asked about, if one was.
    """
    visit: Visit = request.state.visit
    (action, resource), model = needs, visit.installation.home.model
    details = {"by": "mlflow", "asked": body[:_KEPT_BYTES].decode("utf-8", "replace")}
    what = version or _asked_about(body, model) or f"{request.method} {path}"
    act = audit.Act(visit.who, action, resource, what, model, details=details)
    with visit.state.transaction() as session:
        audit.append(session, act)


def _asked_about(body: bytes, model: str) -> str | None:
    """Return the version of a model that a request names; None where it names none, or not one alone."""
    versions = fields_of(body, "version")
    return versions[0] if len(versions) == 1 and fields_of(body, "name") == [model] else None


async def forward_registration(
    client: httpx.AsyncClient,
    request: Request,
    address: httpx.URL,
    path: str,
    headers: Mapping[str, str],
) -> Response:
    """Send on what registers a version, and put it on record with the number that MLflow gives it.

    So it is written after: MLflow alone knows the number. Where this process is killed in between, the
    controller finds the version and tells of it. Versions that Tidemill registers are put on record by it.

    Raises:
        httpx.HTTPError: MLflow does not answer.
    """
    body = await request.body()
    sent = {**headers_sent_on(request), "accept-encoding": "identity"}
    answer = await client.request(request.method, address, headers=sent, content=body)
    if answer.is_success:
        made = _made(answer.content)
        own = made.get("name") == request.state.visit.installation.home.model
        if not own or not is_ours(_tags(made), made.get("source")):
            version = str(made["version"]) if own and "version" in made else None
            await run_in_threadpool(put_on_record, request, path, ("register", "version"), body, version)
    given = {name: value for name, value in headers_given_back(answer).items() if name not in _OF_A_WHOLE}
    return Response(answer.content, answer.status_code, {**given, **headers})


def _made(content: bytes) -> Mapping[str, Any]:
    """Return the version in MLflow's answer; nothing where it has none."""
    try:
        found = json.loads(content)["model_version"]
    except (ValueError, TypeError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def _tags(made: Mapping[str, Any]) -> dict[str, str]:
    return {one["key"]: one.get("value", "") for one in made.get("tags") or ()}
