"""Kubernetes' API as kmock emulates it, with what our client relies on beyond that: versions and labels.

kmock 0.8 patches where a PUT replaces, knows no resourceVersion and no labelSelector.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp.web
import attrs
import kmock

from tidemill.kubernetes.cluster_api import LEASES, RAY_JOBS, RAY_SERVICES, ApiPlace, ClusterApi, Resource
from tidemill.threads import BackgroundThread

NAMESPACE = "models"
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete", "PATCH": "patch"}


@attrs.define(kw_only=True)
class ApiServer(kmock.KubernetesEmulator):
    """Refuses what was written on a stale version; the last lines of `asked` say what was asked for."""

    asked: list[tuple[str, str]] = attrs.field(factory=list)
    refusals: list[Callable[[], Any]] = attrs.field(factory=list)
    """What the next requests are answered with, instead of being carried out."""
    rules: list[dict[str, Any]] | None = None
    """Of the Roles of whoever asks; None grants everything."""
    used: set[tuple[str, str, str]] = attrs.field(factory=set)
    """Group, plural and verb of what was asked for and granted by them."""
    refused: list[tuple[str, str, str]] = attrs.field(factory=list)
    url: str = ""
    loop: Any = None
    clients: list[ClusterApi] = attrs.field(factory=list)
    _versions: Any = attrs.field(factory=lambda: itertools.count(1))

    async def _handle(self, request: kmock.Request) -> Any:
        self.asked.append((request.method.value.upper(), request.url.path))
        del self._requests[:-2]  # each answer looks through all of them
        if self.rules is not None and not self._is_granted(request, self.rules):
            return _status(403, "Forbidden", "the Role does not grant it")
        if self.refusals:
            return self.refusals.pop(0)()
        if request.resource is not None and request.action == kmock.action.CREATE:
            request.data.setdefault("metadata", {})["resourceVersion"] = str(next(self._versions))
        if request.resource is not None and request.method == kmock.method.PUT:
            return await self._replace(request)
        return await super()._handle(request)

    def _is_granted(self, request: kmock.Request, rules: list[dict[str, Any]]) -> bool:
        """As Kubernetes decides it: a name restricts what is there, and grants no list and no creation."""
        _, _, group, _, _, _, plural, *name = request.url.path.split("/")
        verb = VERBS[request.method.value.upper()]
        if verb == "get" and not name:
            verb = "watch" if request.params.get("watch") == "true" else "list"
        granted = any(
            group in rule["apiGroups"]
            and plural in rule["resources"]
            and verb in rule["verbs"]
            and set(name or [None]) <= set(rule.get("resourceNames", name or [None]))
            for rule in rules
        )
        self.used.add((group, plural, verb)) if granted else self.refused.append((group, plural, verb))
        return granted

    async def _replace(self, request: kmock.Request) -> Any:
        place = (request.resource, request.namespace, request.name)
        held = self._objects[place]
        if held.deleted:
            return _status(404, "NotFound", "there is none")
        sent = request.data["metadata"].get("resourceVersion")
        if sent is not None and sent != held["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        await self._write(request.resource, held, request.data)
        return aiohttp.web.json_response(held.raw)

    async def _write(self, resource: Any, held: Any, content: dict[str, Any]) -> None:
        about = {**content["metadata"], "resourceVersion": str(next(self._versions))}
        held.create({**content, "metadata": about})
        await self._buses[resource].put({"type": "MODIFIED", "object": held.raw})

    async def _serve_list(self, request: kmock.Request) -> Any:
        found = await super()._serve_list(request)
        chosen = [one.split("=") for one in request.params.get("labelSelector", "").split(",") if one]
        found["items"] = [
            one
            for one in found["items"]
            if all(one["metadata"].get("labels", {}).get(key) == value for key, value in chosen)
        ]
        return found

    def spec(self, resource: Resource, name: str) -> dict[str, Any]:
        return dict(self.objects[self.key(resource), NAMESPACE, name]["spec"])

    def put(self, resource: Resource, name: str, **parts: Any) -> None:
        """Write parts of an object as somebody else does, so that watchers see it."""
        held = self.objects[self.key(resource), NAMESPACE, name]
        writing = self._write(self.key(resource), held, {**held.raw, **parts})
        asyncio.run_coroutine_threadsafe(writing, self.loop).result(10)

    def client(self, token: Path | None = None, **more: Any) -> ClusterApi:
        self.clients.append(ClusterApi(ApiPlace(self.url, NAMESPACE, token), **more))
        return self.clients[-1]

    def key(self, resource: Resource) -> Any:
        return kmock.resource(resource.group, resource.version, resource.plural)


def _status(code: int, reason: str, message: str, **headers: str) -> Any:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return aiohttp.web.json_response(body, status=code, headers=headers)


def later(seconds: float) -> Callable[[], Any]:
    """What a busy API server answers."""
    headers = {"Retry-After": str(seconds)}
    return lambda: _status(429, "TooManyRequests", "please try again later", **headers)


def away() -> Any:
    return _status(500, "InternalError", "etcd has no leader")


@contextmanager
def serve_api() -> Iterator[ApiServer]:
    """Serve it on a port of its own, in a thread with a loop."""
    loop = asyncio.new_event_loop()
    thread = BackgroundThread("api server", loop.run_forever)
    thread.start()

    async def begin() -> tuple[ApiServer, kmock.Server]:
        handler = ApiServer()
        for resource in (LEASES, RAY_JOBS, RAY_SERVICES):  # what is not declared cannot be listed
            handler.resources[handler.key(resource)].namespaced = True
        server = kmock.Server(await handler.__aenter__())
        await server.__aenter__()
        return handler, server

    async def end() -> None:
        await server.__aexit__(None, None, None)
        await handler.__aexit__(None, None, None)

    handler, server = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    handler.loop = loop
    handler.url = str(server.url).rstrip("/")
    try:
        yield handler
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
