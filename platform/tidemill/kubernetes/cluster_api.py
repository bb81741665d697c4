"""Asks Kubernetes' API for the few things that the platform needs: one small client, over httpx.

The official client takes two seconds to import and wants other versions of what the stack shares; what is
needed of it are five verbs on three resources.
"""

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tidemill.errors import ClusterError
from tidemill.settings import Settings

__all__ = [
    "LEASES",
    "RAY_JOBS",
    "RAY_SERVICES",
    "ApiPlace",
    "ClusterApi",
    "Login",
    "Looked",
    "Resource",
    "find_place",
]

Manifest = dict[str, Any]

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LATER = (429, 503)
_LEAST_WAIT = 0.2
_OK = (200, 201, 202)


@dataclass(frozen=True)
class Resource:
    """A kind of object, as addresses name it."""

    group: str
    version: str
    plural: str


LEASES = Resource("coordination.k8s.io", "v1", "leases")
RAY_JOBS = Resource("ray.io", "v1", "rayjobs")
RAY_SERVICES = Resource("ray.io", "v1", "rayservices")


@dataclass(frozen=True)
class Login:
    """How a person reaches the API, as their kubeconfig says."""

    token: str | None
    trusted: ssl.SSLContext | bool


@dataclass(frozen=True)
class ApiPlace:
    """Where the API is, in which namespace we are, and how it knows us."""

    url: str
    namespace: str
    token: Path | None = None
    """File with a token, which Kubernetes replaces by and by."""
    authority: Path | None = None
    """File with the certificates that the API's is signed by."""
    login: Login | None = field(default=None, repr=False)
    """Of a person; None: it is a pod that asks."""


def find_place(
    settings: Settings, environment: Mapping[str, str] = os.environ, account: Path = _ACCOUNT
) -> ApiPlace | None:
    """Return where the API is: as the settings say, or that of our own pod; None where there is none.

    >>> find_place(Settings(kubernetes_url="http://127.0.0.1:8001", kubernetes_namespace="models"))
    ApiPlace(url='http://127.0.0.1:8001', namespace='models', token=None, authority=None)
    """
    if settings.kubernetes_url is not None:
        return ApiPlace(settings.kubernetes_url.rstrip("/"), settings.kubernetes_namespace or "default")
    host, token = environment.get("KUBERNETES_SERVICE_HOST"), account / "token"
    if not host or not token.is_file():
        return None
    namespace = settings.kubernetes_namespace or (account / "namespace").read_text().strip()
    named = f"[{host}]" if ":" in host else host
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    return ApiPlace(f"https://{named}:{port}", namespace, token, account / "ca.crt")


class Looked(NamedTuple):
    """What the API has at a path."""

    content: Manifest | None
    """None: there is nothing, or we may not read it."""
    allowed: bool
    date: str | None
    """The API's own clock, as a header has it."""


