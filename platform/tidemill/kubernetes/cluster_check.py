"""Checks before an installation whether a cluster has what the release needs. Nothing is changed there."""

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from tidemill.errors import ClusterError
from tidemill.kubernetes.cluster_api import ClusterApi
from tidemill.kubernetes.release_needs import (
    Kind,
    by_namespace,
    claims,
    host_and_port,
    kinds,
    lets_out,
    made_secrets,
    named_secrets,
    stores,
    trusted_addresses,
)

__all__ = ["Finding", "check_cluster"]

Manifest = Mapping[str, Any]
_LOWEST = (1, 32)
_SKEW_SECONDS = 5.0
_VERBS = ("create", "get", "patch", "delete")
_OPERATORS = {
    "ray.io": "KubeRay's operator, 1.7 or later",
    "monitoring.coreos.com": "Prometheus' operator",
    "external-secrets.io": "the External Secrets operator",
    "gateway.networking.k8s.io": "the Gateway API",
    "keda.sh": "KEDA",
}
_OF_ONE_NODE = ("ebs.csi", "pd.csi.storage.gke", "disk.csi.azure", "local-path", "no-provisioner", "hostpath")
"""Parts of the names of provisioners whose volumes one node can use at a time."""
_TO_DO_RIGHTS = "ask the cluster's admin for them, or install as somebody who may"


class Finding(NamedTuple):
    """What a check found."""

    check: str
    verdict: str
    """``ok``, ``missing``, or ``unknown`` where the answer is kept from us."""
    said: str
    to_do: str = ""


def check_cluster(
    api: ClusterApi,
    manifests: Sequence[Manifest],
    namespace: str,
    now: Callable[[], datetime],
    connect: Callable[[str, int], str | None] | None = None,
) -> Iterator[Finding]:
    """Give what each check found, in an order in which the first that is missing may explain the others.

    Args:
        api: the API, as whoever installs.
        manifests: what would be installed.
        namespace: where, unless they name another one.
        now: this machine's clock.
        connect: tries a host and a port, and returns why that failed.

    Raises:
        ClusterError: the API stopped answering in the midst of it.
    """
    try:
        version, date = _version(api)
    except ClusterError as error:
        yield Finding("API", "missing", str(error), error.hint or "")
        return
    yield Finding("API", "ok", api.url)
    yield _version_finding(version)
    yield _clock(date, now())
    plurals: dict[Kind, str] = {}
    yield from _definitions(api, kinds(manifests), plurals)
    yield from _volumes(api, manifests)
    places = by_namespace(manifests, namespace)
    addresses: dict[tuple[str, int], bool] = {}
    for place, of_place in places.items():
        for one in _in_namespace(api, place, of_place, plurals, addresses):
            yield one if len(places) == 1 else one._replace(check=f"{place}: {one.check}")
    for (host, port), reached in sorted(addresses.items()):
        if not reached:
            to_do = f"add {{ports: [{{port: {port}, protocol: TCP}}]}} to networkPolicy.egress"
            yield Finding(
                f"way to {host}:{port}", "missing", "no rule of networkPolicy.egress has its port", to_do
            )
        yield _store(host, port, connect or _connect)


def _in_namespace(
    api: ClusterApi,
    namespace: str,
    manifests: Sequence[Manifest],
    plurals: Mapping[Kind, str],
    addresses: dict[tuple[str, int], bool],
) -> Iterator[Finding]:
    """Give what one namespace has, and note in ``addresses`` whether pods may reach each store."""
    yield _namespace(api, namespace)
    yield _permissions(api, namespace, plurals)
    found = {pair for one in trusted_addresses(manifests) for pair in host_and_port(one)}
    yield from _secrets(api, namespace, manifests, found)
    for host, port in found:
        addresses[host, port] = addresses.get((host, port), True) and lets_out(manifests, port)


def _version(api: ClusterApi) -> tuple[Manifest, str | None]:
    found = api.look("/version")
    if not found.allowed:
        raise ClusterError("the API does not say its version to you", hint="log in again")
    if not found.content or "minor" not in found.content:
        raise ClusterError(
            f"what answers at {api.url} is not Kubernetes' API", hint="check the kubeconfig's context"
        )
    return found.content, found.date


def _version_finding(version: Mapping[str, Any]) -> Finding:
    """Compare a version with the lowest.

    >>> _version_finding({"major": "1", "minor": "31+", "gitVersion": "v1.31.4"}).verdict
    'missing'
    """
    found = tuple(int(re.sub(r"\D.*", "", str(version[part])) or 0) for part in ("major", "minor"))
    said = str(version.get("gitVersion", ".".join(map(str, found))))
    if found >= _LOWEST:
        return Finding("version", "ok", said)
    return Finding("version", "missing", said, f"upgrade the cluster to {_LOWEST[0]}.{_LOWEST[1]} or later")


def _clock(date: str | None, now: datetime) -> Finding:
    try:
        skew = (parsedate_to_datetime(date or "") - now).total_seconds()
    except ValueError:
        return Finding("clock", "unknown", "the API does not say what time it is")
    # The header has whole seconds.
    if abs(skew) <= _SKEW_SECONDS:
        return Finding("clock", "ok", "the API's differs by less than 5 s from this machine's")
    return Finding(
        "clock",
        "missing",
        f"the API's is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's",
        "synchronise both (NTP): leases, tokens and signatures of object stores depend on it",
    )


