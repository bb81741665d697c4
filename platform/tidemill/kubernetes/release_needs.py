"""Reads in rendered manifests what a release needs: kinds, Secrets, claims, addresses of stores."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = [
    "Claim",
    "Kind",
    "by_namespace",
    "claims",
    "kinds",
    "lets_out",
    "made_secrets",
    "named_secrets",
    "stores",
    "trusted_addresses",
]

Manifest = Mapping[str, Any]
_PORTS = {"postgresql": 5432, "redis": 6379, "rediss": 6379, "http": 80, "https": 443}
_ADDRESSES = ("AWS_ENDPOINT_URL",)
_COMPONENT = "app.kubernetes.io/component"


class Kind(NamedTuple):
    """A kind of object, as manifests name it."""

    version: str
    kind: str


class Claim(NamedTuple):
    """A volume that the release asks for."""

    name: str
    storage_class: str | None
    shared: bool
    """Whether pods on several nodes write to it."""


def kinds(manifests: Sequence[Manifest]) -> list[Kind]:
    """Return the kinds of the objects, each once.

    >>> kinds([{"apiVersion": "v1", "kind": "Service"}, {"apiVersion": "v1", "kind": "Service"}])
    [Kind(version='v1', kind='Service')]
    """
    return sorted({Kind(one["apiVersion"], one["kind"]) for one in manifests})


def by_namespace(manifests: Sequence[Manifest], default: str) -> dict[str, list[Manifest]]:
    """Return the objects of each namespace: one release may have several projects.

    >>> by_namespace([{"metadata": {"name": "a"}}, {"metadata": {"name": "b", "namespace": "x"}}], "y")
    {'y': [{'metadata': {'name': 'a'}}], 'x': [{'metadata': {'name': 'b', 'namespace': 'x'}}]}
    """
    found: dict[str, list[Manifest]] = {}
    for one in manifests:
        found.setdefault(one["metadata"].get("namespace") or default, []).append(one)
    return found


def claims(manifests: Sequence[Manifest]) -> list[Claim]:
    """Return the volumes that are made with the release."""
    asked = [one for one in manifests if one["kind"] == "PersistentVolumeClaim"]
    for one in manifests:
        if one["kind"] == "StatefulSet":
            asked += one["spec"].get("volumeClaimTemplates", [])
    return [
        Claim(
            one["metadata"]["name"],
            one["spec"].get("storageClassName"),
            "ReadWriteMany" in one["spec"].get("accessModes", []),
        )
        for one in asked
    ]


def named_secrets(manifests: Sequence[Manifest]) -> dict[str, set[str]]:
    """Return the keys that pods read of Secrets, by the Secret's name; no key where all are mounted.

    Those that images are pulled with are among them.
    """
    found: dict[str, set[str]] = {}
    for part in _parts(list(manifests)):
        reference = part.get("secretKeyRef")
        if isinstance(reference, dict):
            found.setdefault(reference["name"], set()).add(reference["key"])
        volume = part.get("secret")
        if isinstance(volume, dict) and "secretName" in volume:
            keys = {item["key"] for item in volume.get("items", [])}
            found.setdefault(volume["secretName"], set()).update(keys)
        for pulling in part.get("imagePullSecrets", []):
            found.setdefault(pulling["name"], set())
    return found


def made_secrets(manifests: Sequence[Manifest]) -> set[str]:
    """Return the names of the Secrets that the release itself makes, or has made by External Secrets."""
    return {one["metadata"]["name"] for one in manifests if one["kind"] in ("Secret", "ExternalSecret")}


def trusted_addresses(manifests: Sequence[Manifest]) -> set[str]:
    """Return the addresses of stores that stand in the manifests themselves."""
    found = {
        str(part["value"])
        for part in _parts(list(manifests))
        if part.get("name") in _ADDRESSES and part.get("value")
    }
    for part in _parts(list(manifests)):
        if isinstance(part.get("redisAddress"), str):
            found.add(f"redis://{part['redisAddress']}")
    return found


def stores(secret: Mapping[str, str]) -> set[tuple[str, int]]:
    """Return host and port of each address in the data of a Secret; never what else is in it.

    >>> stores({"url": base64.b64encode(b"postgresql://u:p@db.example.com/x").decode(), "key": "!"})
    {('db.example.com', 5432)}
    """
    found = set()
    for value in secret.values():
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        found |= host_and_port(text)
    return found


def host_and_port(address: str) -> set[tuple[str, int]]:
    """Return host and port of an address; nothing for what is none.

    >>> host_and_port("rediss://:p@cache:6380/0"), host_and_port("secret")
    ({('cache', 6380)}, set())
    """
    if not re.match(r"[a-z0-9+]+://", address):
        return set()
    try:
        parts = urlsplit(address.strip())
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    except ValueError:
        return set()
    return {(parts.hostname, port)} if parts.hostname and port else set()


def lets_out(manifests: Sequence[Manifest], port: int) -> bool:
    """Whether pods may reach a port outside the release, as the policies say that are of all its pods.

    >>> rule = {"ports": [{"port": 5432, "protocol": "TCP"}, {"port": 8000, "endPort": 8100}]}
    >>> spec = {"podSelector": {"matchLabels": {}}, "policyTypes": ["Egress"], "egress": [rule]}
    >>> policy = {"kind": "NetworkPolicy", "spec": spec}
    >>> [lets_out([policy], port) for port in (5432, 8080, 6432)], lets_out([], 6432)
    ([True, True, False], True)
    """
    specs = [one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"]
    rules = [
        rule
        for spec in specs
        if _COMPONENT not in str(spec["podSelector"])
        for rule in spec.get("egress", [])
        if not rule.get("to") or any(peer.keys() != {"podSelector"} for peer in rule["to"])
    ]
    return not specs or any(
        not rule.get("ports") or any(_has(each, port) for each in rule["ports"]) for rule in rules
    )


def _has(given: Mapping[str, Any], port: int) -> bool:
    first = given.get("port")
    if given.get("protocol", "TCP") != "TCP":
        return False
    return not isinstance(first, int) or first <= port <= int(given.get("endPort") or first)


def _parts(of: Any) -> Iterator[dict[str, Any]]:
    """Give each mapping in a structure, at any depth."""
    if isinstance(of, dict):
        yield of
        for value in of.values():
            yield from _parts(value)
    elif isinstance(of, list):
        for value in of:
            yield from _parts(value)