class ClusterApi:
    """The objects of one namespace. Each call ends within its seconds, waits for 429 included."""

    def __init__(self, place: ApiPlace, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.namespace = place.namespace
        self._place = place
        self._sleep = sleep
        trusted: ssl.SSLContext | bool = True
        if place.login is not None:
            trusted = place.login.trusted
        elif place.authority is not None:
            trusted = ssl.create_default_context(cafile=place.authority)
        # People may be behind a proxy, which kubectl finds in the environment, too.
        by_environment = place.login is not None
        self._client = httpx.Client(base_url=place.url, verify=trusted, trust_env=by_environment)

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._place.url

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, resource: Resource, name: str, *, seconds: float = 30.0) -> Manifest | None:
        """Return an object; None if there is none.

        Raises:
            ClusterError: the API is away or refused, as of every call here.
        """
        answer = self._send("GET", self._path(resource, name), seconds, also=(404,))
        return None if answer.status_code == 404 else _content(answer)

    def list(self, resource: Resource, labels: Mapping[str, str], *, seconds: float = 30.0) -> list[Manifest]:
        """Return the objects that have all these labels; none where the API does not know the kind."""
        chosen = {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))}
        answer = self._send("GET", self._path(resource), seconds, params=chosen, also=(404,))
        items = [] if answer.status_code == 404 else _content(answer).get("items")
        return [one for one in items or [] if isinstance(one, dict)]

    def create(self, resource: Resource, body: Manifest, *, seconds: float = 30.0) -> Manifest | None:
        """Make an object and return it; None if there is one of that name."""
        answer = self._send("POST", self._path(resource), seconds, body=body, also=(409,))
        return None if answer.status_code == 409 else _content(answer)

    def replace(
        self, resource: Resource, name: str, body: Manifest, *, seconds: float = 30.0
    ) -> Manifest | None:
        """Replace an object and return it; None if it is not as ``body``'s resourceVersion says any more."""
        answer = self._send("PUT", self._path(resource, name), seconds, body=body, also=(409,))
        return None if answer.status_code == 409 else _content(answer)

    def delete(self, resource: Resource, name: str, *, seconds: float = 30.0) -> bool:
        """Delete an object and what it owns; return whether there was one."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        answer = self._send("DELETE", self._path(resource, name), seconds, body=body, also=(404,))
        return answer.status_code != 404

    def look(self, path: str, question: Manifest | None = None, *, seconds: float = 10.0) -> Looked:
        """Return what is at a path, or what the API answers to a question that changes nothing."""
        method = "GET" if question is None else "POST"
        answer = self._send(method, path, seconds, body=question, also=(403, 404))
        found = _content(answer) if answer.status_code in _OK else None
        return Looked(found, answer.status_code != 403, answer.headers.get("Date"))

    def _path(self, resource: Resource, name: str = "") -> str:
        group = f"/apis/{resource.group}/{resource.version}"
        return f"{group}/namespaces/{self.namespace}/{resource.plural}" + (f"/{name}" if name else "")

    def _headers(self) -> dict[str, str]:
        if self._place.login is not None:
            token = self._place.login.token
            return {"Authorization": f"Bearer {token}"} if token else {}
        if self._place.token is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._place.token.read_text().strip()}"}
        except OSError as error:
            raise ClusterError(
                f"the token of this pod's service account cannot be read: {error}",
                hint="check automountServiceAccountToken of the pod",
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        seconds: float,
        *,
        params: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        also: tuple[int, ...] = (),
    ) -> httpx.Response:
        """Send a request, and again after what Retry-After says while there is time for that.

        A request that was answered with 429 or 503 was not carried out, whatever it was.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                answer = self._client.request(
                    method,
                    path,
                    params=params,
                    json=body,
                    headers=self._headers(),
                    timeout=max(end - time.monotonic(), 0.01),
                )
            except httpx.HTTPError as error:
                raise ClusterError(
                    f"Kubernetes' API at {self._place.url} does not answer: {type(error).__name__}: {error}",
                    hint="check the API server, and the NetworkPolicy of this pod"
                    if self._place.login is None
                    else "check the kubeconfig's context, the VPN, and `kubectl version`",
                ) from error
            if answer.status_code in _OK or answer.status_code in also:
                return answer
            pause = max(_LEAST_WAIT, _retry_after(answer))
            if answer.status_code not in _LATER or time.monotonic() + pause >= end:
                raise _refusal(method, path, answer, self._place.login is None)
            self._sleep(pause)


def _retry_after(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("Retry-After", "1"))
    except ValueError:  # a date: Kubernetes sends seconds
        return 1.0


def _content(answer: httpx.Response) -> Manifest:
    try:
        content = answer.json()
    except ValueError as error:
        raise ClusterError(
            f"what answers at {answer.url} is not Kubernetes' API: no JSON",
            hint="check TIDEMILL_KUBERNETES_URL, or the kubeconfig's context",
        ) from error
    return dict(content)


def _refusal(method: str, path: str, answer: httpx.Response, of_pod: bool) -> ClusterError:
    try:
        said = str(answer.json().get("message", ""))
    except (ValueError, AttributeError):
        said = answer.text[:200]
    hints = {
        401: "the service account's token is not accepted: check that the account is there"
        if of_pod
        else "log in again",
        403: "give the service account the Role of the chart (rbac.create)",
        404: "check that KubeRay's operator is installed, with its definitions (ray.io/v1)",
        422: "the API refuses the object: correct the values that it is made from",
    }
    return ClusterError(
        f"Kubernetes' API answers {answer.status_code} to {method} {path}: {said}",
        hint=hints.get(answer.status_code, "try again; the API server's log says more"),
    )