def _definitions(api: ClusterApi, wanted: Sequence[Kind], plurals: dict[Kind, str]) -> Iterator[Finding]:
    """Give what is missing of the kinds, and note in ``plurals`` how the API calls the others."""
    missing: dict[str, list[str]] = {}
    for version in sorted({one.version for one in wanted}):
        found = api.look(f"/apis/{version}" if "/" in version else f"/api/{version}")
        if not found.allowed:
            yield Finding(f"kinds of {version}", "unknown", "you may not list them", _TO_DO_RIGHTS)
            continue
        known = {
            one["kind"]: one["name"]
            for one in (found.content or {}).get("resources", [])
            if "/" not in one["name"]
        }
        for one in wanted:
            if one.version == version and one.kind in known:
                plurals[one] = known[one.kind]
            elif one.version == version:
                missing.setdefault(version, []).append(one.kind)
    for version, names in missing.items():
        operator = _OPERATORS.get(version.partition("/")[0], "a newer Kubernetes")
        said = f"{', '.join(names)} ({version}) is not known"
        yield Finding(
            "kinds", "missing", said, f"install {operator}, or switch off what needs it in the values"
        )
    if not missing:
        yield Finding("kinds", "ok", f"all {len(plurals)} are known")


def _namespace(api: ClusterApi, namespace: str) -> Finding:
    found = api.look(f"/api/v1/namespaces/{namespace}")
    if not found.allowed:
        return Finding("namespace", "unknown", f"you may not read {namespace}")
    if found.content is None:
        return Finding(
            "namespace", "missing", f"there is no {namespace}", f"kubectl create namespace {namespace}"
        )
    return Finding("namespace", "ok", namespace)


def _permissions(api: ClusterApi, namespace: str, plurals: Mapping[Kind, str]) -> Finding:
    asked = {(kind.version.rpartition("/")[0].partition("/")[0], plural) for kind, plural in plurals.items()}
    asked.add(("", "secrets"))  # where helm keeps its releases
    refused = []
    for group, plural in sorted(asked):
        for verb in _VERBS:
            wanted = {"namespace": namespace, "verb": verb, "group": group, "resource": plural}
            body = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": wanted},
            }
            found = api.look("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
            if not found.allowed:
                return Finding("permissions", "unknown", "you may not ask what you may")
            if not (found.content or {}).get("status", {}).get("allowed"):
                refused.append(f"{verb} {plural}" + (f".{group}" if group else ""))
    if refused:
        return Finding("permissions", "missing", f"you may not {', '.join(refused)}", _TO_DO_RIGHTS)
    return Finding("permissions", "ok", f"you may {', '.join(_VERBS)} all {len(asked)} kinds")


def _volumes(api: ClusterApi, manifests: Sequence[Manifest]) -> Iterator[Finding]:
    wanted = claims(manifests)
    if not wanted:
        return
    found = api.look("/apis/storage.k8s.io/v1/storageclasses")
    if not found.allowed:
        yield Finding("storage class", "unknown", "you may not list them")
        return
    known = {one["metadata"]["name"]: one for one in (found.content or {}).get("items", [])}
    marked = "storageclass.kubernetes.io/is-default-class"
    default = next(
        (name for name, one in known.items() if one["metadata"].get("annotations", {}).get(marked) == "true"),
        None,
    )
    for claim in wanted:
        name = claim.storage_class or default
        check, there = f"storage of {claim.name}", known.get(name or "")
        if there is None:
            said = f"there is no class {name!r}" if name else "no storage class is the default"
            yield Finding(
                check, "missing", said, f"name one of {', '.join(known) or 'none there'} in the values"
            )
        elif claim.shared and any(part in there.get("provisioner", "") for part in _OF_ONE_NODE):
            said = f"{name} ({there['provisioner']}) cannot be written from several nodes"
            yield Finding(check, "missing", said, "name a class with ReadWriteMany, such as NFS 4's")
        else:
            shared = ", which must offer ReadWriteMany" if claim.shared else ""
            yield Finding(check, "ok", f"{name}{shared}")


def _secrets(
    api: ClusterApi, namespace: str, manifests: Sequence[Manifest], addresses: set[tuple[str, int]]
) -> Iterator[Finding]:
    """Give which Secrets are there, and add the stores that they name to ``addresses``."""
    made = made_secrets(manifests)
    for name, keys in sorted(named_secrets(manifests).items()):
        if name in made:
            continue
        found = api.look(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if not found.allowed:
            yield Finding(f"Secret {name}", "unknown", "you may not read it")
            continue
        data = (found.content or {}).get("data") or {}
        lacking = sorted(keys - data.keys())
        to_do = f"kubectl -n {namespace} create secret generic {name} --from-literal=…"
        if found.content is None:
            yield Finding(f"Secret {name}", "missing", "it is not there", to_do)
        elif lacking:
            yield Finding(f"Secret {name}", "missing", f"it has no {', '.join(lacking)}", to_do)
        else:
            yield Finding(f"Secret {name}", "ok", "it is there")
        addresses |= stores({key: data[key] for key in keys & data.keys()})


def _store(host: str, port: int, connect: Callable[[str, int], str | None]) -> Finding:
    check = f"store {host}:{port}"
    if "." not in host or host.endswith((".svc", ".cluster.local")):
        return Finding(check, "unknown", "its name is known in the cluster alone")
    problem = connect(host, port)
    if problem is None:
        return Finding(check, "ok", "it answers this machine; pods come from elsewhere")
    to_do = "check the address and the firewall; pods may reach what this machine does not"
    return Finding(check, "missing", problem, to_do)


def _connect(host: str, port: int) -> str | None:
    try:
        with closing(socket.create_connection((host, port), timeout=5)):
            return None
    except OSError as error:
        return f"it does not answer: {error}"
